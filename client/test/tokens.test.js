// Tokens: where they go, and what a reader does about 401, 403 and a token that expires.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed, mailbox } from "../postern.js";
import { bearer as signed, gateway, gatewayWithTokens, until } from "./gateway.js";
import { guard } from "./guard.js";
import { Locks, recorded, Shelf } from "./readers.js";
import { batch, problem, stream, streamed, stub } from "./stub.js";

const client = "alice";
const soon = { pause: [0.01, 0.01] };
const TRANSPORTS = ["sse", "long-poll", "short-poll"];
const rest = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));
const bearer = (token) => ({ authorization: `Bearer ${token}` });
/** Answers that all is well, and brings one event. */
const welcome = (request, response, n) => {
  if (request.isStream) stream(response)(streamed(`T${n}`, n));
  else if (!request.query.last_seen) batch(response, `T${n}`, [n]);
  else if (request.query.wait === "0") response.writeHead(204).end();
};

for (const transport of TRANSPORTS) {
  test(`the function for headers is asked for each request, and no token is in an address: ${transport}`, async (t) => {
    const server = await stub(t, (request, response, n) => {
      if (request.isStream) stream(response)(`${streamed(`T${n}`, n)}retry: 10\n\n`).then(() => response.end());
      else batch(response, `T${n}`, [n]);
    });
    let n = 0;
    const headers = async () => (await rest(1), bearer(`secret-${n++}`));
    recorded(t, feed(server.url, "jobs", { transport, headers, interval: 0.01 }));
    await until(() => server.requests.length >= 4);
    for (const [n, request] of server.requests.entries()) {
      assert.equal(request.headers.authorization, `Bearer secret-${n}`);
      assert.ok(!decodeURIComponent(request.url).includes("secret"), request.url);
      assert.equal(request.isStream, transport === "sse");
    }
  });

  test(`a first 401 is answered by other headers at once, and not told: ${transport}`, async (t) => {
    const server = await stub(t, (request, response, n) => {
      if (request.headers.authorization === "Bearer old") problem(response, 401);
      else welcome(request, response, n);
    });
    const asked = [];
    const headers = (denied) => (asked.push(denied), bearer(denied ? "new" : "old"));
    // A pause would not end before the test.
    const { values, states } = recorded(t, feed(server.url, "jobs", { transport, headers, pause: [3600, 3600] }));
    await until(() => values.length === 1);
    assert.deepEqual(asked.slice(0, 2), [undefined, 401]);
    assert.deepEqual(states.map(({ state }) => state), ["live"]);
  });

  test(`a second 401 in a row is told once, and reading goes on when the token is good again: ${transport}`, async (t) => {
    let isGood = false;
    const server = await stub(t, (request, response, n) => {
      if (isGood) welcome(request, response, n);
      else problem(response, 401);
    });
    const asked = [];
    const headers = (denied) => (asked.push(denied), bearer("x"));
    const { reader, values, states } = recorded(t, feed(server.url, "jobs", { transport, headers, pause: [0.01, 0.02] }));
    const told = [];
    reader.addEventListener("denied", ({ detail }) => told.push(detail));
    await until(() => states.length >= 5);
    // One attempt more than what was told: the first.
    assert.deepEqual(asked.slice(0, 6), [undefined, 401, 401, 401, 401, 401]);
    for (const { state, status, message, pause } of states) {
      assert.deepEqual([state, status, message], ["denied", 401, "this is a 401"]);
      assert.ok(pause > 0);
    }
    assert.deepEqual(told, [states[0]]);
    isGood = true;
    await until(() => values.length === 1);
    assert.equal(states.at(-1).state, "live");
  });
}

test("a 401 later on is again answered by other headers at once", async (t) => {
  let good = "a";
  const server = await stub(t, (request, response, n) => {
    if (request.headers.authorization !== `Bearer ${good}`) problem(response, 401);
    else batch(response, `T${n}`, [n]);
    if (n % 4 === 3) good += "a";
  });
  let kept = good;
  const headers = (denied) => bearer((kept = denied ? good : kept));
  const { values, states } = recorded(t, mailbox(server.url, { client, headers, pause: [3600, 3600] }));
  await until(() => values.length > 10);
  assert.ok(good.length > 3);
  assert.deepEqual(states.map(({ state }) => state), ["live"]);
});

for (const [name, headers] of [["without headers", undefined], ["with headers that stay", bearer("x")]]) {
  test(`a 401 is told at once ${name}: there are no others to ask for`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, 401));
    const { states } = recorded(t, mailbox(server.url, { client, headers, pause: [3600, 3600] }));
    await until(() => states.length === 1);
    await rest(100);
    assert.deepEqual([states[0].state, server.requests.length], ["denied", 1]);
  });
}

test("a 403 is told at once, and reading goes on when the token allows it", async (t) => {
  let isAllowed = false;
  const server = await stub(t, (request, response, n) => {
    if (isAllowed) welcome(request, response, n);
    else problem(response, 403);
  });
  const asked = [];
  const headers = (denied) => (asked.push(denied), bearer("x"));
  const { values, states } = recorded(t, mailbox(server.url, { client, headers, ...soon }));
  await until(() => states.length >= 2);
  assert.deepEqual(asked.slice(0, 2), [undefined, 403]);
  assert.deepEqual(states.map(({ state, status, message }) => [state, status, message])[1], ["denied", 403, "this is a 403"]);
  isAllowed = true;
  await until(() => values.length === 1);
});

for (const status of [401, 403]) {
  test(`pauses after a ${status} grow up to a minute`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, status));
    // Pauses pass a thousand times faster. That the others do, too, must not matter.
    const { setTimeout } = globalThis;
    t.mock.method(globalThis, "setTimeout", (work, delay, ...rest) => setTimeout(work, delay / 1000, ...rest));
    const { states } = recorded(t, mailbox(server.url, { client, silence: Infinity, headers: () => bearer("x"), pause: [4, 15] }));
    await until(() => states.length >= 10);
    for (const [n, { pause }] of states.entries()) {
      const grown = Math.min(4 * 2 ** n, 60);
      assert.ok(pause >= grown * 0.5 && pause < grown * 1.5, `${n}: ${pause}`);
    }
  });
}

test("a server's Retry-After holds for a 401, too", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 401, { "Retry-After": "300" }));
  const { states } = recorded(t, mailbox(server.url, { client, ...soon }));
  await until(() => states.length === 1);
  assert.ok(states[0].pause >= 300, `${states[0].pause}`);
});

for (const status of [401, 403]) {
  test(`a loop ends at a ${status}, with the reason, and closes its reader`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, status));
    const reader = mailbox(server.url, { client, headers: () => bearer("x"), ...soon });
    const loop = async () => {
      for await (const event of reader) assert.fail(event);
    };
    await assert.rejects(loop, { state: "denied", status, message: `this is a ${status}` });
    assert.equal(reader.state, "closed");
  });
}

test("a 401 of a proxy is answered by other headers at once, and is then a failure like any other", async (t) => {
  const server = await stub(t, (request, response) => response.writeHead(401, { "Content-Type": "text/html" }).end("<h1>Log in</h1>"));
  const { states } = recorded(t, mailbox(server.url, { client, headers: () => bearer("x"), pause: [3600, 3600] }));
  await until(() => states.length === 1);
  assert.deepEqual([states[0].state, states[0].status, server.requests.length], ["waiting", 401, 2]);
});

for (const [name, failing, words] of [
  ["throws", () => { throw new Error("no session"); }, /^headers failed: no session$/],
  ["rejects", () => Promise.reject(new Error("no session")), /^headers failed: no session$/],
  ["rejects without a reason", () => Promise.reject(), /^headers failed: undefined$/],
  ["never answers", () => new Promise(() => {}), /^headers failed: none came$/],
  ["gives a text", () => "Bearer 1", /^headers failed: ./],
  ["gives what is no header", () => ({ authorization: "a\nb" }), /^headers failed: ./],
]) {
  test(`a function for headers that ${name} is told, and asked again after pauses that grow`, async (t) => {
    const server = await stub(t, welcome);
    let failures = 5;
    const headers = () => (failures-- > 0 ? failing() : bearer("x"));
    const { values, states } = recorded(t, feed(server.url, "jobs", { headers, silence: 0.3, pause: [0.01, 1] }));
    await until(() => values.length === 1);
    assert.equal(server.requests.length, 1, "nothing is sent without headers");
    assert.deepEqual(states.map(({ state }) => state), [...Array(5).fill("waiting"), "live"]);
    for (const [n, { message, pause }] of states.slice(0, 5).entries()) {
      assert.match(message, words);
      assert.ok(pause >= 0.005 * 2 ** n && pause < 0.015 * 2 ** n, `${pause}`);
    }
    assert.ok(server.requests[0].isStream);
  });
}

test("a backend that is slow to refuse a token makes no polls of a stream", async (t) => {
  const server = await stub(t, welcome);
  let failures = 3;
  const headers = async () => {
    await rest(1100);
    if (failures-- > 0) throw new Error("no session");
  };
  const { values } = recorded(t, feed(server.url, "jobs", { headers, ...soon }));
  await until(() => values.length === 1);
  assert.ok(server.requests[0].isStream);
});

test("a reader that is closed while it waits for headers sends nothing", async (t) => {
  const server = await stub(t, welcome);
  let give;
  const headers = () => new Promise((resolve) => (give = resolve));
  const { reader, states } = recorded(t, feed(server.url, "jobs", { headers }));
  await until(() => give);
  reader.close();
  give(bearer("x"));
  await rest(100);
  assert.deepEqual([server.requests.length, states.map(({ state }) => state)], [0, ["closed"]]);
});

test("a stream whose token expires is asked for again at once, with other headers and from its place", async (t) => {
  const server = await stub(t, (request, response, n) => {
    const write = stream(response);
    write(streamed(`T${n}`, n));
    // A pause of an hour would not end before the test.
    if (n < 2) setTimeout(() => write("event: expired\ndata: {}\nretry: 3600000\n\n").then(() => response.end()), 1200);
  });
  let n = 0;
  const seen = recorded(t, feed(server.url, "jobs", { headers: () => bearer(n++), pause: [3600, 3600] }));
  await until(() => seen.values.length === 3);
  assert.deepEqual(server.requests.map(({ query }) => query.last_seen), [undefined, "T0", "T1"]);
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), ["Bearer 0", "Bearer 1", "Bearer 2"]);
  assert.deepEqual([seen.values, seen.resets, seen.states.map(({ state }) => state)], [[0, 1, 2], 0, ["live"]]);
  assert.ok(server.requests.every(({ isStream }) => isStream));
});

test("a token that has expired already makes no storm of streams", async (t) => {
  const server = await stub(t, (request, response) => {
    stream(response)(": hello\n\nevent: expired\ndata: {}\nretry: 1000\n\n").then(() => response.end());
  });
  recorded(t, feed(server.url, "jobs", { headers: () => bearer("old") }));
  await until(() => server.requests.length === 5);
  const all = server.requests.map(({ at }) => at);
  for (const [n, at] of all.slice(1).entries()) assert.ok(at - all[n] >= 990, `${at - all[n]} ms`);
  assert.ok(server.requests.every(({ isStream }) => isStream), "it is no proxy that cuts streams");
});

for (const [kind, transport] of [["mailbox", "long-poll"], ["mailbox", "sse"], ["feed", "sse"], ["feed", "long-poll"]]) {
  test(`tokens that expire and are revoked all the time lose and repeat nothing: ${kind} by ${transport}`, async (t) => {
    const server = await gateway(t);
    await server.bind("alice", "jobs");
    let generation = 0;
    const front = await guard(t, server.url, (token) => (token === `${generation}` ? 200 : 401));
    const headers = (() => {
      let kept = 0;
      return async (denied) => bearer((kept = denied ? generation : kept));
    })();
    const options = { transport, headers, ...soon };
    const reader = kind === "feed" ? feed(front.url, "jobs", options) : mailbox(front.url, { client, ...options });
    const { values, states, resets } = recorded(t, reader);
    await until(() => reader.state === "live");
    const expected = [];
    for (let round = 0; round < 10; round++) {
      for (let n = 0; n < 10; n++) {
        expected.push(expected.length);
        await server.publish("jobs", expected.at(-1));
        if (n === 5) {
          generation++;
          front.expire();
        }
      }
      await until(() => values.length === expected.length);
    }
    assert.deepEqual([values, resets], [expected, 0]);
    assert.ok(!states.some(({ state }) => state === "denied"), JSON.stringify(states));
    const used = new Set(front.requests.map(({ token }) => token));
    assert.deepEqual([...used], Array.from({ length: 11 }, (_, n) => `${n}`));
  });
}

for (const [kind, transport] of [["mailbox", "long-poll"], ["mailbox", "sse"], ["feed", "sse"], ["feed", "long-poll"]]) {
  test(`tokens that live for two seconds lose and repeat nothing: ${kind} by ${transport}`, async (t) => {
    const server = await gatewayWithTokens(t);
    let given = 0;
    let kept;
    const headers = (denied) => {
      if (denied || !kept) kept = signed({ sub: "alice", postern: { read: ["jobs"] }, n: given++ }, 2);
      return kept;
    };
    const options = { transport, headers, ...soon };
    const reader = kind === "feed" ? feed(server.url, "jobs", options) : mailbox(server.url, { client, topics: "jobs", ...options });
    const { values, states, resets } = recorded(t, reader);
    await until(() => reader.state === "live");
    const expected = [];
    while (given < 3) {
      expected.push(expected.length);
      await server.publish("jobs", expected.at(-1));
      await rest(20);
    }
    await until(() => values.length >= expected.length);
    assert.deepEqual([values, resets], [expected, 0]);
    assert.deepEqual(states.map(({ state }) => state), ["live"]);
  });
}

test("a gateway says why it denies, and what its token then allows is read", async (t) => {
  const server = await gatewayWithTokens(t);
  const given = [undefined, { sub: "bob" }, { sub: "alice", postern: { read: ["news"] } }, { sub: "alice", postern: { read: ["#"] } }];
  let n = 0;
  const headers = () => given[n] && signed(given[n], 3600);
  const seen = recorded(t, mailbox(server.url, { client, topics: "jobs", headers, ...soon }));
  for (const [status, words] of [[401, /this needs a token/], [403, /alice/], [403, /jobs/]]) {
    await until(() => seen.states.at(-1)?.status === status && words.test(seen.states.at(-1).message));
    assert.equal(seen.reader.state, "denied");
    n++;
  }
  await until(() => seen.reader.state === "live");
  await server.publish("jobs", 1);
  await until(() => seen.values.length === 1);
});

test("all tabs are told that their token is refused, also one that comes later, and all go on", async (t) => {
  let isGood = false;
  const server = await stub(t, (request, response, n) => {
    if (isGood) welcome(request, response, n);
    else problem(response, 401);
  });
  const options = { locks: new Locks(), storage: new Shelf(), user: "alice", headers: () => bearer("x"), pause: [0.5, 0.5] };
  const pages = [0, 1].map(() => recorded(t, mailbox(server.url, { client, ...options })));
  await until(() => pages.every(({ reader }) => reader.state === "denied"));
  const late = recorded(t, mailbox(server.url, { client, ...options }));
  await until(() => late.states.length > 0);
  for (const { states } of [...pages, late]) {
    assert.deepEqual([states[0].state, states[0].status, states[0].message], ["denied", 401, "this is a 401"]);
  }
  isGood = true;
  await until(() => [...pages, late].every(({ values, reader }) => reader.state === "live" && values.length === 1));
});

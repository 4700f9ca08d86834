// What can go wrong between a reader and its gateway.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed, mailbox } from "../postern.js";
import { gateway, until } from "./gateway.js";
import { recorded, Shelf } from "./readers.js";
import { batch, problem, stream, streamed, stub } from "./stub.js";

const client = "alice";
const never = () => {};

test("every poll names its place in the order of polls, and what was seen", async (t) => {
  const server = await stub(t, ({ query }, response, n) => {
    if (n < 3) batch(response, `T${n}`, [n]);
    else if (query.last_seen !== "T2") problem(response, 400);
  });
  recorded(t, mailbox(`${server.url}/prefix/`, { client, topics: ["a.*", "b.#"], limit: 7 }));
  await until(() => server.requests.length === 4);
  const [first, ...others] = server.requests;
  assert.equal(new URL(first.url, server.url).pathname, "/prefix/clients/alice/events");
  const instance = first.query.poll.split(".")[0];
  assert.deepEqual(first.query, { limit: "7", topics: "a.*,b.#", wait: "0", poll: `${instance}.1` });
  assert.deepEqual(others.map(({ query }) => query.last_seen), ["T0", "T1", "T2"]);
  assert.deepEqual(others.map(({ query }) => query.poll), [2, 3, 4].map((n) => `${instance}.${n}`));
  assert.equal(others[0].query.wait, "25");
});

test("repeats are dropped, but not two events to which a publisher gave one id", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) batch(response, "T0", [1, 2]);
    if (n === 1) batch(response, "T1", [1, 2, 3], { redelivered: true });
    if (n === 2) batch(response, "T2", [3, 4]);
  });
  const { values } = recorded(t, mailbox(server.url, { client }));
  await until(() => server.requests.length === 4);
  assert.deepEqual(values, [1, 2, 3, 3, 4]);
});

for (const transport of ["sse", "long-poll"]) {
  test(`an id that was used on one topic is not used up on another: ${transport}`, async (t) => {
    const answers = [["evil", "orders", "evil"], ["orders", "bills", "evil"]];
    const server = await stub(t, (request, response, n) => {
      const events = (answers[n] ?? []).map((topic) => ({ id: "order-7", topic, data: topic }));
      const last_seen = `${n}.3~T`;
      if (!request.isStream) {
        response.setHeader("Content-Type", "application/json").end(JSON.stringify({ events, last_seen }));
      } else {
        const text = events.map((event, i) => streamed(`${n}.${i + 1}~T`, event.data, event));
        stream(response)(`${text.join("")}retry: 10\n\n`).then(() => response.end());
      }
    });
    const { values } = recorded(t, feed(server.url, "#", { transport, interval: 0.01 }));
    await until(() => server.requests.length > 2);
    assert.deepEqual(values, ["evil", "orders", "bills"]);
  });
}

for (const transport of ["sse", "long-poll"]) test(`Retry-After is obeyed, in seconds and as a date: ${transport}`, async (t) => {
  const date = () => new Date(Date.now() + 2500).toUTCString();
  const server = await stub(t, (request, response, n) => {
    if (n === 0) problem(response, 503, { "Retry-After": "1" });
    if (n === 1) problem(response, 429, { "Retry-After": date() });
  });
  const { states } = recorded(t, mailbox(server.url, { client, transport, pause: [0.01, 0.01] }));
  await until(() => server.requests.length === 3);
  const [first, second, third] = server.requests.map(({ at }) => at);
  assert.ok(second - first >= 1000 && second - first < 2000, `${second - first} ms`);
  // A date has no parts of seconds.
  assert.ok(third - second >= 1400, `${third - second} ms`);
  assert.deepEqual(states.map(({ state, status }) => [state, status]), [["waiting", 503], ["waiting", 429]]);
});

for (const after of ["99999999999", "Infinity", new Date(8.64e15).toUTCString()]) {
  test(`Retry-After: ${after} is an hour, and no storm of requests`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, 503, { "Retry-After": after }));
    const { states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
    await until(() => states.length > 0);
    await new Promise((wake) => setTimeout(wake, 200));
    assert.equal(server.requests.length, 1);
    assert.ok(states[0].pause >= 3600 && states[0].pause <= 4500, `${states[0].pause} s`);
  });
}

test("a pause without end is long, and no storm of requests", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 503));
  const { states } = recorded(t, mailbox(server.url, { client, pause: [1e10, Infinity] }));
  await until(() => states.length > 0);
  await new Promise((wake) => setTimeout(wake, 200));
  assert.deepEqual([server.requests.length, states.length], [1, 1]);
});

for (const transport of ["sse", "long-poll", "short-poll"]) {
  test(`patience, silence and intervals may be endless: ${transport}`, async (t) => {
    const server = await stub(t, (request, response, n) => {
      // What is not answered stays open.
      if (request.isStream) stream(response)(n === 0 ? streamed("T1", 1) : "");
      else if (n === 0) batch(response, "T1", [1]);
      else if (transport === "short-poll") response.writeHead(204).end();
    });
    const endless = { silence: Infinity, interval: Infinity, patience: Infinity };
    const seen = recorded(t, feed(server.url, "jobs", { transport, ...endless }));
    const requests = transport === "sse" ? 1 : 2;
    await until(() => seen.values.length === 1 && server.requests.length === requests);
    await new Promise((wake) => setTimeout(wake, 200));
    assert.deepEqual([server.requests.length, seen.states.map(({ state }) => state)], [requests, ["live"]]);
  });
}

test("pauses grow up to the longest, and are spread", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 500));
  const { states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.1] }));
  await until(() => states.length === 10);
  const pauses = states.map(({ pause }) => pause);
  for (const [n, pause] of pauses.entries()) {
    const grown = Math.min(0.01 * 2 ** n, 0.1);
    assert.ok(pause >= grown * 0.5 && pause < grown * 1.5, `${pauses}`);
  }
  assert.ok(new Set(pauses.slice(5)).size > 1, `${pauses}`);
});

// `fetch` itself asks once more over a new connection after a 421 (WHATWG Fetch, section 4.6).
for (const [status, name, asked = 1] of [[409, "replaced"], [400, "refused"], [404, "refused"], [421, "refused", 2]]) {
  test(`a ${status} ends the reading: ${name}`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, status));
    for (const reader of [mailbox(server.url, { client }), feed(server.url, "jobs")]) {
      const { states } = recorded(t, reader);
      const { detail } = await new Promise((resolve) => reader.addEventListener(name, resolve));
      assert.deepEqual(detail, { state: name, status, message: `this is a ${status}` });
      assert.deepEqual(states, [detail]);
    }
    await new Promise((wake) => setTimeout(wake, 200));
    assert.equal(server.requests.length, 2 * asked);
  });
}

for (const [name, type, body] of [
  ["a page of a proxy", "text/html", "<h1>No backend</h1>"],
  ["another server's JSON", "application/json", '{"detail":"Not Found","status":404}'],
  ["a problem without a status", "application/problem+json", '{"detail":"Not Found"}'],
  ["a problem that is none", "application/problem+json", "null"],
]) {
  test(`a 400, 401, 403, 404 or 409 that is ${name} passes`, async (t) => {
    const all = [400, 401, 403, 404, 409];
    const server = await stub(t, (request, response, n) => {
      if (n < all.length) response.writeHead(all[n], { "Content-Type": type }).end(body);
      else batch(response, "T", [1]);
    });
    const { values, states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
    await until(() => values.length > 0);
    const told = states.map(({ state, status, message }) => [state, status, message]);
    const failed = all.map((status) => ["waiting", status, `status ${status}, not from the gateway`]);
    assert.deepEqual(told, [...failed, ["live", undefined, undefined]]);
  });
}

test("a problem of the gateway's ends the reading, with its type in any case and without words", async (t) => {
  const server = await stub(t, (request, response) => {
    response.writeHead(404, { "Content-Type": "Application/Problem+JSON; charset=utf-8" }).end('{"status":404}');
  });
  const { reader, states } = recorded(t, mailbox(server.url, { client }));
  const { detail } = await new Promise((resolve) => reader.addEventListener("refused", resolve));
  assert.deepEqual([detail.state, detail.status, states], ["refused", 404, [detail]]);
});

test("an answer that is no JSON is a failure like any other", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) response.setHeader("Content-Type", "text/html").end("<h1>Log in</h1>");
    else if (n === 1) batch(response, "T", [1]);
  });
  const { values, states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
  await until(() => values.length > 0);
  assert.equal(states[0].state, "waiting");
});

test("long-polls that are cut again and again become short-polls", async (t) => {
  const server = await stub(t, ({ query }, response) => {
    if (query.wait === "0") response.writeHead(204).end();
    else setTimeout(() => response.destroy(), 1100);
  });
  recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01], interval: 0.2 }));
  const polls = () => server.requests.map(({ query }) => query.wait);
  await until(() => polls().join().endsWith("0,0,0"));
  assert.equal(polls().filter((wait) => wait === "25").length, 3);
  const [before, last] = server.requests.slice(-2);
  assert.ok(last.at - before.at >= 150, "a short-poll that brings nothing is followed by a pause");
});

test("a gateway that is away does not make short-polls of long-polls", async (t) => {
  let isAway = false;
  const server = await stub(t, ({ query }, response) => {
    if (isAway) response.destroy();
    else if (query.wait === "0") response.writeHead(204).end();
  });
  const { states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
  await until(() => server.requests.at(-1)?.query.wait === "25");
  isAway = true;
  const { length } = server.requests;
  // This one was held; the next ones are turned away at once.
  server.requests.at(-1).destroy();
  await until(() => server.requests.length > length + 10);
  isAway = false;
  await until(() => states.at(-1).state === "live" && server.requests.at(-1).query.wait === "25");
});

test("a proxy that answers held polls at once does not make a reader spin", async (t) => {
  const server = await stub(t, (request, response) => response.writeHead(204).end());
  recorded(t, mailbox(server.url, { client, interval: 0.2 }));
  await new Promise((wake) => setTimeout(wake, 1000));
  assert.ok(server.requests.length < 9, `${server.requests.length} requests`);
});

test("a connection that died without a word is given up", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 1) batch(response, "T", [1]);
  });
  const { values, states } = recorded(t, mailbox(server.url, { client, silence: 0.3, pause: [0.01, 0.01] }));
  await until(() => values.length === 1);
  assert.deepEqual([states[0].state, states[0].message], ["waiting", "no answer"]);
});

test("headers and the sending are the page's own", async (t) => {
  const server = await stub(t, never);
  let n = 0;
  const headers = async () => ({ authorization: `Bearer ${++n}` });
  const sent = [];
  const options = { client, headers, fetch: (url, init) => (sent.push(url.pathname), fetch(url, init)) };
  recorded(t, mailbox(server.url, options));
  await until(() => server.requests.length === 1);
  assert.equal(server.requests[0].headers.authorization, "Bearer 1");
  assert.deepEqual(sent, ["/clients/alice/events"]);
});

for (const kept of ["a b c", "[object Promise]", "", "a".repeat(129), 5, Promise.resolve("T1"), null]) {
  test(`a kept place that is no token is dropped and replaced: ${String(kept).slice(0, 20)}`, async (t) => {
    const server = await stub(t, (request, response, n) => n === 0 && batch(response, "T1", [1]));
    const storage = new Shelf();
    storage.map.set(`postern ${server.url}/topics/jobs/events`, kept);
    const { values } = recorded(t, feed(server.url, "jobs", { transport: "long-poll", storage, lastSeen: "T0" }));
    await until(() => server.requests.length === 2);
    assert.deepEqual([values, server.requests[0].query.last_seen], [[1], "T0"]);
    assert.deepEqual([...storage.map.values()], ["T1"]);
  });
}

test("any place that the gateway gives is kept", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  await server.publish("jobs", 1);
  for (const begin of [(options) => mailbox(server.url, { client, ...options }), (options) => feed(server.url, "jobs", options)]) {
    const storage = new Shelf();
    const { reader, values } = recorded(t, begin({ storage }));
    await until(() => storage.map.size === 1 && values.length === 1);
    reader.close();
    const asked = [];
    const own = (url, init) => (asked.push(url.searchParams.get("last_seen")), fetch(url, init));
    recorded(t, begin({ storage, fetch: own }));
    await until(() => asked.length > 0);
    assert.equal(asked[0], [...storage.map.values()][0]);
  }
});

test("a storage that throws is none", async (t) => {
  const server = await stub(t, (request, response, n) => n < 2 && batch(response, `T${n}`, [n]));
  const forbidden = () => {
    throw new Error("SecurityError");
  };
  const storage = { getItem: forbidden, setItem: forbidden };
  const { values } = recorded(t, mailbox(server.url, { client, storage, lastSeen: "T" }));
  await until(() => server.requests.length === 3);
  assert.deepEqual([values, server.requests[0].query.last_seen], [[0, 1], "T"]);
});

test("a signal ends a pause and a held poll", async (t) => {
  const server = await stub(t, (request, response, n) => n === 0 && problem(response, 503, { "Retry-After": "1000" }));
  for (const requests of [1, 2]) {
    const abort = new AbortController();
    const reader = mailbox(server.url, { client, signal: abort.signal });
    setTimeout(() => until(() => server.requests.length === requests).then(() => setTimeout(() => abort.abort(), 50)));
    for await (const event of reader) assert.fail(event);
  }
  await until(() => server.requests[1].destroyed || server.requests[1].socket.destroyed);
});

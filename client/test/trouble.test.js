// What can go wrong between a reader and its gateway.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed, mailbox } from "../postern.js";
import { until } from "./gateway.js";
import { recorded } from "./readers.js";
import { batch, problem, stub } from "./stub.js";

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

test("Retry-After is obeyed, in seconds and as a date", async (t) => {
  const date = () => new Date(Date.now() + 2500).toUTCString();
  const server = await stub(t, (request, response, n) => {
    if (n === 0) problem(response, 503, { "Retry-After": "1" });
    if (n === 1) problem(response, 429, { "Retry-After": date() });
  });
  const { states } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
  await until(() => server.requests.length === 3);
  const [first, second, third] = server.requests.map(({ at }) => at);
  assert.ok(second - first >= 1000 && second - first < 2000, `${second - first} ms`);
  // A date has no parts of seconds.
  assert.ok(third - second >= 1400, `${third - second} ms`);
  assert.deepEqual(states.map(({ state, status }) => [state, status]), [["waiting", 503], ["waiting", 429]]);
});

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

for (const [status, name] of [[401, "denied"], [403, "denied"], [409, "replaced"], [400, "refused"], [404, "refused"]]) {
  test(`a ${status} ends the reading: ${name}`, async (t) => {
    const server = await stub(t, (request, response) => problem(response, status));
    for (const reader of [mailbox(server.url, { client }), feed(server.url, "jobs")]) {
      const { states } = recorded(t, reader);
      const { detail } = await new Promise((resolve) => reader.addEventListener(name, resolve));
      assert.deepEqual(detail, { state: name, status, message: `this is a ${status}` });
      assert.deepEqual(states, [detail]);
    }
    await new Promise((wake) => setTimeout(wake, 200));
    assert.equal(server.requests.length, 2);
  });
}

test("a 404 that is not the gateway's own passes", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) response.writeHead(404).end("<h1>No backend</h1>");
    else batch(response, "T", [1]);
  });
  const { values } = recorded(t, mailbox(server.url, { client, pause: [0.01, 0.01] }));
  await until(() => values.length > 0);
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

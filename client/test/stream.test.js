// Server-Sent Events.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed, mailbox } from "../postern.js";
import { until } from "./gateway.js";
import { recorded, Shelf } from "./readers.js";
import { batch, problem, stream, streamed, stub } from "./stub.js";

const soon = { pause: [0.01, 0.01] };

for (const size of [1, 2, 7, 1000]) {
  test(`a stream may come in pieces of ${size} bytes`, async (t) => {
    const text =
      `: hello\n\n${streamed("T1", "ä€😀")}id:T2\r\ndata:{"id":"2","topic":"jobs",\r\ndata: "data":"two lines"}\r\n\r\n` +
      `event: reset\ndata: {}\nid: T3\n\n${streamed("T4", 4, { redelivered: true })}id: T5\n\n: bye\n\nid: T6\ndata: {"torn`;
    const server = await stub(t, async (request, response, n) => {
      const write = stream(response);
      if (n > 0) return;
      await write(text, size);
      response.end();
    });
    const seen = recorded(t, feed(server.url, "jobs.#", soon));
    await until(() => server.requests.length === 2);
    assert.deepEqual([seen.values, seen.resets], [["ä€😀", "two lines", 4], 1]);
    assert.equal(server.requests[0].query.last_seen, undefined);
    assert.equal(server.requests[1].query.last_seen, "T5", "what was torn is asked for again");
    assert.equal(new URL(server.requests[0].url, server.url).pathname, "/topics/jobs.%23/events");
  });
}

test("a reset on a stream is told before what follows it, in either form", async (t) => {
  const forms = ["event: reset\nid: R1\ndata: {}\n\n", 'id: R2\ndata: {"reset":true}\n\n'];
  const server = await stub(t, (request, response, n) => {
    if (n < 2) stream(response)(forms[n] + streamed(`T${n}`, n)).then(() => response.end("retry: 10\n\n"));
  });
  const reader = feed(server.url, "jobs");
  const told = [];
  reader.addEventListener("reset", () => told.push("reset"));
  reader.addEventListener("event", ({ detail }) => told.push(detail.data));
  t.after(() => reader.close());
  await until(() => server.requests.length === 3);
  assert.deepEqual(told, ["reset", 0, "reset", 1]);
});

test("a mailbox on a stream confirms by coming back, and only what was handled", async (t) => {
  let write;
  const server = await stub(t, (request, response) => {
    write = stream(response);
    write(server.requests.length === 1 ? streamed("T1", 1) + streamed("T2", 2) + "retry: 10\n\n" : ": hello\n\n");
    if (server.requests.length === 1) response.end();
  });
  const storage = new Shelf();
  const { reader, values } = recorded(t, mailbox(server.url, { client: "alice", transport: "sse", storage }));
  let finish;
  reader.addEventListener("event", (notice) => notice.waitUntil(new Promise((done) => (finish = done))));
  await until(() => values.length === 1);
  await new Promise((wake) => setTimeout(wake, 100));
  assert.deepEqual([values, server.requests.length, storage.map.size], [[1], 1, 0]);
  finish();
  await until(() => values.length === 2);
  finish();
  await until(() => server.requests.length === 2);
  assert.equal(server.requests[1].query.last_seen, "T2");
});

test("an event whose handler fails is asked for again", async (t) => {
  const server = await stub(t, async ({ query }, response) => {
    const write = stream(response);
    if (query.last_seen !== "T1") await write(streamed("T1", 1));
    await new Promise((wake) => setTimeout(wake, 20));
    write(streamed("T2", 2));
  });
  const { reader, values } = recorded(t, feed(server.url, "jobs", soon));
  let failures = 1;
  reader.addEventListener("event", (notice) => {
    if (notice.detail.data === 2 && failures-- > 0) notice.waitUntil(Promise.reject(new Error("not now")));
  });
  await until(() => values.length === 3);
  assert.deepEqual([values, server.requests[1].query.last_seen], [[1, 2, 2], "T1"]);
});

test("a stream that was replaced is not opened again", async (t) => {
  const server = await stub(t, (request, response) => {
    stream(response)("event: replaced\ndata: {}\nretry: 86400000\n\n").then(() => response.end());
  });
  const { reader, states } = recorded(t, mailbox(server.url, { client: "alice", transport: "sse" }));
  const { detail } = await new Promise((resolve) => reader.addEventListener("replaced", resolve));
  assert.equal(detail.state, "replaced");
  assert.deepEqual(states, [detail]);
});

test("temporary trouble is waited for as the stream says", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) stream(response)("retry: 1200\n\n").then(() => response.end());
    else stream(response)(": hello\n\n");
  });
  const { states } = recorded(t, feed(server.url, "jobs"));
  await until(() => states.at(-1)?.state === "live");
  const [first, second] = server.requests;
  assert.ok(second.isStream && second.at - first.at >= 1150, `${second.at - first.at} ms`);
  assert.deepEqual(states.map(({ state }) => state), ["waiting", "live"]);
});

for (const [how, end] of [["ends", (response) => response.end()], ["breaks", (response) => response.destroy()]]) {
  test(`a stream that ${how} after its beginning was cut: pauses grow, and long-polls follow`, async (t) => {
    const server = await stub(t, (request, response, n) => {
      // As a gateway begins.
      if (request.isStream) stream(response)(":\n\nretry: 700\n\n").then(() => setTimeout(end, 20, response));
      else if (n === 3) batch(response, "T1", [1]);
    });
    const { values, states } = recorded(t, feed(server.url, "jobs", { pause: [0.05, 1] }));
    await until(() => values.length === 1);
    assert.deepEqual(server.requests.slice(0, 4).map(({ isStream }) => isStream), [true, true, true, false]);
    const names = states.map(({ state }) => state);
    assert.deepEqual(names, ["live", "waiting", "waiting", "waiting", "live"], "a beginning that proved nothing is not live");
    const bounds = [0.05, 0.1, 0.2].map((grown) => [grown * 0.5, grown * 1.5]);
    for (const [n, [least, longest]] of bounds.entries()) {
      const { pause } = states[n + 1];
      assert.ok(pause >= least && pause < longest, `${pause} s`);
    }
  });
}

test("a stream that says when to come back is no cut, and flickers no live", async (t) => {
  const server = await stub(t, (request, response, n) => {
    const write = stream(response);
    if (n < 5) write(":\n\nretry: 700\n\n").then(() => write("retry: 1200\n\n")).then(() => response.end());
    else write(":\n\nretry: 700\n\n");
  });
  // What the stream asks for passes in no time.
  const { setTimeout: timer } = globalThis;
  t.mock.method(globalThis, "setTimeout", (work, ms, ...rest) => timer(work, ms === 1200 ? 10 : ms, ...rest));
  const { states } = recorded(t, feed(server.url, "jobs"));
  await until(() => states.at(-1)?.state === "live" && server.requests.length === 6);
  assert.ok(server.requests.every(({ isStream }) => isStream));
  const names = states.map(({ state }) => state);
  assert.deepEqual(names, ["live", ...Array(5).fill("waiting"), "live"]);
});

test("a stream that a proxy holds back gives way to long-polls", async (t) => {
  for (const begin of [stream, () => {}]) {
    const server = await stub(t, (request, response, n) => {
      if (request.isStream) begin(response);
      else if (n === 1) batch(response, "T1", [1]);
    });
    const { values } = recorded(t, feed(server.url, "jobs", { silence: 0.3, ...soon }));
    await until(() => values.length === 1 && server.requests.length >= 3);
    assert.deepEqual(server.requests.slice(0, 3).map(({ isStream }) => isStream), [true, false, false]);
  }
});

test("a stream that falls silent is opened again", async (t) => {
  const server = await stub(t, (request, response) => stream(response)(": hello\n\n"));
  recorded(t, feed(server.url, "jobs", { silence: 0.3, ...soon }));
  await until(() => server.requests.length === 3);
  assert.ok(server.requests.every(({ isStream }) => isStream));
});

test("streams that are cut again and again give way to long-polls", async (t) => {
  const server = await stub(t, (request, response, n) => {
    // With and without an end; the advice at the beginning is for neither.
    const cut = () => (n === 1 ? response.end() : response.destroy());
    if (request.isStream) stream(response)(":\n\nretry: 1500\n\n:\n\n").then(() => setTimeout(cut, 1100));
  });
  recorded(t, feed(server.url, "jobs", soon));
  await until(() => server.requests.length === 4);
  assert.deepEqual(server.requests.map(({ isStream }) => isStream), [true, true, true, false]);
});

test("a server that has no streams is polled", async (t) => {
  for (const none of [(response) => problem(response, 406), (response) => batch(response, "T0", [])]) {
    const server = await stub(t, (request, response, n) => {
      if (request.isStream) none(response);
      else if (n === 1) batch(response, "T1", [1]);
    });
    const { values, states } = recorded(t, feed(server.url, "jobs"));
    await until(() => values.length === 1);
    assert.deepEqual(states.map(({ state }) => state), ["live"]);
  }
});

test("an overloaded server is not taken for one without streams", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) problem(response, 503, { "Retry-After": "0" });
    else stream(response)(streamed("T", 1));
  });
  const { values } = recorded(t, feed(server.url, "jobs", soon));
  await until(() => values.length === 1);
  assert.ok(server.requests.every(({ isStream }) => isStream));
});

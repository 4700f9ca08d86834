// What may stand in a stream, and what nothing can read.

import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { feed, mailbox } from "../postern.js";
import { gateway, until } from "./gateway.js";
import { recorded } from "./readers.js";
import { batch, stream, streamed, stub } from "./stub.js";

const soon = { pause: [0.01, 0.01] };
const url = "http://127.0.0.1:1";

// Line ends of Unicode, marks of byte order, halves of pairs, controls, and what a stream itself is made of.
const odd = ["\u2028", "\u2029", "\u0085", "\ufeff", "\u000b", "\u000c", "\u0000", "\r", "\n", "\r\n", "😀", "ä", "€", ":", ": ", "data:", " ", "\\", '"', "\ud800"];

test("every character of an event survives each transport of a real gateway", async (t) => {
  const server = await gateway(t);
  const text = odd.slice(0, -1).join("|");
  await server.publish("jobs", text, { [text]: [text] });
  for (const transport of ["sse", "long-poll"]) {
    const { values } = recorded(t, feed(server.url, "jobs", { transport, lastSeen: "oldest", ...soon }));
    await until(() => values.length === 2);
    assert.deepEqual(values, [text, { [text]: [text] }], transport);
  }
});

test("a line end between the tokens of a payload is none of the stream", async (t) => {
  const server = await gateway(t);
  for (const end of ["\r", "\n", "\r\n"]) {
    const headers = { "content-type": "application/json" };
    const body = `{${end}"a":${end}[1,${end}${end}2]}`;
    const answer = await fetch(`${server.url}/topics/jobs/events`, { method: "POST", headers, body });
    assert.equal(answer.status, 202);
  }
  const { values } = recorded(t, feed(server.url, "jobs", { lastSeen: "oldest", ...soon }));
  await until(() => values.length === 3);
  assert.deepEqual(values, [1, 2, 3].map(() => ({ a: [1, 2] })));
});

test("any text in events arrives, with any line end and any cut of the stream", async () => {
  const texts = fc.array(fc.oneof(fc.constantFrom(...odd), fc.string({ unit: "binary" })), { maxLength: 6 });
  const data = fc.oneof(texts.map((parts) => parts.join("")), fc.jsonValue());
  const between = fc.constantFrom("", ":", ": comment\u2028", "retry: 500", "unknown: field", "event", "data", "\ufeffid: no");
  const item = fc.record({ data, between, space: fc.constantFrom("", " "), isSplit: fc.boolean() });
  const items = fc.array(item, { minLength: 1, maxLength: 8 });
  const ends = fc.array(fc.constantFrom("\r", "\n", "\r\n"), { minLength: 1, maxLength: 5 });
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
  const property = async (items, ends, sizes, hasMark) => {
    let text = hasMark ? "\ufeff" : "";
    let count = 0;
    const add = (line) => {
      const end = ends[count++ % ends.length];
      // A CR and the LF of an empty line would be one end.
      text += line + (!line && end === "\n" && text.endsWith("\r") ? "\r" : end);
    };
    for (const [n, { data, between, space, isSplit }] of items.entries()) {
      // What stands alone belongs to no event.
      if (between) [between, ""].forEach(add);
      const json = JSON.stringify({ id: `id-${n}`, topic: "jobs", data });
      add(`id:${space}T${n}`);
      // Between its tokens a payload may go on in a line of its own.
      const parts = isSplit ? [json.slice(0, json.indexOf(",") + 1), json.slice(json.indexOf(",") + 1)] : [json];
      for (const part of parts) add(`data:${space}${part}`);
      add("");
    }
    const bytes = new TextEncoder().encode(text);
    const pieces = [];
    for (let at = 0, n = 0; at < bytes.length; at += sizes[n++ % sizes.length]) pieces.push(bytes.subarray(at, at + sizes[n % sizes.length]));
    assert.equal(pieces.reduce((sum, piece) => sum + piece.length, 0), bytes.length);
    const values = await read(pieces, items.length);
    const expected = items.map(({ data }) => JSON.parse(JSON.stringify({ data })).data);
    assert.deepEqual(values, expected);
  };
  await fc.assert(fc.asyncProperty(items, ends, sizes, fc.boolean(), property), { numRuns: 300 });
});

/** Reads events from a stream that comes in these pieces; what does not come within its first answer is missing. */
async function read(pieces, count) {
  const body = new ReadableStream({
    pull(controller) {
      if (pieces.length) controller.enqueue(pieces.shift());
      else controller.close();
    },
  });
  const answers = [new Response(body, { headers: { "content-type": "text/event-stream" } })];
  const asked = async () => answers.shift() ?? Response.error();
  const reader = feed(url, "jobs", { fetch: asked, pause: [60, 60] });
  const values = [];
  const done = new Promise((resolve) => {
    reader.addEventListener("state", ({ detail }) => detail.state === "waiting" && resolve());
    reader.addEventListener("event", ({ detail }) => values.push(detail.data) === count && resolve());
  });
  await done;
  reader.close();
  return values;
}

for (const [name, broken] of Object.entries({
  "that is torn": 'data: {"id":"a","data":"torn\n',
  "that is no object": "data: 5\n",
  "that is null": "data: null\n",
  "without an id": 'data: {"topic":"jobs"}\n',
})) {
  test(`an event ${name} gives way to long-polls, which bring it and what comes after it`, async (t) => {
    const server = await stub(t, (request, response, n) => {
      if (request.isStream) stream(response)(`${streamed("T1", 1)}id: T2\n${broken}\n${streamed("T3", 3)}`);
      else if (request.query.last_seen === "T1") batch(response, "T3", [2, 3]);
    });
    const { values, states } = recorded(t, feed(server.url, "jobs", soon));
    await until(() => values.length === 3 && server.requests.length === 3);
    assert.deepEqual(values, [1, 2, 3]);
    assert.deepEqual(server.requests.map(({ isStream }) => isStream), [true, false, false]);
    assert.deepEqual(states.map(({ state, message }) => [state, message]), [
      ["live", undefined], ["waiting", "an event cannot be read"], ["live", undefined],
    ]);
  });
}

test("an event of an unknown type only moves the place", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) stream(response)(`event: news\nid: T1\ndata: no JSON\n\n${streamed("T2", 2)}`);
  });
  const { values } = recorded(t, feed(server.url, "jobs", soon));
  await until(() => values.length === 1);
  assert.deepEqual([values, server.requests.length], [[2], 1]);
});

for (const [name, broken] of Object.entries({
  torn: '{"events":[{"id":"2","data":"torn',
  "without events": '{"last_seen":"T2"}',
  "with an event that is none": '{"events":[null],"last_seen":"T2"}',
  "without a place": '{"events":[]}',
})) {
  test(`an answer ${name} is asked for alone at last, then passed over, and a reset tells it`, async (t) => {
    const server = await stub(t, ({ query }, response) => {
      if (!query.last_seen) return batch(response, "T1", [1]);
      if (query.last_seen === "T2") return batch(response, "T3", [3]);
      if (query.last_seen === "T1") response.writeHead(200, { "Content-Type": "application/json", "Last-Seen": "T2" }).end(broken);
    });
    const seen = recorded(t, mailbox(server.url, { client: "alice", limit: 50, ...soon }));
    await until(() => server.requests.at(-1)?.query.last_seen === "T3");
    assert.deepEqual([seen.values, seen.resets], [[1, 3], 1]);
    const limits = server.requests.map(({ query }) => query.limit);
    assert.deepEqual(limits, ["50", "50", "50", "50", "1", "1", "1", "1", "50", "50"]);
    assert.deepEqual(seen.states.map(({ state }) => state), ["live", ...Array(6).fill("waiting"), "live"]);
  });
}

test("what comes in place of the gateway's answer is never passed over", async (t) => {
  const others = [
    (response) => response.setHeader("Content-Type", "application/json").end('{"status":"ok"}'),
    (response) => response.setHeader("Content-Type", "text/html").end("<h1>Log in</h1>"),
    (response) => response.writeHead(200, { "Content-Type": "text/html", "Last-Seen": "T9" }).end("{}"),
    (response) => response.writeHead(200).end(),
  ];
  const server = await stub(t, ({ query }, response, n) => {
    if (n === 0) batch(response, "T1", [1]);
    else if (n < 40) others[n % others.length](response);
    else if (n === 40) batch(response, "T2", [2]);
  });
  const seen = recorded(t, mailbox(server.url, { client: "alice", ...soon }));
  await until(() => server.requests.length === 42);
  assert.deepEqual([seen.values, seen.resets], [[1, 2], 0]);
  assert.ok(server.requests.slice(1, 41).every(({ query }) => query.last_seen === "T1" && query.limit === undefined));
  const names = seen.states.map(({ state }) => state);
  assert.deepEqual(names, ["live", ...Array(39).fill("waiting"), "live"], "such an answer is not told as live");
});

// What a page may give, and what is refused where it is given.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed, mailbox } from "../postern.js";
import { until } from "./gateway.js";
import { recorded } from "./readers.js";
import { batch, problem, stub } from "./stub.js";

const url = "http://127.0.0.1:1";
const client = "alice";

for (const wrong of [undefined, null, "", ".", "..", "../topics/op.x", "a b", "a?x=1", "ä", "a\n", 5, {}, ["a"], "a".repeat(129)]) {
  test(`a client cannot be ${JSON.stringify(wrong)?.slice(0, 20)}`, () => {
    assert.throws(() => mailbox(url, { client: wrong }), { name: "TypeError", message: /client must be 1 to 128 of A-Z/ });
  });
}

test("a client is named by its whole alphabet", () => {
  for (const right of ["...", "aZ09._~-", "a".repeat(128)]) mailbox(url, { client: right });
  assert.throws(() => mailbox(url), { name: "TypeError", message: /client .* undefined; wait until it is set/ });
});

for (const wrong of [undefined, null, "", "a b", "a..b", "a.", "a,b", "a*", ["a", "b"], { topics: ["a"] }]) {
  test(`a feed has one pattern, and not ${JSON.stringify(wrong)}`, () => {
    assert.throws(() => feed(url, wrong), { name: "TypeError", message: /topic must be one pattern/ });
  });
}

for (const wrong of ["", "a b", "a,,b", ["a", undefined], ["a", 5], [""], 5, { a: 1 }]) {
  test(`topics cannot be ${JSON.stringify(wrong)}`, () => {
    assert.throws(() => mailbox(url, { client, topics: wrong }), { name: "TypeError", message: /topics must be words/ });
  });
}

test("topics are one pattern, several with commas between them, or any iterable", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 404));
  const given = ["jobs", "jobs.#,builds.*", ["jobs"], new Set(["a", "b"]), ["a", "b"].values(), [], undefined];
  for (const topics of given) recorded(t, mailbox(server.url, { client, topics }));
  await until(() => server.requests.length === given.length);
  const asked = server.requests.map(({ query }) => query.topics);
  assert.deepEqual(asked.sort(), ["jobs", "jobs", "jobs.#,builds.*", "a,b", "a,b", undefined, undefined].sort());
});

test("an option that is undefined keeps its default", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n === 0) problem(response, 500);
    if (n === 1) batch(response, "T1", [1]);
  });
  const names = ["signal", "transport", "lastSeen", "limit", "storage", "locks", "headers", "fetch"];
  names.push("user", "wait", "silence", "interval", "patience", "pause", "topics");
  const options = Object.fromEntries(names.map((name) => [name, undefined]));
  const { values, states } = recorded(t, mailbox(server.url, { client, ...options }));
  await until(() => server.requests.length === 3);
  assert.deepEqual([values, server.requests[2].query.wait], [[1], "25"]);
  assert.deepEqual(states.map(({ state }) => state), ["waiting", "live"]);
  assert.ok(states[0].pause > 0.2 && states[0].pause < 0.8, `${states[0].pause} s`);
});

for (const [name, wrongs] of Object.entries({
  transport: ["websocket", "longpoll", "SSE", 1, null],
  wait: ["25s", "25", 0, 100, 2.5, -1, NaN, Infinity, null],
  limit: ["10", 0, 501, 1.5, NaN, null],
  silence: ["20", 0, -1, NaN, null],
  interval: ["5", 0, -1, NaN, null],
  patience: ["5", -1, NaN, null],
  pause: [5, [1], [1, 2, 3], [2, 1], [0, 1], ["1", "2"], [NaN, 1], null, "12"],
  lastSeen: ["", "a b", 5, "[object Promise]", "a".repeat(129)],
  headers: ["Bearer x", 5, null, { "my header": "a" }, { a: "b\nc" }],
  user: ["", 5, null, {}, () => "alice"],
  fetch: ["fetch", {}, null],
  storage: ["localStorage", {}, { getItem() {} }],
  locks: [true, {}],
  signal: [new AbortController(), true],
})) {
  for (const wrong of wrongs) {
    test(`${name} cannot be ${wrong === null || wrong?.constructor === Object ? JSON.stringify(wrong) : String(wrong).slice(0, 20)}`, () => {
      const isRange = typeof wrong === "number" && !["transport", "lastSeen", "headers", "user", "pause"].includes(name);
      const named = { message: new RegExp(`postern: ${name} must be `) };
      for (const begin of [() => mailbox(url, { client, [name]: wrong }), () => feed(url, "jobs", { [name]: wrong })]) {
        assert.throws(begin, isRange ? { ...named, name: "RangeError" } : named);
        assert.throws(begin, (error) => error instanceof TypeError || error instanceof RangeError);
      }
    });
  }
}

test("what an option may be", () => {
  const none = { signal: null, storage: null, locks: null, lastSeen: null };
  const longest = { silence: Infinity, interval: Infinity, patience: Infinity, pause: [1, Infinity], wait: 55, limit: 500 };
  const least = { silence: 0.001, interval: 0.001, patience: 0, pause: [0.001, 0.001], wait: 1, limit: 1 };
  for (const options of [none, longest, least, {}, null, undefined]) feed(url, "jobs", options);
  for (const options of [5, "a", () => {}]) assert.throws(() => feed(url, "jobs", options), { name: "TypeError" });
});

for (const [given, meant] of Object.entries({
  limt: "limit", topic: "topics", last_seen: "lastSeen", lastseen: "lastSeen", header: "headers", pasue: "pause", Client: "client",
})) {
  test(`${given} is no option, and ${meant} is meant`, () => {
    const message = new RegExp(`mailbox has no option ${given}; did you mean ${meant}\\?$`);
    assert.throws(() => mailbox(url, { client, [given]: undefined }), { name: "TypeError", message });
  });
}

test("an option of nothing or of the other reader is refused, too", () => {
  assert.throws(() => mailbox(url, { client, credentials: "include" }), { message: /mailbox has no option credentials$/ });
  assert.throws(() => mailbox(url, { client, fold: "latest" }), { message: /mailbox has no option fold$/ });
  assert.throws(() => feed(url, "jobs", { topics: ["a"] }), { message: /feed has no option topics$/ });
  assert.throws(() => feed(url, "jobs", { constructor: 1 }), { name: "TypeError" });
  assert.throws(() => feed(url, "jobs", { fold: "newest" }), { message: /fold must be latest, but is "newest"/ });
});

for (const wrong of ["/", "", "push", undefined, null, 5, "localhost:8080", "ws://push.example", "//push.example"]) {
  test(`on a server a gateway is not at ${JSON.stringify(wrong)}`, () => {
    assert.throws(() => feed(wrong, "jobs"), { name: "TypeError", message: /url must be an absolute http: URL here/ });
  });
}

test("a gateway is at a URL or at its text", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 404));
  for (const at of [server.url, new URL(`${server.url}/prefix`)]) recorded(t, feed(at, "jobs"));
  await until(() => server.requests.length === 2);
  const paths = server.requests.map((request) => new URL(request.url, server.url).pathname);
  assert.deepEqual(paths.sort(), ["/prefix/topics/jobs/events", "/topics/jobs/events"]);
});

test("headers are an object, or what a function gives, and none is undefined", async (t) => {
  const server = await stub(t, (request, response) => problem(response, 404));
  const forms = [
    { authorization: "Bearer 1", "x-none": undefined, Accept: "text/html" },
    new Headers({ authorization: "Bearer 1" }),
    [["authorization", "Bearer 1"]],
    () => ({ authorization: "Bearer 1", "x-none": null }),
    async () => new Headers({ authorization: "Bearer 1" }),
  ];
  for (const headers of [...forms, () => undefined]) recorded(t, mailbox(server.url, { client, headers }));
  await until(() => server.requests.length === forms.length + 1);
  const sent = server.requests.map(({ headers }) => headers);
  assert.equal(sent.filter(({ authorization }) => authorization === "Bearer 1").length, forms.length);
  assert.ok(sent.every((headers) => headers.accept === "application/json" && !("x-none" in headers)));
});

test("a function that gives no headers, or throws, is told and asked again", async (t) => {
  const server = await stub(t, (request, response) => batch(response, "T", [1]));
  const answers = [() => "Bearer 1", () => Promise.reject(undefined), () => Promise.reject({ end: "denied", status: 401 }), () => ({})];
  const headers = () => (answers.length > 1 ? answers.shift() : answers[0])();
  const { values, states } = recorded(t, mailbox(server.url, { client, headers, pause: [0.01, 0.01] }));
  await until(() => values.length > 0);
  assert.deepEqual(states.map(({ state }) => state), ["waiting", "waiting", "waiting", "live"]);
});

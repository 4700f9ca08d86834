// Pages that share a connection, played by readers of one process that share locks and a storage.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

import { feed, mailbox } from "../postern.js";
import { gateway, until } from "./gateway.js";
import { Locks, recorded, Shelf } from "./readers.js";
import { batch, problem, stream, streamed, stub } from "./stub.js";

const soon = { pause: [0.05, 0.2] };
const origin = () => ({ locks: new Locks(), storage: new Shelf(), ...soon });
const areLive = (pages) => until(() => pages.every(({ reader }) => reader.state === "live"));
const have = (pages, n) => until(() => pages.every(({ values }) => values.length >= n));
const rest = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

for (const transport of ["sse", "long-poll"]) {
  test(`eight pages of a feed hold one connection: ${transport}`, async (t) => {
    const server = await gateway(t);
    await server.publish("jobs", 0);
    const sent = [];
    const own = (url, init) => (sent.push(url.searchParams.get("wait")), fetch(url, init));
    const options = { ...origin(), storage: null, transport, fetch: own };
    const pages = Array.from({ length: 8 }, () => recorded(t, feed(server.url, "jobs", options)));
    await have(pages, 1);
    await areLive(pages);
    await rest(500);
    sent.length = 0;
    for (let n = 1; n <= 20; n++) await server.publish("jobs", n);
    await have(pages, 21);
    for (const { values } of pages) assert.deepEqual(values, Array.from({ length: 21 }, (_, n) => n));
    assert.ok(sent.length <= 21, `${sent}`);
    assert.ok(!sent.includes("0"), "no page reads for itself");
  });
}

test("eight pages of a mailbox hold one poll, and each gets every event once", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"] };
  const pages = Array.from({ length: 8 }, () => recorded(t, mailbox(server.url, options)));
  await areLive(pages);
  for (let n = 0; n < 20; n++) await server.publish("jobs", n);
  await have(pages, 20);
  await until(async () => (await server.look("alice")).unconfirmed === 0);
  for (const { values, states } of pages) {
    assert.deepEqual(values, Array.from({ length: 20 }, (_, n) => n));
    assert.ok(states.every(({ state }) => state !== "waiting"), JSON.stringify(states));
  }
});

test("an event is confirmed when every page has handled it", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"] };
  const [first, second] = [0, 1].map(() => recorded(t, mailbox(server.url, options)));
  await areLive([first, second]);
  let finish;
  second.reader.addEventListener("event", (notice) => notice.waitUntil(new Promise((done) => (finish = done))));
  await server.publish("jobs", 1);
  await until(() => finish && first.values.length === 1);
  await rest(300);
  assert.equal((await server.look("alice")).unconfirmed, 1);
  finish();
  await until(async () => (await server.look("alice")).unconfirmed === 0);
});

test("a handler that fails in one page gets its event again, and the other page no repeat", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"] };
  const [first, second] = [0, 1].map(() => recorded(t, mailbox(server.url, options)));
  await areLive([first, second]);
  let failures = 1;
  second.reader.addEventListener("event", (notice) => failures-- > 0 && notice.waitUntil(Promise.reject("not now")));
  await server.publish("jobs", 1);
  await have([second], 2);
  await server.publish("jobs", 2);
  await have([first, second], 2);
  await until(async () => (await server.look("alice")).unconfirmed === 0);
  assert.deepEqual([first.values, second.values], [[1, 2], [1, 1, 2]]);
});

test("a frozen page holds up the others once, and gets all when it thaws", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"], patience: 0.5 };
  const [first, frozen] = [0, 1].map(() => recorded(t, mailbox(server.url, options)));
  await areLive([first, frozen]);
  let thaw;
  const ice = new Promise((done) => (thaw = done));
  frozen.reader.addEventListener("event", (notice) => notice.waitUntil(ice));
  const began = performance.now();
  for (let n = 0; n < 5; n++) await server.publish("jobs", n);
  await have([first], 5);
  await until(async () => (await server.look("alice")).unconfirmed === 0);
  const took = performance.now() - began;
  assert.ok(took > 400 && took < 3000, `${took} ms`);
  assert.deepEqual(frozen.values, [0]);
  thaw();
  await have([frozen], 5);
  assert.deepEqual(frozen.values, [0, 1, 2, 3, 4]);
});

test("patience without end waits for every page, without spinning", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"], patience: Infinity };
  const [first, slow] = [0, 1].map(() => recorded(t, mailbox(server.url, options)));
  await areLive([first, slow]);
  let finish;
  slow.reader.addEventListener("event", (notice) => notice.waitUntil(new Promise((done) => (finish = done))));
  const timers = t.mock.method(globalThis, "setTimeout");
  await server.publish("jobs", 1);
  await until(() => finish && first.values.length === 1);
  await rest(300);
  const mine = timers.mock.calls.filter(({ stack }) => stack.stack.includes("postern.js"));
  assert.ok(mine.length < 10, `${mine.length} timers`);
  assert.equal((await server.look("alice")).unconfirmed, 1);
  finish();
  await until(async () => (await server.look("alice")).unconfirmed === 0);
});

test("a page that joins gets what is still unconfirmed", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"] };
  const first = recorded(t, mailbox(server.url, options));
  await areLive([first]);
  await server.publish("jobs", 1);
  await have([first], 1);
  await until(async () => (await server.look("alice")).unconfirmed === 0);
  let finish;
  first.reader.addEventListener("event", (notice) => notice.waitUntil(new Promise((done) => (finish = done))));
  await server.publish("jobs", 2);
  await until(() => finish);
  const second = recorded(t, mailbox(server.url, options));
  await have([second], 1);
  finish();
  await until(async () => (await server.look("alice")).unconfirmed === 0);
  assert.deepEqual([first.values, second.values], [[1, 2], [2]]);
});

test("the topics of all pages are bound", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice" };
  const first = recorded(t, mailbox(server.url, { ...options, topics: ["jobs"] }));
  await areLive([first]);
  const second = recorded(t, mailbox(server.url, { ...options, topics: ["builds"] }));
  await areLive([second]);
  await until(async () => {
    await server.publish("builds", "b");
    return first.values.length > 0 && second.values.length > 0;
  });
  assert.equal(first.states.filter(({ state }) => state === "waiting").length, 0);
});

for (const [kind, begin] of [
  ["mailbox", (url, options) => mailbox(url, { client: "alice", topics: ["jobs"], ...options })],
  ["feed", (url, options) => feed(url, "jobs", { lastSeen: "oldest", ...options })],
]) {
  test(`when pages close one after the other, the rest lose and repeat nothing: ${kind}`, async (t) => {
    const server = await gateway(t);
    const options = origin();
    const pages = Array.from({ length: 5 }, () => recorded(t, begin(server.url, options)));
    await areLive(pages);
    let n = 0;
    let isDone = false;
    const publishing = (async () => {
      while (!isDone) {
        await server.publish("jobs", n++);
        await rest(5);
      }
    })();
    for (const { reader } of pages.slice(0, 4)) {
      await rest(200);
      reader.close();
    }
    await rest(200);
    isDone = true;
    await publishing;
    const last = pages.at(-1);
    await have([last], n);
    for (const { values } of pages) assert.deepEqual(values, Array.from(values, (_, at) => at));
    assert.equal(last.values.length, n);
  });

  test(`a page that crashes is succeeded: ${kind}`, async (t) => {
    const server = await gateway(t);
    await server.bind("alice", "jobs");
    const options = origin();
    const page = (script) => new Crashable(t, options.locks, server.url, kind, script);
    // It leads, and never finishes with 2.
    const first = page(`if (detail.data === 2) notice.waitUntil(new Promise(() => {}));`);
    await first.ready;
    const others = [0, 1].map(() => recorded(t, begin(server.url, options)));
    await areLive(others);
    await server.publish("jobs", 1, 2, 3);
    await until(() => first.values.length === 2);
    await have(others, 2);
    await first.crash();
    await have(others, 3);
    await server.publish("jobs", 4);
    await have(others, 4);
    for (const { values } of others) assert.deepEqual(values, [1, 2, 3, 4]);
  });
}

/** A page in a thread of its own, which can end without a word. */
class Crashable {
  values = [];
  #worker;
  #release = () => {};

  constructor(test, locks, url, kind, script) {
    this.#worker = new Worker(new URL("page.js", import.meta.url), { workerData: { url, kind, script } });
    test.after(() => this.crash());
    this.ready = new Promise((ready) => {
      this.#worker.on("message", ({ lock, value, state }) => {
        if (value !== undefined) this.values.push(value);
        if (state === "live") ready();
        if (lock) {
          locks.request(lock, () => {
            this.#worker.postMessage("granted");
            return new Promise((release) => (this.#release = release));
          });
        }
      });
    });
  }

  async crash() {
    await this.#worker.terminate();
    this.#release();
  }
}

test("a page that lags behind the leader at its start catches up by itself, and misses and repeats nothing", async (t) => {
  const server = await gateway(t);
  for (let n = 0; n < 300; n++) await server.publish("jobs", n);
  const options = { ...origin(), storage: null, limit: 20 };
  const first = recorded(t, feed(server.url, "jobs", { ...options, lastSeen: "now" }));
  await areLive([first]);
  const second = recorded(t, feed(server.url, "jobs", { ...options, lastSeen: "oldest" }));
  for (let n = 300; n < 400; n++) await server.publish("jobs", n);
  await have([first], 100);
  await have([second], 400);
  assert.deepEqual(second.values, Array.from({ length: 400 }, (_, n) => n));
  assert.deepEqual(first.values, Array.from({ length: 100 }, (_, n) => n + 300));
  // And now the one that lagged leads.
  first.reader.close();
  await server.publish("jobs", 400);
  await have([second], 401);
  assert.equal(second.values.at(-1), 400);
});

test("a page that begins with now misses nothing from the moment it is live", async (t) => {
  const server = await gateway(t);
  await server.publish("jobs", 0);
  const options = { ...origin(), storage: null, lastSeen: "now" };
  const first = recorded(t, feed(server.url, "jobs", options));
  await areLive([first]);
  let release;
  const published = new Promise((done) => (release = done));
  // What the second page itself asks comes late.
  const late = async (...request) => (await published, fetch(...request));
  const second = recorded(t, feed(server.url, "jobs", { ...options, fetch: late }));
  await areLive([second]);
  await server.publish("jobs", 1);
  await have([first], 1);
  release();
  await server.publish("jobs", 2);
  await until(() => second.values.includes(2));
  assert.deepEqual(second.values, [1, 2]);
});

test("a busy log of other topics does not keep a page from joining", async (t) => {
  const server = await gateway(t);
  await server.publish("jobs", 1);
  const options = { ...origin(), storage: null };
  const first = recorded(t, feed(server.url, "jobs", options));
  await have([first], 1);
  let isDone = false;
  const publishing = (async () => {
    while (!isDone) await server.publish("other", 0);
  })();
  const second = recorded(t, feed(server.url, "jobs", options));
  await have([second], 1);
  await rest(1000);
  isDone = true;
  await publishing;
  await server.publish("jobs", 2);
  await have([first, second], 2);
  assert.deepEqual([first.values, second.values], [[1, 2], [1, 2]]);
});

test("all pages stop when another browser replaces one of them, and none fights", async (t) => {
  const server = await gateway(t);
  const options = { ...origin(), client: "alice", topics: ["jobs"] };
  const pages = Array.from({ length: 3 }, () => recorded(t, mailbox(server.url, options)));
  await areLive(pages);
  const other = recorded(t, mailbox(server.url, { client: "alice", topics: ["jobs"] }));
  await until(() => pages.every(({ reader }) => reader.state === "replaced"));
  await areLive([other]);
  await rest(300);
  assert.equal(other.reader.state, "live");
});

test("pages follow the state of the one that leads", async (t) => {
  let answer = (response) => problem(response, 503, { "Retry-After": "1" });
  const server = await stub(t, (request, response) => answer(response));
  const options = origin();
  const pages = Array.from({ length: 3 }, () => recorded(t, feed(server.url, "jobs", options)));
  await until(() => pages.every(({ states }) => states.at(-1)?.state === "waiting"));
  assert.ok(pages.every(({ states }) => states.at(-1).status === 503));
  answer = (response) => stream(response)(streamed("T1", 1));
  await have(pages, 1);
  await areLive(pages);
  answer = (response) => problem(response, 401);
  server.requests.at(-1).socket.destroy();
  await until(() => pages.every(({ reader }) => reader.state === "denied"));
});

test("pages of another topic, folding or client share nothing", async (t) => {
  const server = await stub(t, ({ query }, response, n) => {
    if (query.wait === "0") batch(response, `T${n}`, [n]);
  });
  const options = { ...origin(), transport: "long-poll" };
  const pages = [
    feed(server.url, "a", options),
    feed(server.url, "b", options),
    feed(server.url, "a", { ...options, fold: "latest" }),
    mailbox(server.url, { client: "a", ...options }),
  ].map((reader) => recorded(t, reader));
  await have(pages, 1);
  assert.equal(new Set(pages.flatMap(({ values }) => values)).size, 4);
});

test("where locks are forbidden each page reads for itself", async (t) => {
  const server = await stub(t, (request, response, n) => {
    if (n < 2) batch(response, "T", [n]);
  });
  const locks = { request: () => Promise.reject(new Error("SecurityError")) };
  const pages = [0, 1].map(() => recorded(t, mailbox(server.url, { client: "a", locks })));
  await have(pages, 1);
});

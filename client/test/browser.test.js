// What only a browser has: frames, workers, Web Locks, a collector of garbage.

import assert from "node:assert/strict";
import { test } from "node:test";

import { page } from "./browser.js";
import { batch, problem, stream, streamed } from "./stub.js";

/** Holds polls and streams, as a gateway does where nothing happens. */
const quiet = ({ query, isStream }, response) => {
  if (isStream) stream(response)(":\n\nretry: 700\n\n");
  else if (query.wait === "0") response.writeHead(204).end();
};

test("a reader that is closed leaves nothing in its page", async (t) => {
  const script = `
    const { signal } = new AbortController();
    const leader = feed("/", "held");
    leader.addEventListener("event", () => {});
    await until(() => leader.state === "live");
    const listeners = { count: 0 };
    for (const target of [window, signal]) {
      const { addEventListener } = target;
      target.addEventListener = function (type, listener, options) {
        listeners.count++;
        options?.signal?.addEventListener("abort", () => listeners.count--);
        return addEventListener.call(this, type, listener, options);
      };
    }
    const closed = async (topic, isRead) => {
      const reader = feed("/", topic, { signal });
      if (isRead) {
        reader.addEventListener("event", () => {});
        await until(() => reader.state === "live");
      }
      reader.close();
      return new WeakRef(reader);
    };
    const refs = [];
    // Some lead, some wait for the lock that another holds, and some never begin.
    for (let n = 0; n < 10; n++) refs.push(await closed("own", true), await closed("held", true), await closed("own", false));
    await rest(200);
    for (let n = 0; n < 50 && refs.some((ref) => ref.deref()); n++) {
      await rest(20);
      await collect();
    }
    const { held, pending } = await navigator.locks.query();
    leader.close();
    return { alive: refs.filter((ref) => ref.deref()).length, locks: [held.length, pending.length], listeners: listeners.count };
  `;
  assert.deepEqual(await page(t, script, quiet), { alive: 0, locks: [1, 0], listeners: 0 });
});

test("workers read as pages do, and share the connection of their page", async (t) => {
  const script = `
    const values = [];
    const reader = feed("/", "jobs", { lastSeen: "now" });
    reader.addEventListener("event", ({ detail }) => values.push(detail.data));
    await until(() => reader.state === "live");
    const blob = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const source = 'import { feed } from "' + location.origin + '/client.js"; const reader = feed("/", "jobs", { lastSeen: "now" });'
      + 'reader.addEventListener("event", ({ detail }) => postMessage(detail.data));'
      + 'reader.addEventListener("state", ({ detail }) => postMessage(detail.state));';
    const worker = new Worker(blob(source), { type: "module" });
    const told = [];
    worker.onmessage = ({ data }) => told.push(data);
    await until(() => told.includes("live"));
    await fetch("/publish");
    await until(() => told.includes(1) && values.includes(1));
    // And now the worker leads.
    reader.close();
    await fetch("/begun");
    await fetch("/publish");
    await until(() => told.includes(2));
    worker.terminate();
    return { values, told };
  `;
  const streams = [];
  let begun = () => {};
  let count = 0;
  const answer = ({ url, isStream, query }, response) => {
    if (url === "/publish") {
      streams.at(-1)(streamed(`${++count}~a`, count));
      response.end();
    } else if (url === "/begun") {
      if (streams.length > 1) response.end();
      else begun = () => response.end();
    } else if (isStream) {
      streams.push(stream(response));
      streams.at(-1)(`:\n\nretry: 700\n\nid: ${count}~a\n\n`);
      if (streams.length > 1) begun();
    } else {
      // A page that joins catches up by polls.
      const seen = query.last_seen === "now" ? count : parseInt(query.last_seen);
      if (seen < count) batch(response, `${count}~a`, [count]);
      else response.writeHead(204, { "Last-Seen": `${count}~a` }).end();
    }
  };
  const found = await page(t, script, answer);
  assert.deepEqual([found.values, found.told.filter(Number)], [[1], [1, 2]]);
  assert.equal(streams.length, 2, "one connection at a time");
});

for (const transport of ["sse", "long-poll"]) {
  test(`no page sees a failure when the page that leads is loaded again: ${transport}`, async (t) => {
    const script = `
      const told = [];
      window.frame = async ({ mailbox, name }) => {
        const reader = mailbox("/", { client: "alice", transport: "${transport}", pause: [0.01, 0.01] });
        reader.addEventListener("state", ({ detail }) => name !== left && told.push(detail.state));
        reader.addEventListener("event", () => {});
      };
      let left;
      const frames = [0, 1, 2].map(() => document.body.appendChild(document.createElement("iframe")));
      for (const frame of frames) {
        frame.src = "/frame";
        frame.name = "first " + frames.indexOf(frame);
        await until(() => told.length === frames.indexOf(frame) + 1);
      }
      // Each is the one that leads in its turn.
      for (let n = 0; n < 12; n++) {
        const before = told.length;
        const frame = frames[n % 3];
        // What a page that is left says to itself is nothing to the others.
        left = frame.name;
        frame.name = String(n + 1);
        frame.contentWindow.location.reload();
        await until(() => told.length > before && told.at(-1) === "live");
      }
      await rest(200);
      return told;
    `;
    const told = await page(t, script, quiet);
    assert.deepEqual(told, Array(15).fill("live"));
  });
}

test("a page that is asked to leave and stays tells the others its next failure", async (t) => {
  const script = `
    const told = [[], []];
    for (const states of told) {
      const reader = mailbox("/", { client: "alice", pause: [0.01, 0.01] });
      reader.addEventListener("state", ({ detail }) => states.push(detail.state));
      reader.addEventListener("event", () => {});
      await until(() => states.includes("live"));
    }
    const cut = () => until(async () => (await fetch("/cut")).ok);
    window.dispatchEvent(new Event("beforeunload"));
    await cut();
    await until(() => told[0].length === 3);
    await rest(1100);
    await cut();
    await until(() => told[0].length === 5 && told[1].at(-1) === "live");
    return told;
  `;
  const held = [];
  const answer = (request, response) => {
    if (request.url === "/cut") {
      const cut = held.pop();
      response.writeHead(cut ? 204 : 404).end();
      // A browser repeats a request of whose answer nothing came.
      cut?.write("{", () => cut.destroy());
    } else if (request.query.wait === "0") quiet(request, response);
    else held.push(response);
  };
  const told = await page(t, script, answer);
  assert.deepEqual(told, [["live", "waiting", "live", "waiting", "live"], ["live", "waiting", "live"]]);
});

test("a reader that pauses tries again at once when the network is back, but not before the server's time", async (t) => {
  const script = `
    const begin = async (topic, own) => {
      const reader = feed("/", topic, { pause: [60, 60], transport: "long-poll", fetch: own });
      const told = [];
      reader.addEventListener("state", ({ detail }) => told.push([detail.state, detail.message]));
      reader.addEventListener("event", () => {});
      await until(() => told.length === 1);
      return told;
    };
    const onLine = (value) => Object.defineProperty(navigator, "onLine", { value, configurable: true });
    const told = [await begin("soon"), await begin("late")];
    onLine(false);
    const cut = (...asked) => (navigator.onLine ? fetch(...asked) : Promise.reject(new TypeError("Failed to fetch")));
    told.push(await begin("off", cut));
    onLine(true);
    window.dispatchEvent(new Event("online"));
    await until(() => told[0].length === 2 && told[2].length === 2);
    await rest(200);
    return told;
  `;
  const requests = [];
  const isFirst = ({ url }) => requests.filter((other) => other.url.split("?")[0] === url.split("?")[0]).length === 1;
  const answer = (request, response) => {
    if (!isFirst(request) || request.url.includes("/off/")) quiet(request, response);
    else problem(response, 503, request.url.includes("/late/") ? { "Retry-After": "60" } : {});
  };
  const told = await page(t, script, answer, requests);
  assert.deepEqual(told, [
    [["waiting", "this is a 503"], ["live", null]],
    [["waiting", "this is a 503"]],
    [["waiting", "offline"], ["live", null]],
  ]);
});

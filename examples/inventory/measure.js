// Prints the figures of the README: this design, and the one that it replaces in miniature, in turn, under the same loads.
//
// The old one: a request is kept as a callback until the next change; a change calls all callbacks and forgets them; each
// client then asks again. Its server runs in a thread of its own, as the gateway runs in a process of its own.

import { once } from "node:events";
import http from "node:http";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

import { feed } from "../../client/postern.js";
import { GATEWAY, publish } from "../gateway.js";

const CLIENTS = 100;
const UPDATES = 60;
const LOADS = {
  "random gaps of at most 50 ms": { pause: () => 50 * Math.random() },
  "the same, 40 ms of network before each request": { pause: () => 50 * Math.random(), away: 40 },
  "bursts of 5": { pause: (n) => (n % 5 ? 0 : 250), isBurst: true },
};
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

if (isMainThread) await measure();
else old();

function old() {
  let callbacks = [];
  let requests = 0;
  const server = http.createServer((_, response) => {
    requests++;
    callbacks.push((value) => response.end(value));
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage({ port: server.address().port }));
  parentPort.on("message", (value) => {
    if (value === "count") return parentPort.postMessage({ requests, callbacks: callbacks.length });
    const called = callbacks;
    callbacks = [];
    for (const callback of called) callback(value);
  });
}

/** The old design: `update` changes the stock, `client` begins to follow it and gives each value to `show`. */
async function before() {
  const worker = new Worker(new URL(import.meta.url));
  const [{ port }] = await once(worker, "message");
  const count = async () => {
    worker.postMessage("count");
    return (await once(worker, "message"))[0];
  };
  return {
    update: (n) => worker.postMessage(`${n}`),
    client({ away }, show) {
      const gone = new AbortController();
      (async () => {
        while (!gone.signal.aborted) {
          if (away) await sleep(away);
          const answer = await fetch(`http://127.0.0.1:${port}/`, { signal: gone.signal }).catch(() => {});
          if (answer) show(Number(await answer.text()));
        }
      })();
      return () => gone.abort();
    },
    requests: async () => (await count()).requests,
    kept: async () => (await count()).callbacks,
    end: () => worker.terminate(),
  };
}

/** This design: the same as the page does. `fold` is left out, so that each update can be counted. */
async function now() {
  const topic = `measured.${Math.random().toString(36).slice(2)}`;
  let requests = 0;
  return {
    update: (n) => publish(topic, n),
    client({ away }, show) {
      const send = async (url, init) => {
        requests++;
        if (away) await sleep(away);
        return fetch(url, init);
      };
      // A stream has no pause between two requests, so a slow network is measured where it hurts.
      const transport = away ? "long-poll" : "sse";
      const reader = feed(GATEWAY, topic, { transport, fetch: send, lastSeen: "now" });
      reader.addEventListener("event", ({ detail }) => show(detail.data));
      return () => reader.close();
    },
    requests: () => requests,
    async kept() {
      const metrics = await (await fetch(`${GATEWAY}/metrics`)).text();
      return Number(/^postern_polls_held (\d+)/m.exec(metrics)[1]);
    },
    end() {},
  };
}

async function round(design, load) {
  const { update, client, requests, kept, end } = await design();
  const changedAt = [];
  const shown = Array.from({ length: CLIENTS }, () => []);
  const stale = [];
  const leave = shown.map((values) =>
    client(load, (n) => {
      values.push(n);
      stale.push(performance.now() - changedAt[n]);
    }),
  );
  await sleep(1500);
  const asked = await requests();
  for (let n = 0; n < UPDATES; n++) {
    changedAt.push(performance.now());
    const done = update(n);
    const pause = load.pause(n + 1);
    if (!load.isBurst) await done;
    if (pause) await sleep(pause);
  }
  await sleep(1500);
  const again = (await requests()) - asked;
  for (const go of leave.slice(CLIENTS / 2)) go();
  await sleep(1000);
  const left = await kept();
  for (const go of leave) go();
  await end();
  const pairs = CLIENTS * UPDATES;
  const seen = shown.reduce((sum, values) => sum + new Set(values).size, 0);
  stale.sort((a, b) => a - b);
  return {
    lost: 100 * (1 - seen / pairs),
    wrong: shown.filter((values) => values.at(-1) !== UPDATES - 1).length,
    drawn: shown.reduce((sum, values) => sum + values.length, 0) / pairs,
    again: again / UPDATES,
    left,
    median: stale[Math.floor(stale.length / 2)],
    worst: stale.at(-1),
  };
}

async function measure() {
  const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
  const percent = ({ lost }) => (lost ? `${lost.toFixed(lost < 1 ? 2 : 0)} %` : "0");
  const ms = ({ median, worst }) => `${median.toFixed(1)} / ${worst.toFixed(0)} ms`;
  row(`${CLIENTS} clients, ${UPDATES} updates`, "before", "now");
  row("---", "---", "---");
  const results = [];
  for (const [name, load] of Object.entries(LOADS)) {
    const both = [await round(before, load), await round(now, load)];
    results.push(both);
    row(`(client, update) pairs lost: ${name}`, ...both.map(percent));
  }
  const sum = (side, field) => results.reduce((sum, both) => sum + both[side][field], 0);
  row(`clients whose last stock is wrong, of ${CLIENTS * results.length}`, sum(0, "wrong"), sum(1, "wrong"));
  const [gaps] = results;
  row("an update is shown after (median / longest)", ...gaps.map(ms));
  row("requests that each update causes", ...gaps.map(({ again }) => again.toFixed(1)));
  row(`kept on the server when ${CLIENTS / 2} of them have gone`, ...gaps.map(({ left }) => left));
  row(`values drawn by a page that was away for ${UPDATES} updates`, "0: it waits for the next", await comeBack());
}

/** Tells how many events the page of this example gets when it goes on after where it was. */
async function comeBack() {
  const topic = `measured.${Math.random().toString(36).slice(2)}`;
  const events = `${GATEWAY}/topics/${topic}/events?wait=0&fold=latest&last_seen=`;
  const place = (await fetch(`${events}now`)).headers.get("Last-Seen");
  for (let n = 0; n < UPDATES; n++) await publish(topic, n);
  await sleep(500);
  return (await (await fetch(events + place)).json()).events.length;
}

// Prints the figures of the README: this design, and the one that it replaces in miniature, in turn, under the same loads.
//
// The old one: one queue in memory for all viewers. A poll is held until the queue has an entry, takes it out, and is
// answered with it; whether the client is still there is not looked at. Its server runs in a thread of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

import { GATEWAY, publish } from "../gateway.js";

const ENTRIES = 200;
const VIEWERS = 6;
const HUNG_UP = 0.2;
const GAP_MS = 50;
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

if (isMainThread) await measure();
else old();

function old() {
  const queue = [];
  const held = [];
  const server = http.createServer((_, response) => {
    if (queue.length) response.end(queue.shift());
    else held.push(response);
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
  parentPort.on("message", (entry) => (held.length ? held.shift().end(entry) : queue.push(entry)));
}

/** The old design: `report` publishes an entry, `poll` gives those of one answer. */
async function before() {
  const start = async () => {
    const worker = new Worker(new URL(import.meta.url));
    const [port] = await once(worker, "message");
    return { worker, port };
  };
  let { worker, port } = await start();
  return {
    report: (entry) => worker.postMessage(JSON.stringify(entry)),
    viewer: () => async (signal) => [await (await fetch(`http://127.0.0.1:${port}/`, { signal })).json()],
    async restart() {
      await worker.terminate();
      ({ worker, port } = await start());
    },
    end: () => worker.terminate(),
  };
}

/** This design, by plain long-polls, so that both are hung up on in the same way. */
async function now(own) {
  const doors = `doors.measured-${Math.random().toString(36).slice(2)}`;
  const base = own?.url ?? GATEWAY;
  return {
    report: (entry) => (own ? own.publish(`${doors}.1`, entry) : publish(`${doors}.1`, entry)),
    viewer(lastSeen = "oldest") {
      return async (signal) => {
        const url = `${base}/topics/${doors}.*/events?wait=25&last_seen=${lastSeen}`;
        const answer = await fetch(url, { signal });
        if (answer.status !== 200) return [];
        const { events, last_seen } = await answer.json();
        lastSeen = last_seen;
        return events.map(({ data }) => data);
      };
    },
    restart: () => own.restart(),
    end() {},
  };
}

/** Polls until it is told to end; gives up so many of its polls while they are held. */
function follow(poll, hungUp) {
  const end = new AbortController();
  const seen = new Map();
  const polls = (async () => {
    while (!end.signal.aborted) {
      const patience = Math.random() < hungUp ? AbortSignal.timeout(Math.ceil(Math.random() * GAP_MS)) : end.signal;
      const entries = await poll(AbortSignal.any([end.signal, patience])).catch(() => []);
      for (const { n, at } of entries) if (!seen.has(n)) seen.set(n, performance.now() - at);
    }
  })();
  return async () => {
    end.abort();
    await polls;
    return seen;
  };
}

async function round(design, viewers, hungUp) {
  const { report, viewer, end } = await design();
  const ends = Array.from({ length: viewers }, () => follow(viewer(), hungUp));
  await sleep(300);
  const stored = [];
  for (let n = 0; n < ENTRIES; n++) {
    stored.push(report({ n, at: performance.now() }));
    await sleep(2 * GAP_MS * Math.random());
  }
  await Promise.all(stored);
  await sleep(1500);
  const seen = await Promise.all(ends.map((end) => end()));
  await end();
  const delays = seen.flatMap((seen) => [...seen.values()]).sort((a, b) => a - b);
  return { seen: seen.map(({ size }) => size / ENTRIES), median: delays[Math.floor(delays.length / 2)] };
}

/** Tells how much is there for a viewer that comes when the queue, or the gateway, was killed and started again. */
async function restarted(design, own) {
  const { report, viewer, restart, end } = await design(own);
  for (let n = 0; n < 100; n++) await report({ n, at: 0 });
  await restart();
  const ends = follow(viewer(), 0);
  await sleep(1500);
  const { size } = await ends();
  await end();
  return size;
}

/** A gateway of its own on the same broker, which may be killed. */
async function ownGateway() {
  const home = await mkdtemp(`${tmpdir()}/postern-measure-`);
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  const url = `http://127.0.0.1:${port}`;
  let child;
  const start = async () => {
    const flags = ["--listen", `127.0.0.1:${port}`, "--data-dir", home];
    child = spawn("gateway", flags, { stdio: "ignore" });
    process.once("exit", () => child.kill("SIGKILL"));
    const [failed] = await Promise.race([once(child, "error"), once(child, "spawn")]);
    if (failed) throw failed;
    while (!(await fetch(`${url}/ready`).catch(() => {}))?.ok) await sleep(50);
  };
  const kill = async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  await start();
  return {
    url,
    async publish(topic, value) {
      const answer = await fetch(`${url}/topics/${topic}/events`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
      if (answer.status !== 202) throw new Error(await answer.text());
    },
    async restart() {
      await kill();
      await start();
    },
    async end() {
      await kill();
      await rm(home, { recursive: true });
    },
  };
}

/** Polls for which no page waits any more, as reloads leave them; then how long another page waits. */
async function afterReloads() {
  const { viewer } = await now();
  const poll = viewer("now");
  for (let n = 0; n < 100; n++) await poll(AbortSignal.timeout(20)).catch(() => {});
  const since = performance.now();
  await fetch(`${GATEWAY}/client.js`).then((answer) => answer.text());
  return performance.now() - since;
}

async function measure() {
  const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
  const percent = (share) => `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;
  row(`${ENTRIES} entries, ${GAP_MS} ms apart on average`, "before", "now");
  row("---", "---", "---");
  const alone = [await round(before, 1, HUNG_UP), await round(now, 1, HUNG_UP)];
  row(`lost to a viewer that hangs up ${percent(HUNG_UP)} of its polls`, ...alone.map(({ seen: [share] }) => percent(1 - share)));
  const six = [await round(before, VIEWERS, 0), await round(now, VIEWERS, 0)];
  const span = ({ seen }) => {
    const [least, most] = [percent(Math.min(...seen)), percent(Math.max(...seen))];
    return least === most ? least : `${least} to ${most}`;
  };
  row(`what each of ${VIEWERS} viewers sees`, ...six.map(span));
  row("an entry is shown after (median)", ...six.map(({ median }) => `${median.toFixed(1)} ms`));
  const own = await ownGateway();
  row("entries of 100 that are there after a kill", await restarted(before), await restarted(now, own));
  await own.end();
  row("another request, after 100 reloads in the middle of a poll", "–", `${(await afterReloads()).toFixed(0)} ms`);
  process.exit(); // connections that are kept alive would hold it up
}

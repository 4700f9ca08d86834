// Prints the figures of the README: this design, and both versions of the one that it replaces in miniature, side by side on
// the same changes of the same runs.
//
// The old handler looks into the database, answers if the status is another one than the page knows, and else sleeps for
// 3 s before it looks again. The old timer asks every 8 s. Both have a server in a thread of its own, with a map for a
// database.

import { once } from "node:events";
import http from "node:http";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

import { feed } from "../../client/postern.js";
import { GATEWAY, publish } from "../gateway.js";

const RUNS = 60;
const SECONDS = Number(process.env.MEASURE_S ?? 90);
// Between two changes of a run; random and memoryless, so some follow each other closely.
const MEAN_GAP_S = 9;
const LOOK_S = 3;
const DEADLINE_S = 30;
const TIMER_S = 8;
const sleep = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));

if (isMainThread) await measure();
else old();

function old() {
  const database = new Map();
  const queries = { look: 0, timer: 0 };
  let [asleep, most] = [0, 0];
  const query = (design, run) => (queries[design]++, database.get(run) ?? "");
  const server = http.createServer(async ({ url }, response) => {
    const [, design, run, known] = url.split("/");
    let found = query(design, run);
    for (let end = Date.now() + DEADLINE_S * 1000; design === "look" && found === known && Date.now() < end; ) {
      most = Math.max(most, ++asleep);
      await sleep(LOOK_S);
      asleep--;
      found = query(design, run);
    }
    response.end(found);
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage({ port: server.address().port }));
  parentPort.on("message", (change) => {
    if (change) database.set(change.run, `${change.n}`);
    else parentPort.postMessage({ queries, most });
  });
}

async function measure() {
  const worker = new Worker(new URL(import.meta.url));
  const [{ port }] = await once(worker, "message");
  const prefix = Math.random().toString(36).slice(2);
  const runs = Array.from({ length: RUNS }, (_, n) => ({ id: `${prefix}-${n}`, changedAt: [] }));
  const designs = Object.fromEntries(["look", "timer", "now"].map((name) => [name, { stale: [], requests: 0 }]));

  function watch(run) {
    const shown = (design) => {
      const known = new Set();
      return (n) => {
        if (known.has(n)) return;
        known.add(n);
        design.stale.push((performance.now() - run.changedAt[n]) / 1000);
      };
    };
    const ask = async (name, known) => {
      designs[name].requests++;
      return (await fetch(`http://127.0.0.1:${port}/${name}/${run.id}/${known}`)).text();
    };
    const [look, timer, now] = Object.values(designs).map(shown);
    (async () => {
      for (let known = ""; ; ) if ((known = await ask("look", known))) look(Number(known));
    })();
    (async () => {
      await sleep(TIMER_S * Math.random());
      for (; ; await sleep(TIMER_S)) {
        const found = await ask("timer", "");
        if (found) timer(Number(found));
      }
    })();
    const send = (url, init) => (designs.now.requests++, fetch(url, init));
    const reader = feed(GATEWAY, `measured.${run.id}.status`, { fold: "latest", storage: null, fetch: send });
    reader.addEventListener("event", ({ detail }) => now(detail.data.n));
  }

  async function change(run, until) {
    for (;;) {
      const gap = -Math.log(1 - Math.random()) * MEAN_GAP_S;
      if (Date.now() + gap * 1000 > until) return;
      await sleep(gap);
      const n = run.changedAt.push(performance.now()) - 1;
      worker.postMessage({ run: run.id, n });
      await publish(`measured.${run.id}.status`, { n });
    }
  }

  console.error(`${RUNS} runs, ${SECONDS} s …`);
  for (const run of runs) watch(run);
  await sleep(1);
  await Promise.all(runs.map((run) => change(run, Date.now() + SECONDS * 1000)));
  await sleep(TIMER_S + 2);
  worker.postMessage(undefined);
  const [{ queries, most }] = await once(worker, "message");

  const changes = runs.reduce((sum, { changedAt }) => sum + changedAt.length, 0);
  const row = (name, ...cells) => console.log(`| ${[name, ...cells].join(" | ")} |`);
  const each = (figure) => Object.values(designs).map(figure);
  for (const { stale } of Object.values(designs)) stale.sort((a, b) => a - b);
  const seconds = (time) => (time < 0.1 ? `${(1000 * time).toFixed(1)} ms` : `${time.toFixed(1)} s`);
  const share = ({ stale }) => `${(100 * (1 - stale.length / changes)).toFixed(0)} %`;
  row(`${changes} changes of ${RUNS} runs, one watcher each`, "a look every 3 s", "a timer of 8 s", "now");
  row("---", "---", "---", "---");
  row("a change is shown after (median)", ...each(({ stale }) => seconds(stale[Math.floor(stale.length / 2)])));
  row("a change is shown after (longest)", ...each(({ stale }) => seconds(stale.at(-1))));
  row("changes never shown", ...each(share));
  const per = (count, { stale }) => (count / stale.length).toFixed(1);
  row("database queries for each change shown", per(queries.look, designs.look), per(queries.timer, designs.timer), "0");
  row("requests for each change shown", ...each((design) => per(design.requests, design)));
  row("most server threads asleep at once", most, "–", "0");
  process.exit();
}

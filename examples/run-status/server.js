// The load tests' backend: it starts runs, which are only simulated here, and publishes each change to `runs.<id>.status`.
//
// Each event holds the whole status of its run, with all changes up to it. So the newest event is all that a page has to
// read: a page that opens late, and this process when it starts again.

import { randomUUID } from "node:crypto";

import { newest, publish } from "../gateway.js";
import { serve } from "../serve.js";

const ENDS = ["passed", "failed", "cancelled"];
// Seconds between two changes of a run; random, as those of a real one.
const PAUSE_S = (process.env.PAUSE_S ?? "0.5-3").split("-").map(Number);
const sleep = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));

const runs = new Map();
for (const { data } of await newest("runs.*.status")) runs.set(data.id, data);
for (const run of runs.values()) if (!ENDS.includes(run.state)) simulate(run);

function change(run, state, progress) {
  run.state = state;
  run.progress = progress;
  run.changes.push({ at: new Date().toISOString(), state, progress });
  return publish(`runs.${run.id}.status`, run);
}

/** Goes on from wherever the run is. */
async function simulate(run) {
  const [least, most] = PAUSE_S;
  while (!ENDS.includes(run.state)) {
    await sleep(least + Math.random() * (most - least));
    if (ENDS.includes(run.state)) return;
    const progress = Math.min(run.progress + (run.state === "queued" ? 0 : 10), 100);
    const end = Math.random() < 0.2 ? "failed" : "passed";
    // Not awaited: a gateway that is away for a moment holds up no load test.
    change(run, progress === 100 ? end : "running", progress);
  }
}

function start() {
  const run = { id: randomUUID().slice(0, 8), state: "queued", progress: 0, changes: [] };
  runs.set(run.id, run);
  change(run, "queued", 0);
  simulate(run);
  return [201, { id: run.id }];
}

serve({
  page: new URL(".", import.meta.url),
  routes: {
    "POST /runs": start,
    "GET /runs/:id": ({ id }) => {
      const run = runs.get(id);
      return run ? [200, run] : [404, { detail: `there is no run ${id}` }];
    },
    "POST /runs/:id/cancel": ({ id }) => {
      const run = runs.get(id);
      if (!run) return [404, { detail: `there is no run ${id}` }];
      if (ENDS.includes(run.state)) return [409, { detail: `the run has ${run.state} already` }];
      change(run, "cancelled", run.progress);
      return [202, { id }];
    },
  },
});

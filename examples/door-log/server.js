// The doors' backend: it numbers what the doors report and publishes each entry to `doors.<doorno>`.
//
// An entry is published when the one before it is stored, so all readers of `doors.*` see the numbers in order. The
// doors are simulated; the newest events say how far the numbers had come when this process starts again.

import { newest, publish } from "../gateway.js";
import { serve } from "../serve.js";

const DOORS = [1, 2, 3, 4, 5, 6];
const CARDS = ["8944-0122", "8944-0177", "8944-0301", "8944-0415", "8944-0588"];
// Seconds between two reports; random, as people are.
const PAUSE_S = (process.env.PAUSE_S ?? "0.5-3").split("-").map(Number);

const sleep = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));
const any = (list) => list[Math.floor(Math.random() * list.length)];

let vid = Math.max(0, ...(await newest("doors.*")).map(({ data }) => data.vid));
let last = Promise.resolve();

/** Resolves with the entry when it is stored, however long the gateway is away. */
function report(doorno) {
  // Numbered when it happens; stored after whatever happened before.
  const entry = { vid: ++vid, doorno, rfsim: any(CARDS), optime: new Date().toISOString(), ynopen: Math.random() < 0.9 ? "Y" : "N" };
  last = last.then(() => publish(`doors.${doorno}`, entry));
  return last.then(() => entry);
}

async function simulate() {
  const [least, most] = PAUSE_S;
  for (;;) {
    await sleep(least + Math.random() * (most - least));
    await report(any(DOORS));
  }
}

serve({
  page: new URL(".", import.meta.url),
  routes: {
    "POST /doors/:doorno": async ({ doorno }) => {
      if (!DOORS.includes(+doorno)) return [404, { detail: `there is no door ${doorno}` }];
      return [201, await report(+doorno)];
    },
  },
});
simulate();

// The restaurant's backend: it alone changes a table, and publishes each new state of it to `tables.<id>`.
//
// It has no database: the newest event of each topic says all that it has to know when it starts again.

import { existsSync } from "node:fs";

import { newest, publish } from "../gateway.js";
import { serve } from "../serve.js";

const COUNT = 12;
const STATES = ["free", "ordered", "cooking", "ready", "served"];
const DISHES = ["Risotto", "Ramen", "Pad thai", "Gnocchi", "Dal", "Pho", "Paella", "Ratatouille", "Pierogi", "Chili"];
// Seconds between two changes; random, as guests are.
const PAUSE_S = (process.env.PAUSE_S ?? "1-4").split("-").map(Number);

const page = new URL("dist/", import.meta.url);
if (!existsSync(page)) throw new Error("there is no examples/react/dist; examples/run react builds it");

const any = (list) => list[Math.floor(Math.random() * list.length)];

const tables = new Map();
for (const { data } of await newest("tables.*")) tables.set(data.id, data);
for (let id = 1; id <= COUNT; id++) if (!tables.has(id)) await set({ id, state: "free" });

/** Publishes the whole state, so the newest event is enough for a page that comes late, or missed some. */
function set(table) {
  tables.set(table.id, table);
  return publish(`tables.${table.id}`, table);
}

/** Moves a table to its next state. */
async function next(id, from) {
  const table = tables.get(id);
  if (!table) return [404, { detail: `there is no table ${id}` }];
  // Two people may press the same button.
  if (from !== table.state) return [409, { detail: `Table ${id} is ${table.state} by now` }];
  const state = STATES[(STATES.indexOf(from) + 1) % STATES.length];
  const changed = { id, state, dish: state === "free" ? undefined : (table.dish ?? any(DISHES)) };
  // Answered when it is stored: what a page was told outlives this process.
  await set(changed);
  return [200, changed];
}

async function simulate() {
  const [least, most] = PAUSE_S;
  for (;;) {
    await new Promise((wake) => setTimeout(wake, 1000 * (least + Math.random() * (most - least))));
    const table = any([...tables.values()]);
    await next(table.id, table.state);
  }
}

serve({
  page,
  routes: {
    "GET /tables": () => [200, [...tables.values()].sort((a, b) => a.id - b.id)],
    "POST /tables/:id/next": ({ id }, { from }) => next(Number(id), from),
  },
});
simulate();

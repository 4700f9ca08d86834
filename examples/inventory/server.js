// The shop's backend: it alone changes the stock, and publishes each new value to `stock.<id>`.
//
// It has no database: the newest event of each topic says all that it has to know when it starts again.

import { newest, publish } from "../gateway.js";
import { serve } from "../serve.js";

const ITEMS = [
  ["lantern", "Lantern", 24], ["rope", "Rope, 20 m", 18], ["kettle", "Kettle", 12], ["compass", "Compass", 30],
  ["tent", "Tent for two", 8], ["stove", "Gas stove", 15], ["mug", "Enamel mug", 40], ["map", "Map of the pass", 25],
  ["boots", "Boots", 10], ["whistle", "Whistle", 50],
].map(([id, name, most]) => ({ id, name, most }));

const stock = new Map();
for (const { data } of await newest("stock.*")) stock.set(data.id, data.stock);
for (const { id, most } of ITEMS) if (!stock.has(id)) await set(id, most);

/** Publishes the value, not the difference: so the newest event is enough for a page that comes late, or missed some. */
function set(id, value) {
  stock.set(id, value);
  return publish(`stock.${id}`, { id, stock: value });
}

async function change(id, by) {
  const item = ITEMS.find((item) => item.id === id);
  if (!item) return [404, { detail: `there is no item ${id}` }];
  const value = stock.get(id) + by;
  if (value < 0) return [409, { detail: `${item.name}: sold out` }];
  if (value > item.most) return [409, { detail: `${item.name}: all are in the shop` }];
  // Answered when it is stored: what a customer was told outlives this process.
  await set(id, value);
  return [200, { id, stock: value }];
}

serve({
  page: new URL(".", import.meta.url),
  routes: {
    "GET /items": () => [200, ITEMS],
    "POST /items/:id/add": ({ id }) => change(id, -1),
    "POST /items/:id/remove": ({ id }) => change(id, +1),
  },
});

// Feeds of a real gateway.

import assert from "node:assert/strict";
import { test } from "node:test";

import { feed } from "../postern.js";
import { gateway, until } from "./gateway.js";
import { recorded, Shelf } from "./readers.js";
import { batch, stub } from "./stub.js";

const soon = { pause: [0.05, 0.2] };

for (const transport of ["sse", "long-poll", "short-poll"]) {
  test(`a feed begins with the newest and goes on: ${transport}`, async (t) => {
    const server = await gateway(t);
    await server.publish("jobs.1", 1, 2);
    await server.publish("other", 0);
    const { values, states } = recorded(t, feed(server.url, "jobs.#", { transport, interval: 0.1 }));
    await until(() => values.length === 1 && states.at(-1)?.state === "live");
    await server.publish("jobs.2", 3);
    await server.publish("jobs.1", 4);
    await until(() => values.length === 3);
    assert.deepEqual(values, [2, 3, 4]);
  });

  test(`a gateway that is killed and started again loses and repeats nothing: ${transport}`, async (t) => {
    const server = await gateway(t);
    const seen = recorded(t, feed(server.url, "jobs", { transport, interval: 0.1, lastSeen: "oldest", ...soon }));
    await until(() => seen.states.at(-1)?.state === "live");
    const expected = [];
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 20; n++) {
        expected.push(expected.length);
        await server.publish("jobs", expected.at(-1));
      }
      await server.kill();
      await until(() => seen.states.at(-1).state === "waiting");
      await server.start();
      await until(() => seen.states.at(-1).state === "live");
    }
    await until(() => seen.values.length >= expected.length);
    assert.deepEqual(seen.values, expected);
  });
}

test("the place is kept over a reload, also where nothing matched", async (t) => {
  const server = await gateway(t);
  const storage = new Shelf();
  await server.publish("jobs", 1);
  const before = recorded(t, feed(server.url, "jobs", { storage }));
  await until(() => storage.map.size === 1);
  before.reader.close();
  await server.publish("jobs", 2, 3);
  const after = recorded(t, feed(server.url, "jobs", { storage }));
  await until(() => after.values.length === 2);
  assert.deepEqual([before.values, after.values], [[1], [2, 3]]);
});

test("it can begin at the oldest, or now, and folded", async (t) => {
  const server = await gateway(t);
  await server.publish("jobs", 1, 2, 3);
  const oldest = recorded(t, feed(server.url, "jobs", { lastSeen: "oldest" }));
  const now = recorded(t, feed(server.url, "jobs", { lastSeen: "now" }));
  const folded = recorded(t, feed(server.url, "#", { lastSeen: "oldest", fold: "latest" }));
  await until(() => [oldest, now, folded].every(({ reader }) => reader.state === "live"));
  await until(() => oldest.values.length === 3 && folded.values.length === 1);
  await server.publish("jobs", 4);
  await until(() => [oldest, now, folded].every(({ values }) => values.at(-1) === 4));
  assert.deepEqual([oldest.values, now.values, folded.values], [[1, 2, 3, 4], [4], [3, 4]]);
});

test("a place of another log says reset", async (t) => {
  const server = await gateway(t);
  await server.publish("jobs", 1, 2);
  const seen = recorded(t, feed(server.url, "jobs", { lastSeen: "999999~00000000" }));
  await until(() => seen.values.length === 1);
  assert.deepEqual([seen.resets, seen.values], [1, [2]]);
});

test("readers of a feed ask for equal URLs, which a cache can share", async (t) => {
  // As a cache that keeps what it answered before: it holds nothing but the end of the chain.
  const next = { undefined: "1~1~00000001", "1~1~00000001": "1~1~00000001~7", "1~1~00000001~7": "1~1~00000001~8" };
  const server = await stub(t, (request, response) => {
    const place = next[request.query.last_seen];
    if (place) response.writeHead(204, { "Last-Seen": place }).end();
    else setTimeout(() => batch(response, "2~2~00000002", ["new"]), 100);
  });
  const options = { transport: "long-poll", interval: 60, locks: null, storage: null };
  const readers = [1, 2].map(() => recorded(t, feed(server.url, "jobs.#", options)));
  await until(() => readers.every(({ values }) => values.length === 1));
  // None has waited for `interval` before a place that it was sent to, and each URL is that of both.
  const urls = server.requests.map(({ url }) => url).slice(0, 8).sort();
  const query = (place) => `/topics/jobs.%23/events?last_seen=${place.replaceAll("~", "%7E")}&wait=25`;
  const places = ["1~1~00000001", "1~1~00000001~7", "1~1~00000001~8"];
  assert.deepEqual(urls, ["/topics/jobs.%23/events?wait=0", ...places.map(query)].flatMap((url) => [url, url]).sort());
});

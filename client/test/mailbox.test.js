// Mailboxes of a real gateway.

import assert from "node:assert/strict";
import { test } from "node:test";

import { mailbox } from "../postern.js";
import { gateway, until } from "./gateway.js";
import { recorded, Shelf } from "./readers.js";

const soon = { pause: [0.05, 0.2] };

for (const transport of ["long-poll", "sse", "short-poll"]) {
  const options = { transport, interval: 0.1, ...soon };

  test(`a loop gets every event once and in order: ${transport}`, async (t) => {
    const server = await gateway(t);
    const reader = mailbox(server.url, { client: "alice", topics: ["jobs.#", "builds.*"], ...options });
    t.after(() => reader.close());
    let publishing;
    reader.addEventListener("state", ({ detail }) => {
      if (detail.state !== "live") return;
      publishing ??= server.publish("jobs.1.status", 1, 2, 3).then(() => server.publish("builds.7", 4));
    });
    const values = [];
    for await (const event of reader) {
      values.push([event.topic, event.data]);
      if (values.length === 4) break;
    }
    await publishing;
    assert.deepEqual(values, [["jobs.1.status", 1], ["jobs.1.status", 2], ["jobs.1.status", 3], ["builds.7", 4]]);
    assert.equal(reader.state, "closed");
  });

  test(`a gateway that is killed and started again loses and repeats nothing: ${transport}`, async (t) => {
    const server = await gateway(t);
    const { values, states } = recorded(t, mailbox(server.url, { client: "alice", topics: ["jobs"], ...options }));
    await until(() => states.at(-1)?.state === "live");
    const expected = [];
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 20; n++) {
        expected.push(expected.length);
        await server.publish("jobs", expected.at(-1));
      }
      await server.kill();
      await until(() => states.at(-1).state === "waiting");
      assert.ok(states.at(-1).pause > 0);
      await server.start();
      await until(() => states.at(-1).state === "live");
    }
    await until(() => values.length >= expected.length);
    assert.deepEqual(values, expected);
  });
}

test("an event is confirmed when its handler is done, not before", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  const reader = mailbox(server.url, { client: "alice" });
  t.after(() => reader.close());
  let finish;
  reader.addEventListener("event", (notice) => notice.waitUntil(new Promise((done) => (finish = done))));
  await server.publish("jobs", 1);
  await until(() => finish);
  await new Promise((wake) => setTimeout(wake, 300));
  assert.equal((await server.look("alice")).unconfirmed, 1);
  finish();
  await until(async () => (await server.look("alice")).unconfirmed === 0);
});

test("what a loop was busy with when it ended comes again", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  await server.publish("jobs", 1, 2, 3);
  const storage = new Shelf();
  await assert.rejects(async () => {
    for await (const { data } of mailbox(server.url, { client: "alice", limit: 1, storage })) {
      if (data === 2) throw new Error("disk full");
    }
  }, /disk full/);
  const { values } = recorded(t, mailbox(server.url, { client: "alice", storage }));
  await until(() => values.length === 2);
  assert.deepEqual(values, [2, 3]);
});

test("a handler that fails gets its event again, and the others of its batch are not repeated", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  await server.publish("jobs", 1, 2, 3);
  const reader = mailbox(server.url, { client: "alice", ...soon });
  const { values, states } = recorded(t, reader);
  let failures = 2;
  reader.addEventListener("event", (notice) => {
    if (notice.detail.data === 2 && failures-- > 0) notice.waitUntil(Promise.reject(new Error("disk full")));
  });
  await until(() => values.length === 5);
  assert.deepEqual(values, [1, 2, 2, 2, 3]);
  assert.match(states.find(({ state }) => state === "waiting").message, /disk full/);
  await until(async () => (await server.look("alice")).unconfirmed === 0);
});

test("a second reader of the mailbox replaces the first, which stops", async (t) => {
  const server = await gateway(t);
  const first = recorded(t, mailbox(server.url, { client: "alice", topics: ["jobs"] }));
  await until(() => first.states.at(-1)?.state === "live");
  const replaced = new Promise((resolve) => first.reader.addEventListener("replaced", resolve));
  const second = recorded(t, mailbox(server.url, { client: "alice" }));
  const { detail } = await replaced;
  assert.deepEqual([detail.state, detail.status, first.reader.state], ["replaced", 409, "replaced"]);
  await server.publish("jobs", 1);
  await until(() => second.values.length === 1);
  assert.deepEqual([first.values, second.reader.state], [[], "live"]);
});

test("a loop throws when it is replaced", async (t) => {
  const server = await gateway(t);
  const reader = mailbox(server.url, { client: "alice", topics: ["jobs"] });
  reader.addEventListener("state", ({ detail }) => {
    if (detail.state === "live") recorded(t, mailbox(server.url, { client: "alice" }));
  });
  const loop = async () => {
    for await (const event of reader) assert.fail(event);
  };
  await assert.rejects(loop, { state: "replaced", status: 409, message: /newer poll/ });
});

test("a signal ends a loop, and the mailbox is free at once", async (t) => {
  const server = await gateway(t);
  const abort = new AbortController();
  const reader = mailbox(server.url, { client: "alice", topics: ["jobs"], signal: abort.signal });
  reader.addEventListener("state", ({ detail }) => detail.state === "live" && setTimeout(() => abort.abort(), 100));
  for await (const event of reader) assert.fail(event);
  assert.equal(reader.state, "closed");
  await until(async () => (await server.look("alice")).connected === false, 5);
  for await (const event of mailbox(server.url, { client: "alice", signal: AbortSignal.abort() })) assert.fail(event);
});

test("the place is kept, so that nothing seen comes again after a reload", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  await server.publish("jobs", 1, 2);
  const storage = new Shelf();
  const before = recorded(t, mailbox(server.url, { client: "alice", storage }));
  await until(() => storage.map.size === 1);
  // The answer with 1 and 2 may still be unconfirmed; the place tells.
  before.reader.close();
  await server.publish("jobs", 3);
  const after = recorded(t, mailbox(server.url, { client: "alice", storage }));
  await until(() => after.values.length > 0);
  assert.deepEqual([...before.values, ...after.values], [1, 2, 3]);
  const [key] = storage.map.keys();
  assert.equal(key, `postern ${server.url}/clients/alice/events`);
});

test("a mailbox that was deleted says reset and goes on", async (t) => {
  const server = await gateway(t);
  const seen = recorded(t, mailbox(server.url, { client: "alice", topics: ["jobs"], ...soon }));
  await until(() => seen.states.at(-1)?.state === "live");
  await server.publish("jobs", 1);
  await until(async () => seen.values.length === 1 && (await server.look("alice")).unconfirmed === 0);
  await fetch(`${server.url}/clients/alice`, { method: "DELETE" });
  await until(() => seen.resets === 1);
  await server.publish("jobs", 2);
  await until(() => seen.values.length === 2);
});

test("what can never succeed is refused", async (t) => {
  const server = await gateway(t);
  const absent = recorded(t, mailbox(server.url, { client: "absent" }));
  await until(() => absent.reader.state === "refused");
  assert.equal(absent.states.at(-1).status, 404);
  assert.match(absent.states.at(-1).message, /name topics/);
  const wrong = recorded(t, mailbox(server.url, { client: "alice", topics: ["#.a.#.b.#"] }));
  await until(() => wrong.reader.state === "refused");
  assert.equal(wrong.states.at(-1).status, 400);
});

test("nothing is read until there is a listener", async (t) => {
  const server = await gateway(t);
  await server.bind("alice", "jobs");
  await server.publish("jobs", 1);
  const reader = mailbox(server.url, { client: "alice" });
  reader.addEventListener("state", () => {});
  await new Promise((wake) => setTimeout(wake, 300));
  assert.equal((await server.look("alice")).connected, false);
  const { values } = recorded(t, reader);
  await until(() => values.length === 1);
});

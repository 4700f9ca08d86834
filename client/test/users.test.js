// Users of one browser: what a page reads for one of them, no page reads for another. In frames, which have a client and a lock
// manager each, as tabs have.

import assert from "node:assert/strict";
import { test } from "node:test";

import { page } from "./browser.js";
import { gateway } from "./gateway.js";
import { forward, refuse, tokenOf } from "./guard.js";

/**
 * Runs a script in a page of a gateway that gives each user a topic `news` of their own. The script has `open(name, options)`, which
 * opens a tab that reads `news`, `publish(user, value)`, and `seen`: by the name of a tab what it got.
 */
async function run(t, script) {
  const server = await gateway(t);
  const requests = [];
  const answer = (request, response) => {
    if (request.method === "POST") return forward(server.url, request, response);
    request.user = tokenOf(request);
    if (!request.user) return refuse(response, 401);
    // The rights of a token, in little: the same address is another topic for each user.
    request.url = request.url.replace("/news/", `/news-${request.user}/`);
    forward(server.url, request, response);
  };
  const found = await page(t, START + script, answer, requests);
  const streams = requests.filter(({ isStream }) => isStream).map(({ user }) => user);
  return { ...found, requests: requests.filter(({ user }) => user), streams: streams.sort() };
}

const START = `
  const seen = {};
  const tabs = {};
  window.frame = async ({ feed, name }) => {
    seen[name] = [];
    tabs[name] = feed("/", "news", optionsOf[name]);
    tabs[name].addEventListener("event", ({ detail }) => seen[name].push(detail.data));
  };
  const optionsOf = {};
  const open = async (name, options) => {
    const tab = document.createElement("iframe");
    Object.assign(tab, { src: "/frame", name });
    optionsOf[name] = { lastSeen: "oldest", ...options };
    document.body.append(tab);
    await until(() => tabs[name]?.state === "live");
  };
  const publish = async (user, value) => {
    const headers = { "content-type": "application/json" };
    const { status } = await fetch("/topics/news-" + user + "/events", { method: "POST", headers, body: JSON.stringify(value) });
    if (status !== 202) throw new Error(String(status));
  };
  const has = (name, count) => until(() => seen[name].length >= count);
  const locks = async () => {
    const { held, pending } = await navigator.locks.query();
    return [held.length, pending.length];
  };
  const bearer = (user) => ({ authorization: "Bearer " + user });
`;

for (const [how, options] of [
  ["headers", `(user) => ({ user, headers: () => bearer(user) })`],
  ["what the browser adds", `(user) => ({ user, fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...bearer(user) } }) })`],
]) {
  test(`tabs of a user share a connection and a place, and tabs of two users neither; they differ by ${how}`, async (t) => {
    const found = await run(t, `
      const options = ${options};
      for (const [n, user] of ["alice", "bob", "alice", "bob"].entries()) await open(user + " " + n, options(user));
      for (let n = 0; n < 5; n++) for (const user of ["alice", "bob"]) await publish(user, "for " + user);
      for (const name in tabs) await has(name, 5);
      const kept = () => Object.keys(localStorage).map((key) => key.split(" ")[2]).sort();
      await until(() => kept().length === 2);
      return { seen, locks: await locks(), kept: kept() };
    `);
    for (const [name, values] of Object.entries(found.seen)) {
      assert.deepEqual(values, Array(5).fill(`for ${name.split(" ")[0]}`), name);
    }
    assert.deepEqual(found.streams, ["alice", "bob"]);
    assert.deepEqual(found.locks, [2, 2]);
    assert.deepEqual(found.kept, ["alice", "bob"]);
  });
}

test("tabs with headers and without a user share nothing and keep nothing", async (t) => {
  const found = await run(t, `
    for (const name of ["alice 0", "bob 1", "alice 2"]) await open(name, { headers: bearer(name.split(" ")[0]) });
    for (const user of ["alice", "bob"]) await publish(user, "for " + user);
    for (const name in tabs) await has(name, 1);
    // Their channel would bring what a tab hands on.
    await rest(200);
    return { seen, locks: await locks(), stored: Object.keys(localStorage) };
  `);
  for (const [name, values] of Object.entries(found.seen)) assert.deepEqual(values, [`for ${name.split(" ")[0]}`], name);
  assert.deepEqual([found.streams, found.locks, found.stored], [["alice", "alice", "bob"], [0, 0], []]);
});

test("a tab that gets another user begins at that user's own place, and so does the first when it comes back", async (t) => {
  const found = await run(t, `
    const options = (user) => ({ user, headers: () => bearer(user) });
    const read = async (n, user, count) => {
      await open(user + " " + n, options(user));
      await has(user + " " + n, count);
      await rest(100);
      tabs[user + " " + n].close();
    };
    for (const n of [1, 2]) for (const user of ["alice", "bob"]) await publish(user, user + n);
    await read(0, "alice", 2);
    await read(1, "bob", 2);
    await publish("alice", "alice3");
    await publish("bob", "bob3");
    await read(2, "alice", 1);
    await read(3, "bob", 1);
    return { seen };
  `);
  assert.deepEqual(found.seen, {
    "alice 0": ["alice1", "alice2"], "bob 1": ["bob1", "bob2"], "alice 2": ["alice3"], "bob 3": ["bob3"],
  });
  // The tabs read one after the other, each for another user than the one before it.
  const firsts = found.requests.filter(({ user }, n, all) => user !== all[n - 1]?.user);
  assert.deepEqual(firsts.map(({ query }) => query.last_seen === "oldest"), [true, true, false, false]);
});

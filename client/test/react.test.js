// The React hooks, in Chromium, by React's development build, on a real gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { createElement } from "react";
import { renderToString } from "react-dom/server";

import { useFeed, useMailbox } from "../react.js";
import { page } from "./browser.js";
import { gateway, until } from "./gateway.js";
import { forward } from "./guard.js";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** What a page has of a version of React, and the hooks. */
async function bundle(alias) {
  const contents = `
    export { createElement, StrictMode, useEffect, useState, version } from "react";
    export { flushSync } from "react-dom";
    export { createRoot } from "react-dom/client";
    export { useFeed, useMailbox } from "../react.js";`;
  const define = { "process.env.NODE_ENV": '"development"' };
  const stdin = { contents, resolveDir: folder };
  const { outputFiles } = await build({ stdin, bundle: true, format: "esm", write: false, define, alias, logLevel: "error" });
  return outputFiles[0].contents;
}
const VERSIONS = {
  "React 18": bundle({ react: "react-18", "react-dom": "react-dom-18" }),
  "React 19": bundle({}),
};

/** What each script begins with: a component that reads, and what it saw. */
const START = `
  const { createElement, flushSync, createRoot, StrictMode, useEffect, useFeed, useMailbox, version } = await import("/react.js");
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);
  const headers = { "content-type": "application/json" };
  const publish = async (topic, ...values) => {
    for (const value of values) {
      const answer = await fetch("/topics/" + topic + "/events", { method: "POST", headers, body: JSON.stringify(value) });
      if (answer.status !== 202) throw new Error(await answer.text());
    }
  };
  const seen = { values: [], states: [], mounts: 0 };
  const keep = ({ data }) => seen.values.push(data);
  const Reading = ({ use }) => {
    const connection = use();
    seen.connection = connection;
    if (seen.states.at(-1) !== connection.state) seen.states.push(connection.state);
    useEffect(() => void seen.mounts++, []);
    return connection.state;
  };
  // Renders it anew, and waits for its effects.
  const render = (use, wrap = (element) => element) => flushSync(() => root.render(wrap(createElement(Reading, { use }))));
  const is = (state) => until(() => place.textContent === state);
  const has = (count) => until(() => seen.values.length >= count);
`;

/** Runs a script in a page that is served by the same server as the gateway; returns its result, and what it asked for. */
async function run(t, server, version, script) {
  const code = await VERSIONS[version];
  const requests = [];
  const answer = (request, response) => {
    if (request.url === "/react.js") return response.setHeader("Content-Type", "text/javascript").end(code);
    forward(server.url, request, response);
  };
  const found = await page(t, START + script, answer, requests);
  const paths = requests.filter(({ method }) => method === "GET").map(({ url }) => url.split("?")[0]);
  return { ...found, requests, read: (path) => paths.filter((other) => other === path).length };
}

for (const version of Object.keys(VERSIONS)) {
  test(`${version}: a component that StrictMode mounts twice reads once`, async (t) => {
    const server = await gateway(t);
    const found = await run(t, server, version, `
      const strict = (element) => createElement(StrictMode, null, element);
      render(() => useFeed("/", "jobs", { onEvent: keep, storage: null, lastSeen: "now" }), strict);
      await is("live");
      await publish("jobs", 1, 2, 3);
      await has(3);
      await rest(200);
      const { held, pending } = await navigator.locks.query();
      return { ...seen, version, locks: [held.length, pending.length] };
    `);
    assert.equal(`React ${parseInt(found.version)}`, version);
    assert.equal(found.mounts, 2, "this is StrictMode, in development");
    assert.deepEqual(found.values, [1, 2, 3]);
    assert.deepEqual(found.states, ["connecting", "live"]);
    assert.deepEqual(found.locks, [1, 0]);
    assert.equal(found.read("/topics/jobs/events"), 1);
  });

  test(`${version}: options that are written inline restart nothing, and the newest are used`, async (t) => {
    const server = await gateway(t);
    const found = await run(t, server, version, `
      const shelf = new Map();
      const use = (n) => () => useMailbox(new URL("/", location), {
        client: "alice",
        topics: new Set(["jobs", "builds.*"]),
        pause: [0.1, 1],
        headers: { "x-render": String(n) },
        fetch: (...request) => ((seen.fetched = n), fetch(...request)),
        storage: { getItem: (key) => shelf.get(key) ?? null, setItem: (key, value) => shelf.set(key, value) },
        lastSeen: n ? "some~place" + n : null,
        signal: new AbortController().signal,
        onEvent: ({ data }) => seen.values.push([n, data]),
        onReset: () => {},
      });
      render(use(0));
      await is("live");
      const { restart } = seen.connection;
      for (let n = 1; n <= 20; n++) {
        render(use(n));
        await rest(10);
      }
      await publish("jobs", "first");
      await has(1);
      await publish("jobs", "second");
      await has(2);
      return { ...seen, isSame: restart === seen.connection.restart };
    `);
    const polls = found.requests.filter(({ url }) => url.startsWith("/clients/alice/events"));
    // The first is not held, and each event answers one that is.
    assert.equal(polls.length <= 4, true, `${polls.map(({ url }) => url)}`);
    const instances = new Set(polls.map(({ query }) => query.poll.split(".")[0]));
    assert.equal(instances.size, 1, "one reader");
    assert.deepEqual(found.states, ["connecting", "live"]);
    assert.deepEqual(found.values, [[20, "first"], [20, "second"]]);
    assert.deepEqual([polls.at(-1).headers["x-render"], found.fetched], ["20", 20]);
    assert.ok(found.isSame);
  });

  test(`${version}: a component that is unmounted leaves no reader`, async (t) => {
    // What is not confirmed is queued again when the gateway waits no longer for the next poll.
    const server = await gateway(t, "--linger", "1s");
    const found = await run(t, server, version, `
      const both = () => {
        useFeed("/", "jobs", { onEvent: keep, storage: null, lastSeen: "now" });
        const onEvent = (event) => (keep(event), event.data === "slow" && new Promise(() => {}));
        return useMailbox("/", { client: "alice", topics: "jobs", onEvent });
      };
      render(both);
      await is("live");
      const held = async () => Number(/^postern_polls_held (\\d+)/m.exec(await (await fetch("/metrics")).text())[1]);
      await until(async () => (await held()) === 2);
      await publish("jobs", 1);
      await has(2);
      const status = async () => (await fetch("/clients/alice")).json();
      await until(async () => (await status()).queued + (await status()).unconfirmed === 0);
      await publish("jobs", "slow");
      await has(4);
      root.unmount();
      await until(async () => (await held()) === 0 && (await navigator.locks.query()).held.length === 0);
      await publish("jobs", "later");
      await rest(200);
      return seen;
    `);
    assert.deepEqual(found.values, [1, 1, "slow", "slow"]);
    // What was not handled, and what came later.
    await until(async () => (await server.look("alice")).queued === 2);
  });
}

test("components that read the same share one stream", async (t) => {
  const server = await gateway(t);
  const found = await run(t, server, "React 19", `
    const both = () => {
      const follow = () => useFeed("/", "jobs", { onEvent: keep, storage: null, lastSeen: "now" }).state;
      return { state: [follow(), follow()].join() };
    };
    render(both);
    await is("live,live");
    await publish("jobs", 1, 2);
    await has(4);
    return seen;
  `);
  assert.deepEqual(found.values, [1, 1, 2, 2]);
  assert.equal(found.requests.filter(({ isStream }) => isStream).length, 1);
});

test("components with headers share a stream if they name a user, and the same user", async (t) => {
  const server = await gateway(t);
  const found = await run(t, server, "React 19", `
    const follow = (user) => useFeed("/", "jobs", { user, headers: { "x-user": "a" }, onEvent: keep, lastSeen: "now" }).state;
    const use = (...users) => () => ({ state: users.map(follow).join() });
    const locks = async () => (await navigator.locks.query()).held.map(({ name }) => name.split(" ").slice(2).join(" "));
    const locked = [];
    for (const users of [["alice", "alice", "bob b"], [undefined, undefined, undefined]]) {
      render(use(...users));
      await is("live,live,live");
      const names = users[0] ? "alice,bob b" : "";
      await until(async () => (await locks()).sort().join() === names);
      const before = seen.values.length;
      await publish("jobs", users[0] ?? "each alone");
      await has(before + 3);
    }
    return { ...seen, stored: Object.keys(localStorage).map((key) => key.split(" ").slice(2).join(" ")).sort() };
  `);
  assert.deepEqual(found.values, [...Array(3).fill("alice"), ...Array(3).fill("each alone")]);
  assert.deepEqual(found.stored, ["alice", "bob b"]);
  assert.equal(found.requests.filter(({ isStream }) => isStream).length, 2 + 3);
});

test("a reader that gets its first headers is made anew, and one whose headers change is not", async (t) => {
  const server = await gateway(t);
  const found = await run(t, server, "React 19", `
    const use = (headers) => () => useFeed("/", "jobs", { headers, onEvent: keep, storage: null, lastSeen: "now" });
    for (const [n, headers] of [undefined, { "x-n": "1" }, () => ({ "x-n": "2" })].entries()) {
      render(use(headers));
      await is("live");
      await publish("jobs", n);
      await has(n + 1);
    }
    return seen;
  `);
  const streams = found.requests.filter(({ isStream }) => isStream);
  assert.deepEqual(streams.map(({ headers }) => headers["x-n"]), [undefined, "1"]);
});

test("another topic, or none, is another reader, or none", async (t) => {
  const server = await gateway(t);
  const found = await run(t, server, "React 19", `
    const use = (topic) => () => useFeed("/", topic, { onEvent: keep, storage: null, lastSeen: "now" });
    const ended = () => useFeed("/", "a", { onEvent: keep, signal: AbortSignal.abort() });
    const streams = async () => (await navigator.locks.query()).held.map(({ name }) => new URL(name.split(" ")[1]).pathname);
    render(use(undefined));
    await rest(100);
    const began = await streams();
    for (const topic of ["a", "b", null, "b"]) {
      render(use(topic));
      await is(topic ? "live" : "closed");
      await until(async () => (await streams()).join() === (topic ? "/topics/" + topic + "/events" : ""));
      const before = seen.values.length;
      await publish("a", "of a");
      await publish("b", "of b");
      if (topic) await has(before + 1);
    }
    render(ended);
    await is("closed");
    await rest(200);
    return { ...seen, began, left: await streams() };
  `);
  assert.deepEqual([found.began, found.left], [[], []]);
  assert.deepEqual(found.values, ["of a", "of b", "of b"]);
  const begins = ["connecting", "live"];
  assert.deepEqual(found.states, ["closed", ...begins, ...begins, "closed", ...begins, "connecting", "closed"]);
});

test("an event is confirmed when its handler is done, and comes again when that fails", async (t) => {
  const server = await gateway(t);
  const running = run(t, server, "React 19", `
    const reported = [];
    window.addEventListener("error", ({ message }) => reported.push(message));
    const onEvent = async ({ data }) => {
      seen.values.push(data);
      if (data === "slow") await until(async () => (await fetch("/clients/done")).ok);
      if (data === "bad" && seen.values.length === 2) throw new Error("not now");
    };
    render(() => useMailbox("/", { client: "alice", topics: ["jobs"], pause: [0.2, 0.2], onEvent }));
    await is("live");
    await publish("jobs", "slow", "bad");
    await has(2);
    await is("waiting");
    const { message } = seen.connection;
    await has(3);
    await is("live");
    return { ...seen, message, reported };
  `);
  // Both may have come at once.
  await until(async () => (await server.look("alice"))?.unconfirmed > 0);
  await server.bind("done", "none");
  const found = await running;
  assert.deepEqual(found.values, ["slow", "bad", "bad"]);
  assert.equal(found.message, "a handler failed: Error: not now");
  assert.deepEqual(found.reported, ["Uncaught Error: not now"]);
  await until(async () => (await server.look("alice")).queued + (await server.look("alice")).unconfirmed === 0);
});

test("a reader that was replaced begins again when it is told to", async (t) => {
  const server = await gateway(t);
  const found = await run(t, server, "React 19", `
    render(() => useMailbox("/", { client: "alice", topics: ["jobs"], onEvent: keep }));
    await is("live");
    await fetch("/clients/alice/events?wait=0");
    await is("replaced");
    const { status } = seen.connection;
    seen.connection.restart();
    await is("live");
    await publish("jobs", 1);
    await has(1);
    return { ...seen, status };
  `);
  assert.deepEqual([found.values, found.states, found.status], [[1], ["connecting", "live", "replaced", "connecting", "live"], 409]);
});

test("events wait until a reset is handled", async (t) => {
  const server = await gateway(t);
  await server.publish("jobs", 1);
  const found = await run(t, server, "React 19", `
    const onReset = async () => {
      seen.values.push("reset");
      await rest(100);
      seen.values.push("loaded");
    };
    // A place in another log.
    render(() => useFeed("/", "jobs", { onEvent: keep, onReset, storage: null, lastSeen: "7~deadbeef" }));
    await has(3);
    return seen;
  `);
  assert.deepEqual(found.values, ["reset", "loaded", 1]);
});

test("a server renders that nothing is known yet, and wrong arguments are refused", () => {
  const rendered = (use) => renderToString(createElement(() => use().state));
  const onEvent = () => {};
  assert.equal(rendered(() => useFeed("/", "jobs", { onEvent })), "connecting");
  assert.equal(rendered(() => useMailbox("/", { client: undefined, onEvent })), "closed");
  assert.throws(() => rendered(() => useFeed("/", "jobs")), /postern: onEvent must be a function/);
  assert.throws(() => rendered(() => useMailbox("/", { client: "alice" })), /postern: onEvent must be a function/);
});

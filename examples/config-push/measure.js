// Prints the figures of the README: this design, and the one that it replaces in miniature, side by side on the same changes.
//
// The old one: each second a timer looks at the file's time of change; if it is another, the file is read as it is and all
// held polls are answered with it. Each poll adds a listener, which is never removed.

import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import http from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";

import { GATEWAY } from "../gateway.js";

const CHANGES = 20;
const SLOW_WRITES = 30;
const SLOW_MS = 250;
const CHUNKS = 10;
const LOOK_MS = 1000;
const TOPIC = `config.measured-${Math.random().toString(36).slice(2)}`;
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

const content = (n) => `${n} ${"0123456789".repeat(500)} end`;
const isWhole = (text) => text === content(Number.parseInt(text));

/** The old design, as a server that `poll` asks. */
async function before(file) {
  const emitter = new EventEmitter().setMaxListeners(0);
  let known = (await stat(file)).mtimeMs;
  const timer = setInterval(async () => {
    const { mtimeMs } = await stat(file);
    if (mtimeMs === known) return;
    known = mtimeMs;
    emitter.emit("change", await readFile(file, "utf8"));
  }, LOOK_MS);
  const server = http.createServer((_, response) => {
    emitter.on("change", (text) => response.writableEnded || response.end(text));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}/`;
  return {
    poll: async (signal) => (await fetch(url, { signal })).text(),
    left: () => emitter.listenerCount("change"),
    end() {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
    },
  };
}

/** This design, by plain long-polls. */
async function now(file) {
  const watcher = spawn("publisher", ["watch", file, TOPIC, "--gateway", GATEWAY, "--quiet"], { stdio: ["ignore", "ignore", "inherit"] });
  // However this process ends, that one must not stay.
  process.on("exit", () => watcher.kill());
  process.on("SIGTERM", () => process.exit(1));
  const events = `${GATEWAY}/topics/${TOPIC}/events`;
  let etag = "";
  const poll = async (signal) => {
    const answer = await fetch(`${events}?wait=25`, { signal, cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
    etag = answer.headers.get("ETag") ?? etag;
    return answer.status === 200 ? (await answer.json()).events.at(-1).data : undefined;
  };
  while (!(await poll(AbortSignal.timeout(30_000)))) await sleep(50);
  return {
    poll,
    async left() {
      const metrics = await (await fetch(`${GATEWAY}/metrics`)).text();
      return Number(/^postern_polls_held (\d+)/m.exec(metrics)[1]);
    },
    /** Sends the poll of a client that has the current version, and counts the bytes of the answer. */
    async unchanged() {
      const { hostname, port } = new URL(GATEWAY);
      const socket = connect(port, hostname);
      socket.write(`GET /topics/${TOPIC}/events?wait=0 HTTP/1.1\r\nhost: ${hostname}\r\nif-none-match: ${etag}\r\nconnection: close\r\n\r\n`);
      let text = "";
      for await (const part of socket.setEncoding("latin1")) text += part;
      const head = text.indexOf("\r\n\r\n") + 4;
      return { status: text.slice(9, 12), head, body: text.length - head };
    },
    async end() {
      watcher.kill();
      await once(watcher, "exit");
    },
  };
}

/** Polls until it is told to end; notes each answer and when it came. */
function follow({ poll }) {
  const end = new AbortController();
  const came = [];
  const polls = (async () => {
    while (!end.signal.aborted) {
      const text = await poll(end.signal).catch(() => {});
      if (text !== undefined) came.push({ text, at: performance.now() });
    }
  })();
  return { came, end: () => (end.abort(), polls) };
}

async function writeSlowly(file, text) {
  const handle = await open(file, "w");
  for (let at = 0; at < text.length; at += text.length / CHUNKS) {
    await handle.write(text.slice(at, at + text.length / CHUNKS));
    await sleep(SLOW_MS / CHUNKS);
  }
  await handle.close();
}

async function measure() {
  const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
  const home = await mkdtemp(`${tmpdir()}/postern-measure-`);
  const file = `${home}/app.conf`;
  await writeFile(file, content(0));
  const designs = [await before(file), await now(file)];
  const readers = designs.map(follow);
  await sleep(500);

  const changedAt = new Map();
  for (let n = 1; n <= CHANGES; n++) {
    await sleep(700 + 1000 * Math.random());
    await writeFile(`${file}.new`, content(n));
    changedAt.set(content(n), performance.now());
    await rename(`${file}.new`, file);
  }
  await sleep(2000);
  const stale = readers.map(({ came }) => {
    const times = came.filter(({ text }) => changedAt.has(text)).map(({ text, at }) => at - changedAt.get(text));
    return times.sort((a, b) => a - b);
  });
  const counts = readers.map(({ came }) => came.length);

  for (let n = CHANGES + 1; n <= CHANGES + SLOW_WRITES; n++) {
    await writeSlowly(file, content(n));
    // Longer than both designs need to see it, so each has its chance at each content.
    await sleep(LOOK_MS + 200 + 500 * Math.random());
  }
  const slow = readers.map(({ came }, n) => came.slice(counts[n]));
  const answers = readers.map(({ came }) => came.length);
  const { status, head, body } = await designs[1].unchanged();
  for (const reader of readers) await reader.end();
  await sleep(500);
  const left = await Promise.all(designs.map(({ left }) => left()));

  row(`${CHANGES} changes by rename, ${SLOW_WRITES} slow writes (${SLOW_MS} ms)`, "before", "now");
  row("---", "---", "---");
  row("a change is there after (median)", ...stale.map((times) => `${times[Math.floor(times.length / 2)].toFixed(0)} ms`));
  row("at most", ...stale.map((times) => `${times.at(-1).toFixed(0)} ms`));
  row("slow writes of which a half was sent", ...slow.map((came) => {
    const halves = came.filter(({ text }) => !isWhole(text)).length;
    return halves ? `${((100 * halves) / SLOW_WRITES).toFixed(0)} %` : "0";
  }));
  row(`kept on the server after ${Math.min(...answers)} answers, when no client polls`, ...left);
  row("asked by a client that has the current version", "held until a change", `${status}, ${body} bytes of body, ${head} of head`);
  await designs.at(-1).end();
  designs[0].end();
  await rm(home, { recursive: true });
  process.exit(); // connections that are kept alive would hold it up
}

await measure();

// What a backend needs of the gateway: to publish, and to read the newest events. Plain HTTP.

import { randomUUID } from "node:crypto";

/** The URL of the gateway. */
export const GATEWAY = process.env.GATEWAY || "http://127.0.0.1:8080";
// The gateway itself waits 10 s for the broker's confirm.
const PATIENCE_MS = 15_000;
const LONGEST_PAUSE_MS = 2000;
const LIMIT = 500;
// How often a full mailbox may reject one event.
const MAX_REJECTIONS = 5;

/** What every request to the gateway says of itself, such as a token; asked for each. */
export const credentials = { headers: () => ({}) };

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const last = new Map();

/**
 * Publishes a JSON value; resolves with the event's id when the broker has stored it, however long that takes. What is
 * published to one topic goes one after the other, so that a retry overtakes nothing.
 */
export function publish(topic, value) {
  const body = JSON.stringify(value); // as it is now, however long it has to wait
  const stored = (last.get(topic) ?? Promise.resolve()).then(() => store(topic, body));
  const over = stored.catch(() => {}).then(() => last.get(topic) === over && last.delete(topic));
  last.set(topic, over);
  return stored;
}

async function store(topic, body) {
  // One id for all attempts: if an answer was lost, the next attempt is the same event, and readers show it once.
  const id = randomUUID();
  for (let attempts = 0, rejections = 0; ; attempts++) {
    if (attempts) await sleep(Math.min(100 * 2 ** attempts, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2));
    const headers = { "content-type": "application/json", "event-id": id, "postern-resent": `${attempts > 0}`, ...credentials.headers() };
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(`${GATEWAY}/topics/${topic}/events`, { method: "POST", headers, body, signal }).catch(() => {});
    if (answer?.status === 202) return id;
    const { detail } = (await answer?.json().catch(() => {})) ?? {};
    // 507: a mailbox is full, and each further attempt leaves a repeat in all the others.
    const isRefused = answer?.status === 507 ? ++rejections === MAX_REJECTIONS : answer?.status < 500 && answer.status !== 429;
    if (isRefused) throw new Error(`not published to ${topic}: ${detail}`);
    if (attempts === 3) console.error(`still publishing to ${topic}: ${detail ?? "the gateway cannot be reached"}`);
  }
}

/** Resolves with the newest event of each topic that a pattern matches: what a backend needs to begin where it ended. */
export async function newest(pattern) {
  const found = new Map();
  for (let lastSeen = ""; ; ) {
    const query = new URLSearchParams({ wait: 0, limit: LIMIT, fold: "latest", last_seen: lastSeen });
    const url = `${GATEWAY}/topics/${encodeURIComponent(pattern)}/events?${query}`;
    const answer = await fetch(url, { headers: credentials.headers() }).catch(() => {});
    if (!answer || answer.status >= 500) {
      await sleep(500);
      continue;
    }
    if (!answer.ok) throw new Error(`${url}: ${await answer.text()}`);
    const { events = [], last_seen } = answer.status === 204 ? {} : await answer.json();
    for (const event of events) found.set(event.topic, event);
    if (events.length < LIMIT) return [...found.values()];
    lastSeen = last_seen;
  }
}

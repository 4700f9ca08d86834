// Never runs: `tsc` shows that the declarations allow what they should, and nothing else.

import { feed, mailbox, type EventNotice, type FeedOptions, type Reader, type ReaderError, type State } from "postern-client";
import { useFeed, useMailbox, type Connection } from "postern-client/react";

interface Job {
  state: "running" | "passed" | "failed";
}

export async function loops(signal: AbortSignal) {
  for await (const event of mailbox<Job>("/", { client: "alice", topics: ["jobs.#"], signal })) {
    // @ts-expect-error: a payload that is no JSON and no text gives no data
    console.log(event.data.state);
    if (event.data_base64 !== undefined) {
      const bytes: string = event.data_base64;
      console.log(bytes, event.content_type.length);
      continue;
    }
    const state: "running" | "passed" | "failed" = event.data.state;
    const repeated: true | undefined = event.redelivered;
    console.log(event.id, event.topic, new Date(event.time), event.content_type?.length, state, repeated);
  }
  try {
    for await (const { data } of feed("https://push.example/prefix", "jobs.*", { fold: "latest", lastSeen: "oldest" })) {
      // @ts-expect-error: what is not described is unknown
      console.log(data.state);
    }
  } catch (error) {
    const { state, status } = error as ReaderError;
    console.log(state === "denied", status);
  }
}

export function listeners() {
  const reader: Reader<Job> = mailbox<Job>("/", { client: "alice", topics: new Set(["jobs.#"]) });
  reader.addEventListener("event", (notice) => notice.waitUntil(save(notice.detail.data)));
  reader.addEventListener("event", async ({ detail }) => console.log(detail.data?.state), { once: true });
  const shown = (notice: EventNotice<Job>) => console.log(notice.detail.data?.state);
  reader.addEventListener("event", shown);
  reader.removeEventListener("event", shown);
  const object = { handleEvent: ({ detail }: EventNotice<Job>) => console.log(detail.topic) };
  reader.addEventListener("event", object, { signal: AbortSignal.timeout(1000) });
  reader.removeEventListener("event", object, true);
  reader.addEventListener("event", null);
  // @ts-expect-error: there is no such notice
  reader.addEventListener("evnt", () => {});
  // @ts-expect-error: nor can it be removed
  reader.removeEventListener("message", () => {});
  // @ts-expect-error: a listener for events is none for states
  reader.removeEventListener("state", shown);
  // A reader is passed to what takes any target of events.
  const target: EventTarget = reader;
  target.dispatchEvent(new Event("state"));
  reader.addEventListener("reset", (notice) => notice.waitUntil(Promise.resolve()));
  reader.addEventListener("state", ({ detail: { state, status, message, pause } }) => console.log(state, status, message, pause));
  reader.addEventListener("replaced", ({ detail }) => console.log(detail.message));
  reader.addEventListener("denied", ({ detail }) => console.log(detail.status?.toFixed()));
  // @ts-expect-error: a state waits for nothing
  reader.addEventListener("state", (notice) => notice.waitUntil(Promise.resolve()));
  // @ts-expect-error: only the reader says what state it is in
  reader.state = "live";
  const state: State = reader.state;
  reader.close();
  return state;
}

async function save(job: Job | undefined) {
  console.log(job?.state);
}

export const options = [
  mailbox("/", { client: "alice", locks: navigator.locks, storage: sessionStorage, transport: "sse", limit: 10 }),
  mailbox("/", { client: "alice", locks: null, storage: null, pause: [1, 60], wait: 50, silence: 30, interval: 10, patience: 1 }),
  feed("/", "jobs", { headers: async () => ({ authorization: "Bearer …" }), fetch: (url, init) => fetch(url, init) }),
  feed("/", "jobs", { headers: { authorization: "Bearer …", traceparent: undefined } }),
  feed("/", "jobs", { headers: new Headers(), signal: null, lastSeen: localStorage.getItem("place") }),
  feed("/", "jobs", { headers: () => undefined }),
  feed("/", "jobs", { user: "alice", headers: (denied) => ({ authorization: denied === 401 ? "Bearer …" : undefined }) }),
  feed(new URL("https://push.example"), "jobs", { silence: Infinity, pause: [1, Infinity] as const }),
  mailbox("/", { client: "alice", topics: "jobs.#" }),
  mailbox("/", { client: "alice", topics: undefined, wait: undefined, signal: undefined, headers: undefined, pause: undefined }),
  // @ts-expect-error: the client must be known
  mailbox("/", { client: undefined }),
  // @ts-expect-error: nor can it be null
  mailbox("/", { client: null, topics: ["jobs.#"] }),
  // @ts-expect-error: a feed has one pattern
  feed("/", ["a", "b"]),
  // @ts-expect-error: nor is it undefined
  feed("/", undefined),
  // @ts-expect-error: there is no such option
  feed("/", "jobs", { limt: 5 }),
  // @ts-expect-error: seconds are a number
  feed("/", "jobs", { wait: "25" }),
  // @ts-expect-error: a user is named
  feed("/", "jobs", { user: 5 }),
  // @ts-expect-error: nothing else denies
  feed("/", "jobs", { headers: (denied: 404) => ({ authorization: `${denied}` }) }),
  // @ts-expect-error: a pause has a longest
  feed("/", "jobs", { pause: [1] }),
  // @ts-expect-error: a mailbox has a client
  mailbox("/", { topics: ["jobs.#"] }),
  // @ts-expect-error: a feed has one pattern
  feed("/", { topics: ["jobs.#"] }),
  // @ts-expect-error: there is no such transport
  feed("/", "jobs", { transport: "websocket" }),
];

/** What a wrapper passes on need not be defined. */
export const wrapped = (url: string, topic: string, { wait, headers, fold }: FeedOptions = {}) => feed(url, topic, { wait, headers, fold });

export function Component({ user, topic }: { user?: string; topic: string | null }) {
  const feed: Connection = useFeed<Job>("/push", topic, {
    fold: "latest",
    storage: null,
    onEvent: ({ data }) => console.log(data?.state),
    onReset: async () => {},
  });
  const { state, message, status, pause, restart } = useMailbox<Job>("/", {
    client: user,
    topics: ["jobs.#"],
    headers: { authorization: "Bearer …" },
    onReset: undefined,
    onEvent: async (event) => {
      // @ts-expect-error: a payload that is no JSON and no text gives no data
      console.log(event.data.state);
    },
  });
  useFeed("/", undefined, { onEvent: ({ id }) => id.length });
  // @ts-expect-error: a hook that handles nothing would confirm what the page never saw
  useMailbox("/", { client: "alice", topics: ["jobs.#"] });
  // @ts-expect-error: nor does a feed make sense without a handler
  useFeed("/", "jobs");
  // @ts-expect-error: a feed has one pattern
  useFeed("/", ["a", "b"], { onEvent: () => {} });
  // @ts-expect-error: a mailbox has a client
  useMailbox("/", { topics: ["jobs.#"], onEvent: () => {} });
  // @ts-expect-error: there is no such option
  useFeed("/", "jobs", { limt: 5, onEvent: () => {} });
  restart();
  return [feed.state, state, message?.length, status?.toFixed(), pause?.toFixed()];
}

// Never runs: `tsc` shows that the declarations allow what they should, and nothing else.

import { feed, mailbox, type Reader, type ReaderError, type State } from "postern-client";

interface Job {
  state: "running" | "passed" | "failed";
}

export async function loops(signal: AbortSignal) {
  for await (const event of mailbox<Job>("/", { client: "alice", topics: ["jobs.#"], signal })) {
    const state: "running" | "passed" | "failed" = event.data.state;
    const repeated: true | undefined = event.redelivered;
    console.log(event.id, event.topic, new Date(event.time), event.content_type?.length, event.data_base64, state, repeated);
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
  reader.addEventListener("event", async ({ detail }) => console.log(detail.data.state), { once: true });
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

async function save(job: Job) {
  console.log(job.state);
}

export const options = [
  mailbox("/", { client: "alice", locks: navigator.locks, storage: sessionStorage, transport: "sse", limit: 10 }),
  mailbox("/", { client: "alice", locks: null, storage: null, pause: [1, 60], wait: 50, silence: 30, interval: 10, patience: 1 }),
  feed("/", "jobs", { headers: async () => ({ authorization: "Bearer …" }), fetch: (url, init) => fetch(url, init) }),
  // @ts-expect-error: a mailbox is somebody's
  mailbox("/", { topics: ["jobs.#"] }),
  // @ts-expect-error: a feed has one pattern
  feed("/", { topics: ["jobs.#"] }),
  // @ts-expect-error: there is no such transport
  feed("/", "jobs", { transport: "websocket" }),
];

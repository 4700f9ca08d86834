/** An event as it stands in a batch. */
export interface PosternEvent<Data = unknown> {
  id: string;
  topic: string;
  /** RFC 3339. */
  time: string;
  /** The payload itself if it is JSON, a string if it is text; else absent. */
  data: Data;
  /** The payload if it is neither JSON nor text. */
  data_base64?: string;
  /** Present if the payload is not JSON. */
  content_type?: string;
  /** Present if the payload is encoded as its publisher says, and was not decoded. */
  content_encoding?: string;
  /** What its publisher said besides, over AMQP, and wanted shown. */
  headers?: Record<string, string | number | boolean | null>;
  /** It may have been handed out before; what this reader has handled is not given again. */
  redelivered?: true;
}

export type Transport = "sse" | "long-poll" | "short-poll";

/**
 * * `connecting`: nothing is known yet;
 * * `live`: events come as they are published;
 * * `waiting`: something failed, and is tried again after `pause`;
 * * `replaced`: another reader took the mailbox over (409);
 * * `denied`: the gateway, or a proxy before it, wants other credentials (401, 403);
 * * `refused`: the request can never succeed (400, 404), e.g. a mailbox that does not exist and no topics;
 * * `closed`: this page closed it.
 *
 * The last four are final.
 */
export type State = "connecting" | "live" | "waiting" | "replaced" | "denied" | "refused" | "closed";

export interface StateDetail {
  state: State;
  /** Of the answer, if there was one. */
  status?: number;
  /** What went wrong, in words. */
  message?: string;
  /** Seconds until the next attempt. */
  pause?: number;
}

export interface Options {
  /** Closes the reader. */
  signal?: AbortSignal;
  /** What is tried first. Default: `long-poll` for a mailbox, `sse` for a feed. */
  transport?: Transport;
  /** The place to begin at if none is kept: a token, or for a feed also `oldest` or `now`. */
  lastSeen?: string;
  /** Most events of a batch, 1–500. */
  limit?: number;
  /** Where the place is kept over reloads. Default: `localStorage` in a page, else nowhere; `null` is nowhere. */
  storage?: Pick<Storage, "getItem" | "setItem"> | null;
  /** By which the pages of an origin agree on one connection. Default: `navigator.locks` in a page; `null`: none. */
  locks?: { request(name: string, work: () => Promise<unknown>): Promise<unknown> } | null;
  /** Gives headers for every request, such as `authorization`. */
  headers?: () => Record<string, string> | Promise<Record<string, string>>;
  /** Sends the requests. Default: `globalThis.fetch`. */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
  /** Seconds that a long-poll is held, 1–55. Default: 25. */
  wait?: number;
  /** Seconds of silence, beyond `wait`, after which a request counts as dead. Streams get a comment every 15 s. Default: 20. */
  silence?: number;
  /** Seconds between short-polls that bring nothing. Default: 5. */
  interval?: number;
  /** Seconds for which other pages may hold up a confirm. Default: 5. */
  patience?: number;
  /** The first and the longest pause after failures, in seconds. Default: `[0.5, 15]`. */
  pause?: [first: number, longest: number];
}

export interface MailboxOptions extends Options {
  /** Names the mailbox: 1–128 bytes of `A-Z a-z 0-9 . _ ~ -`, unguessable where there is no authentication. */
  client: string;
  /** Patterns that the mailbox is bound to from now on. A mailbox that does not exist is created by them. */
  topics?: Iterable<string>;
}

export interface FeedOptions extends Options {
  /** `latest`: of what one batch looked at, only the newest event of each topic. */
  fold?: "latest";
}

/** What a listener for `event` gets. */
export interface EventNotice<Data = unknown> extends CustomEvent<PosternEvent<Data>> {
  /** Keeps the event unconfirmed until the promise is fulfilled. If it is rejected, the event comes again. */
  waitUntil(promise: PromiseLike<unknown>): void;
}

/** What a listener for `reset` gets: what came before, and was not seen, is gone. */
export interface ResetNotice extends CustomEvent<undefined> {
  /** Keeps what follows waiting until the promise is fulfilled. */
  waitUntil(promise: PromiseLike<unknown>): void;
}

export interface NoticeMap<Data = unknown> {
  event: EventNotice<Data>;
  reset: ResetNotice;
  state: CustomEvent<StateDetail>;
  replaced: CustomEvent<StateDetail>;
  denied: CustomEvent<StateDetail>;
  refused: CustomEvent<StateDetail>;
}

/**
 * Begins to read with its first listener for `event`, or when it is iterated.
 *
 * A loop confirms an event by asking for the next one; leaving the loop closes the reader and leaves its last event
 * unconfirmed. The loop ends when the reader is closed, and throws a `ReaderError` in the other final states.
 */
export interface Reader<Data = unknown> extends EventTarget, AsyncIterable<PosternEvent<Data>> {
  readonly state: State;
  /** Ends the reading. What was not handled is not confirmed. */
  close(): void;
  addEventListener<Type extends keyof NoticeMap>(
    type: Type,
    listener: ((this: Reader<Data>, notice: NoticeMap<Data>[Type]) => unknown) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** What a loop throws. */
export interface ReaderError extends Error {
  state: "replaced" | "denied" | "refused";
  status?: number;
}

/** Reads the mailbox of a client at a gateway, e.g. `mailbox("/", { client, topics: ["jobs.#"] })`. */
export function mailbox<Data = unknown>(url: string, options: MailboxOptions): Reader<Data>;

/** Follows a topic or a pattern, e.g. `feed("https://push.example", "jobs.*.status")`. */
export function feed<Data = unknown>(url: string, topic: string, options?: FeedOptions): Reader<Data>;

/** An event as it stands in a batch: it has `data`, or `data_base64` if its payload is neither JSON nor text. */
export type PosternEvent<Data = unknown> = EventWithData<Data> | EventWithBytes;

interface EventHead {
  id: string;
  topic: string;
  /** RFC 3339. */
  time: string;
  /** Present if the payload is not JSON. */
  content_type?: string;
  /** Present if the payload is encoded as its publisher says, and was not decoded. */
  content_encoding?: string;
  /** What its publisher said besides, over AMQP, and wanted shown. */
  headers?: Record<string, string | number | boolean | null>;
  /** The attributes of a CloudEvent, but for its time, its content type and, unless it had to be mapped, its id. */
  cloudevent?: { specversion: string; source: string; type: string; [attribute: string]: string | number | boolean };
  /** It may have been handed out before; what this reader has handled is not given again. */
  redelivered?: true;
}

export interface EventWithData<Data = unknown> extends EventHead {
  /** The payload itself if it is JSON, a string if it is text. */
  data: Data;
  data_base64?: undefined;
}

export interface EventWithBytes extends EventHead {
  data?: undefined;
  data_base64: string;
  content_type: string;
}

export type Transport = "sse" | "long-poll" | "short-poll";

/**
 * * `connecting`: nothing is known yet;
 * * `live`: events come as they are published;
 * * `waiting`: something failed, and is tried again after `pause`;
 * * `denied`: the gateway wants other credentials (401, 403), and is asked again after `pause`, which grows up to a minute;
 * * `replaced`: another reader took the mailbox over (409);
 * * `refused`: the request can never succeed (400, 404, 421), e.g. a mailbox that does not exist and no topics;
 * * `closed`: this page closed it.
 *
 * The last three are final, and a loop ends at `denied`, too. Only a problem of the gateway's (`application/problem+json` with
 * a `status`) leads to `denied`, `replaced` or `refused`: the same status of a proxy, or of another server in the gateway's
 * place, is a failure that is `waiting` to be tried again.
 */
export type State = "connecting" | "live" | "waiting" | "denied" | "replaced" | "refused" | "closed";

export interface StateDetail {
  state: State;
  /** Of the answer, if there was one. */
  status?: number | undefined;
  /** What went wrong, in words: the `detail` of a problem; `offline` where the browser says that it is. */
  message?: string | undefined;
  /** Seconds until the next attempt. */
  pause?: number | undefined;
}

/** Header names and values; one that is undefined is not sent. */
export type HeaderFields = Headers | Iterable<readonly [string, string]> | { readonly [name: string]: string | null | undefined };

/**
 * Gives the headers of one request. It is asked again for each: every poll, and every stream.
 *
 * `denied` is the status of the request before if that was 401 or 403, and else undefined: a token that is kept from before
 * is of no use then. After the first 401 in a row it is asked at once, and what it gives is sent without telling a state.
 *
 * If it throws, rejects, or gives nothing within `silence`, nothing is sent; the state is `waiting`, and it is asked again
 * after a pause.
 */
export type HeadersFunction = (denied?: 401 | 403) => HeaderFields | null | undefined | Promise<HeaderFields | null | undefined>;

/** An option that is undefined keeps its default. Unknown options and wrong values throw a `TypeError` or a `RangeError`. */
export interface Options {
  /** Closes the reader. */
  signal?: AbortSignal | null | undefined;
  /** What is tried first. Default: `long-poll` for a mailbox, `sse` for a feed. */
  transport?: Transport | undefined;
  /** The place to begin at if none is kept: a token, or for a feed also `oldest` or `now`. */
  lastSeen?: string | null | undefined;
  /** The largest number of events in a batch, 1–500. */
  limit?: number | undefined;
  /**
   * Tells users apart: pages of an origin share a connection, and the place that is kept, only for the same user. Any string
   * that stands for one user, such as an account's id.
   *
   * With `headers` and without `user` nothing is shared or kept unless `locks` or `storage` are given. Where a cookie says who asks,
   * give it if there can be several users in one browser.
   */
  user?: string | undefined;
  /**
   * Where the place is kept over reloads. Default: `localStorage` in a page, but nowhere with `headers` and without `user`; else
   * nowhere. `null` is nowhere.
   */
  storage?: Pick<Storage, "getItem" | "setItem"> | null | undefined;
  /**
   * By which pages and workers of an origin agree on one connection. Default: `navigator.locks` in a browser, but none with
   * `headers` and without `user`; `null`: none.
   */
  locks?: { request(name: string, work: () => Promise<unknown>): Promise<unknown> } | null | undefined;
  /** Headers for every request, such as `authorization`, or a function that gives them for each. */
  headers?: HeaderFields | HeadersFunction | undefined;
  /** Sends the requests. Default: `globalThis.fetch`. */
  fetch?: ((url: URL, init: RequestInit) => Promise<Response>) | undefined;
  /** Seconds that a long-poll is held, a whole number from 1 to 55. Default: 25. */
  wait?: number | undefined;
  /**
   * Seconds of silence, beyond `wait`, after which a request counts as dead. Streams get a comment every 15 s. Default: 20.
   * `Infinity`, here and in the next three, is as long as a timer can be: 24 days.
   */
  silence?: number | undefined;
  /** Seconds between short-polls that bring nothing. Default: 5. */
  interval?: number | undefined;
  /** Seconds for which other pages may hold up a confirm. Default: 5. */
  patience?: number | undefined;
  /** The first and the longest pause after failures, in seconds. Default: `[0.5, 15]`. */
  pause?: readonly [first: number, longest: number] | undefined;
}

export interface MailboxOptions extends Options {
  /**
   * Names the mailbox: 1–128 bytes of `A-Z a-z 0-9 . _ ~ -`, but not `.` or `..`; unguessable where there is no authentication.
   */
  client: string;
  /** A pattern, several with commas between them, or several: the mailbox is bound to them from now on, and created by them. */
  topics?: string | Iterable<string> | undefined;
}

export interface FeedOptions extends Options {
  /** `latest`: of what one batch looked at, only the newest event of each topic. */
  fold?: "latest" | undefined;
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

/** A listener for one kind of notice. */
export type NoticeListener<Data, Type extends keyof NoticeMap> =
  | ((this: Reader<Data>, notice: NoticeMap<Data>[Type]) => unknown)
  | { handleEvent(notice: NoticeMap<Data>[Type]): unknown };

/**
 * Begins to read with its first listener for `event`, or when it is iterated.
 *
 * A loop confirms an event by asking for the next one; leaving the loop closes the reader and leaves its last event
 * unconfirmed. The loop ends when the reader is closed, and throws a `ReaderError` in the other final states and at `denied`.
 */
export interface Reader<Data = unknown>
  extends Omit<EventTarget, "addEventListener" | "removeEventListener">,
    AsyncIterable<PosternEvent<Data>> {
  readonly state: State;
  /** Ends the reading. What was not handled is not confirmed. */
  close(): void;
  addEventListener<Type extends keyof NoticeMap>(
    type: Type,
    listener: NoticeListener<Data, Type> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof NoticeMap>(
    type: Type,
    listener: NoticeListener<Data, Type> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** What a loop throws. */
export interface ReaderError extends Error {
  state: "replaced" | "denied" | "refused";
  status?: number | undefined;
}

/**
 * Reads the mailbox of a client at a gateway, e.g. `mailbox("/", { client, topics: ["jobs.#"] })`.
 *
 * Throws a `TypeError` or a `RangeError` that names the wrong argument.
 */
export function mailbox<Data = unknown>(url: string | URL, options: MailboxOptions): Reader<Data>;

/**
 * Follows a topic or a pattern, e.g. `feed("https://push.example", "jobs.*.status")`.
 *
 * Throws a `TypeError` or a `RangeError` that names the wrong argument.
 */
export function feed<Data = unknown>(url: string | URL, topic: string, options?: FeedOptions): Reader<Data>;

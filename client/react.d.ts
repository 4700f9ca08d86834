import type { FeedOptions, MailboxOptions, PosternEvent, StateDetail } from "./postern.js";

export interface Handlers<Data = unknown> {
  /**
   * Gets each event, one at a time and in order. An event is handled, and may be confirmed, when this returns, or when the
   * promise that it returns is fulfilled. If it throws, the event comes again after a pause.
   */
  onEvent: (event: PosternEvent<Data>) => unknown;
  /** What came before, and was not seen, is gone. Events wait until the promise that it returns is fulfilled. */
  onReset?: (() => unknown) | undefined;
}

/** How the reader is doing; `closed` as long as there is none. */
export interface Connection extends StateDetail {
  /**
   * Makes a new reader in place of this one, as after `replaced` and `refused`, or to try again at once after `denied`. It is the
   * same at each render.
   */
  restart(): void;
}

/**
 * Follows a topic or a pattern for as long as the component is mounted; nothing as long as `topic` is null or undefined.
 *
 * The newest `onEvent`, `onReset`, `fetch` and `headers` are used. `storage`, `locks`, `signal` and `lastSeen` are those of the
 * moment in which a reader begins. Another value of any other option, such as `user`, or of an argument, makes a new reader, and
 * so do the first headers. So all of them may be written inline.
 */
export function useFeed<Data = unknown>(
  url: string | URL,
  topic: string | null | undefined,
  options: FeedOptions & Handlers<Data>,
): Connection;

/**
 * Reads the mailbox of a client for as long as the component is mounted; nothing as long as `client` is null or undefined.
 *
 * Options are compared as those of `useFeed`, and `topics` by their values.
 */
export function useMailbox<Data = unknown>(
  url: string | URL,
  options: Omit<MailboxOptions, "client"> & { client: string | null | undefined } & Handlers<Data>,
): Connection;

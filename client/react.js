// React hooks that read a mailbox or a feed for as long as a component is mounted; see README.md and react.d.ts.
//
// The reader is made in an effect, never while rendering: StrictMode mounts twice, and the reader of the first time is
// closed before it has sent anything. Only what is in `key` makes a new reader, so options may be written inline.

import { useCallback, useEffect, useInsertionEffect, useRef, useState } from "react";

import { feed, mailbox } from "./postern.js";

/** @import { Options, Reader, StateDetail } from "./postern.js" */
/** @import { Connection, Handlers } from "./react.js" */

/**
 * Follows a topic or a pattern; nothing as long as the topic is null or undefined.
 *
 * @type {typeof import("./react.js").useFeed}
 */
export function useFeed(url, topic, options) {
  return useReader(topic, [url], options, (given) => feed(url, /** @type {string} */ (topic), given));
}

/**
 * Reads the mailbox of a client; nothing as long as the client is null or undefined.
 *
 * @type {typeof import("./react.js").useMailbox}
 */
export function useMailbox(url, { client, topics, ...options }) {
  // JSON has no sets, and an iterator gives its values once.
  const patterns = topics?.[Symbol.iterator] && typeof topics !== "string" ? [...topics] : topics;
  return useReader(client, [url, patterns], options, (given) =>
    mailbox(url, { client: /** @type {string} */ (client), topics: patterns, ...given }),
  );
}

/**
 * Reads what `open` returns for as long as there is a name.
 *
 * @param {string | null | undefined} name
 * @param {unknown[]} address What makes a new reader besides the options.
 * @param {Options & Handlers<any>} options
 * @param {(given: Options) => Reader<any>} open
 * @returns {Connection}
 */
function useReader(name, address, options, open) {
  const { onEvent, onReset, fetch, headers, storage, locks, signal, lastSeen, ...values } = options ?? {};
  if (typeof onEvent !== "function") throw new TypeError("postern: onEvent must be a function");
  const [told, setTold] = useState(/** @type {{ key: string, detail: StateDetail } | undefined} */ (undefined));
  const [count, setCount] = useState(0);
  const restart = useCallback(() => setCount((n) => n + 1), []);
  // What the last render that was committed gave. An effect of its own, because it must not restart the reader.
  const given = { onEvent, onReset, fetch, headers, storage, locks, signal, lastSeen, values, open };
  const current = useRef(given);
  useInsertionEffect(() => {
    current.current = given;
  });
  // Functions and objects with methods are new at each render where they are written inline, so only null, which turns
  // something off, tells two of them apart; and whether there are headers, because without a user a reader that has some shares
  // nothing. `lastSeen` is where a reader begins, and where this one is by now is past it.
  const hasHeaders = headers != null;
  const inKey = [count, name, address, values, storage === null, locks === null, hasHeaders];
  const key = name == null ? undefined : JSON.stringify(inKey);

  useEffect(() => {
    if (key === undefined) return;
    const now = () => current.current;
    const { open, values, storage, locks, signal, lastSeen, fetch, headers } = now();
    const isRight = headers instanceof Object;
    const reader = open({
      ...values,
      storage,
      locks,
      signal,
      lastSeen,
      // Each request takes what the last render gave: an access token is renewed, for example. Wrong values go through,
      // for the client to refuse.
      fetch: fetch && typeof fetch !== "function" ? fetch : (...request) => (now().fetch ?? globalThis.fetch)(...request),
      headers: isRight ? (denied) => fields(now().headers, denied) : (headers ?? undefined),
    });
    const gone = new AbortController();
    reader.addEventListener("state", ({ detail }) => setTold({ key, detail }), gone);
    reader.addEventListener("event", (notice) => notice.waitUntil(handled(() => now().onEvent(notice.detail))), gone);
    reader.addEventListener("reset", (notice) => notice.waitUntil(handled(() => now().onReset?.())), gone);
    // If the signal was aborted before, no listener has heard of it.
    if (reader.state === "closed") setTold({ key, detail: { state: "closed" } });
    return () => {
      gone.abort();
      reader.close();
      setTold(undefined);
    };
  }, [key]);

  // Between a render with another key and its effect, the state is still that of the reader before.
  const detail = told?.key === key ? told?.detail : undefined;
  return { state: name == null ? "closed" : "connecting", ...detail, restart };
}

/** @type {(headers: Options["headers"], denied?: 401 | 403) => any} */
const fields = (headers, denied) => (typeof headers === "function" ? headers(denied) : headers);

/**
 * Runs a handler. If it throws, its event comes again, and the page's console has the reason.
 *
 * @param {() => unknown} handle
 */
async function handled(handle) {
  try {
    await handle();
  } catch (error) {
    globalThis.reportError?.(error);
    throw error;
  }
}

// Sends one request, and gives its answer and the parts of its text for as long as something comes. What is asked for, and
// what an answer means, is left to `connection.js`.

/** @import { Settings } from "./options.js" */
import { failure } from "./answer.js";
import { later } from "./environment.js";
import { isFunction, plainHeaders } from "./options.js";

/**
 * Gives the answer, and its text in parts. The parts must be read, because this ends the request.
 *
 * @param {AbortController} request Is aborted with the reason "no answer" or "silence" when nothing comes for too long, and with
 *   "none came" when the page's function gives no headers.
 * @param {Settings} settings
 * @param {URL} url
 * @param {string} accept
 * @param {number} [wait] Seconds that the gateway may hold it.
 * @param {401 | 403} [denied] The status of the request before, if it is one of these.
 * @returns {Promise<[answer: Response, parts: AsyncGenerator<string, void>]>}
 */
export async function send(request, { headers, silence, fetch = globalThis.fetch }, url, accept, wait = 0, denied) {
  const { signal } = request;
  let why = "none came";
  /** @type {<T>(seconds: number, promise: Promise<T>) => Promise<T>} */
  const within = (seconds, promise) => {
    const timer = later(() => request.abort(why), seconds);
    return promise.finally(() => clearTimeout(timer));
  };
  /** @type {Record<string, string>} */
  let own;
  try {
    // The function may hang, and knows no signal.
    const isOver = () => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    own = plainHeaders((isFunction(headers) ? await within(silence, Promise.race([headers(denied), isOver()])) : headers) ?? {});
  } catch (error) {
    throw failure(`headers failed: ${/** @type {any} */ (error)?.message ?? error}`, { _isHeaders: true });
  }
  why = "no answer";
  /** @type {RequestInit} */
  const init = { headers: { ...own, accept }, cache: "no-store", signal };
  const answer = await within(silence + wait, fetch(url, init));
  const parts = async function* () {
    try {
      const body = answer.body?.getReader();
      const decoder = new TextDecoder();
      for (let part; body && !(part = await within(silence, body.read())).done; ) {
        why = "silence";
        yield decoder.decode(part.value, { stream: true });
      }
    } finally {
      request.abort();
    }
  };
  return [answer, parts()];
}

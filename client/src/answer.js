// What an answer of the gateway says: a batch, a problem, or nothing that this client can read. `sse.js` reads
// streams, and `connection.js` decides what follows.

/** @import { PosternEvent, State } from "../postern.js" */
import { MAX_RETRY_S } from "./limits.js";

/**
 * Events, and the place after them. `reset` tells that events before them are gone.
 *
 * @typedef {{ events: PosternEvent[], last_seen: string | null | undefined, reset?: boolean }} Batch
 */

/**
 * What is known of a failure besides its message:
 *  * `status`: of the answer, if the gateway or a proxy gave one;
 *  * `_state`: the state that the failure leads to, if it is not `waiting`;
 *  * `_retryAfter`: seconds for which the server wants no request;
 *  * `_isHandlers`: a handler in a page failed, and not the network;
 *  * `_isHeaders`: the page's function for headers failed, and nothing was sent.
 *
 * @typedef {{
 *   status?: number,
 *   _state?: State | false,
 *   _retryAfter?: number,
 *   _isHandlers?: boolean,
 *   _isHeaders?: boolean,
 * }} Circumstances
 */

/** An error of the client itself. Errors of the page's own functions are of other classes, and have no circumstances. */
export class Failure extends Error {}

/**
 * @template {object} [More={}]
 * @param {string} message
 * @param {More} [more]
 */
export const failure = (message, more) => Object.assign(new Failure(message), more);

/** @type {Partial<Record<number, State>>} */
const STATES = { 400: "refused", 401: "denied", 403: "denied", 404: "refused", 409: "replaced", 421: "refused" };

/** @type {(value: any) => value is PosternEvent} */
export const isEvent = (value) => typeof value?.id === "string";

/** @type {(answer: Response, type: RegExp) => boolean} */
export const hasType = ({ headers }, type) => type.test(/** @type {string} */ (headers.get("Content-Type")));

/** @type {(parts: AsyncIterable<string>) => Promise<string>} */
export async function joined(parts) {
  let text = "";
  for await (const part of parts) text += part;
  return text;
}

/**
 * Returns the value of a JSON text, and undefined for any other text.
 *
 * @param {string} text
 * @returns {any}
 */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {}
}

/**
 * Returns the failure that an answer tells. Only a problem with a status is the gateway's own. A proxy, or another server in
 * the gateway's place, ends and denies nothing.
 *
 * @param {Response} answer
 * @param {string} text
 */
export function problem(answer, text) {
  const { status, headers } = answer;
  const told = hasType(answer, /^application\/problem\+json/i) && parseJson(text);
  const isGateways = typeof told?.status === "number";
  // Seconds, or a date.
  const after = /** @type {string} */ (headers.get("Retry-After"));
  const _retryAfter = Math.min(+after || (Date.parse(after) - Date.now()) / 1000 || 0, MAX_RETRY_S);
  return failure((isGateways && told.detail) || `status ${status}, not from the gateway`, {
    status,
    _state: isGateways && STATES[status],
    _retryAfter,
  });
}

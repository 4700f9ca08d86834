// The format of Server-Sent Events (WHATWG HTML, section 9.2): text in parts becomes lines, and the fields between two empty
// lines become a batch. `connection.js` requests streams, takes the fields out of lines, and decides what a line means for it.

/** @import { Batch } from "./answer.js" */
import { isEvent, parseJson } from "./answer.js";
import { isToken } from "./options.js";

/**
 * Gives the lines of a stream. CR, LF, or both end a line. A last line that has no end is torn, and left out.
 *
 * @param {AsyncIterable<string>} parts
 */
export async function* lines(parts) {
  let rest = "";
  let isReturned = false;
  for await (const part of parts) {
    // The CR and the LF of one end may come in two parts.
    rest += isReturned ? part.replace(/^\n/, "") : part;
    if (part) isReturned = part.endsWith("\r");
    const complete = rest.split(/\r\n?|\n/);
    rest = /** @type {string} */ (complete.pop());
    yield* complete;
  }
}

/**
 * Returns what the fields between two empty lines tell: one event, a reset, or only a place. Returns undefined if they
 * hold an event that cannot be read.
 *
 * @param {Record<string, string>} fields
 * @param {Batch["last_seen"]} place Where the stream was before.
 * @returns {Batch | undefined}
 */
export function parseFields({ event, data, id }, place) {
  const moved = { events: [], reset: event === "reset", last_seen: isToken(id) ? id : place };
  if (!data || (event && event !== "message")) return moved;
  const body = parseJson(data);
  if (isEvent(body)) return { ...moved, events: [body] };
  if (body?.reset) return { ...moved, reset: true };
}

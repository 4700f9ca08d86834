// Keeps a reader's place, the token that its next request gives as `last_seen`, over reloads of the page.
//
//   the storage's token, if it is one; else the option `lastSeen`
//     │  a batch was handled (by all pages, if there are several)
//     ▼
//   the batch's `last_seen`: the next request gives it, and so confirms the batch if it is of a mailbox
//
// When a place moves is left to `connection.js`, and to `tabs.js` in a page whose events another one reads.

/** @import { Settings } from "./options.js" */
import { site } from "./environment.js";
import { isToken } from "./options.js";

/** @typedef {string | null | undefined} Place */

/**
 * Calls the storage. It may be absent, forbidden or full; then the place is not kept over reloads, and nothing else is lost.
 *
 * @param {Settings} settings
 * @param {"getItem" | "setItem"} method
 * @param {string} name
 * @param {string} [token]
 */
function call(settings, method, name, token) {
  try {
    // In a page that is denied its storage, even asking for it throws.
    const { storage = site?.localStorage } = settings;
    return /** @type {any} */ (storage)?.[method](name, token);
  } catch {}
}

/** @type {(settings: Settings, name: string) => Place} Returns where a reader of this name begins. */
export function recall(settings, name) {
  const kept = call(settings, "getItem", name);
  return isToken(kept) ? kept : settings.lastSeen;
}

/** @type {(settings: Settings, name: string, place: Place) => void} Writes a place into the storage. */
export function persist(settings, name, place) {
  if (place) call(settings, "setItem", name, place);
}

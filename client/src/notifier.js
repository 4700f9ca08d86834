// What a page is told: the state of its reader, and one event after another, each when the one before is handled. What comes
// from the gateway, and when, is left to `connection.js`.
//
// States: `connecting` ─▶ `live` ◀─▶ `waiting` or `denied`, and from each of the four to one that is final: `replaced`, `refused`
// or `closed`. The page hears nothing after a final state.

/** @import { PosternEvent, State, StateDetail } from "../postern.js" */
/** @import { Batch } from "./answer.js" */
/** @import { Settings } from "./options.js" */
import { withQuery } from "./address.js";
import { failure } from "./answer.js";
import { MAX_KNOWN } from "./limits.js";

export class Notifier extends EventTarget {
  /** @type {State} */
  state = "connecting";
  /** @type {StateDetail} What was told last of the state. */
  _told = { state: this.state };
  /** @type {StateDetail | undefined} The final state. */
  _ended;
  /** Aborted at the end, which removes the listeners that the reader has in its page. */
  _lifetime = new AbortController();
  /** @type {Set<string>} The newest events that were handled, the oldest first. */
  #known = new Set();

  /**
   * @param {URL} url
   * @param {string[] | undefined} topics The patterns of a mailbox; a feed has none.
   * @param {Settings} settings
   */
  constructor(url, topics, settings) {
    super();
    const { fold, limit } = settings;
    this._url = withQuery(url, { fold, limit });
    this._isFeed = !topics;
    this._topics = new Set(topics);
    this._settings = settings;
  }

  /** Ends the reader in a final state. */
  _stop(/** @type {StateDetail} */ detail) {
    this._ended = detail;
    this._setState(detail);
    this._lifetime.abort();
  }

  /** Tells a state if it is a new one, or has a new pause. */
  _setState(/** @type {StateDetail} */ detail) {
    const { state } = detail;
    const isNew = state !== this.state;
    if ((this._ended ?? detail) !== detail || !(isNew || detail.pause)) return;
    this.state = state;
    this._told = detail;
    this._announce(detail);
    this.#dispatch("state", detail);
    // Of these, `denied`, `refused` and `replaced` are documented.
    if (isNew) this.#dispatch(state, detail);
  }

  /** Passes a state on to other tabs, of which only `tabs.js` knows. */
  _announce(/** @type {StateDetail} */ _detail) {}

  /**
   * Calls the listeners, and waits for what they wait for.
   *
   * @param {string} type
   * @param {unknown} [detail]
   */
  #dispatch(type, detail) {
    /** @type {PromiseLike<unknown>[]} */
    const promises = [];
    /** @type {any} */
    const notice = new CustomEvent(type, { detail });
    notice.waitUntil = (/** @type {PromiseLike<unknown>} */ promise) => promises.push(promise);
    this.dispatchEvent(notice);
    return Promise.all(promises).catch((error) => {
      throw failure(`a handler failed: ${error}`, { _isHandlers: true });
    });
  }

  /** Hands the page what is new to it: one event at a time, and the next when the handlers of the last are done. */
  async _handle(/** @type {Batch} */ { events, reset }) {
    if (reset) await this.#dispatch("reset");
    for (const event of events) {
      // In a mailbox it is not enough that an event is known: a foreign publisher may give different events the same id.
      if (this._isKnown(event) && (this._isFeed || event.redelivered)) continue;
      await this.#dispatch("event", event);
      if (this._ended) throw failure("closed");
      // A set gives its values in the order in which they were added.
      const [oldest] = this.#known.add(nameOf(event));
      if (this.#known.size > MAX_KNOWN) this.#known.delete(oldest);
    }
  }

  _isKnown(/** @type {PosternEvent} */ event) {
    return this.#known.has(nameOf(event));
  }
}

/** @type {(event: PosternEvent) => string} An id alone could be used up by a publisher of another topic. */
const nameOf = (event) => `${event.topic} ${event.id}`;

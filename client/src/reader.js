// What `mailbox` and `feed` return: an `EventTarget` that can also be iterated, and closed.
//
// It is made of layers, of which each adds one thing to the one before:
//
// | layer              | module        | adds                                                     |
// |--------------------|---------------|----------------------------------------------------------|
// | `Notifier`         | notifier.js   | the state, and the events that the page has handled      |
// | `Connection`       | connection.js | requests to the gateway, one after another               |
// | `SharedConnection` | tabs.js       | one connection for all tabs                              |
// | `Reader`           | this          | the ways in which a page uses it                         |

/** @import { PosternEvent } from "../postern.js" */
/** @import { Settings } from "./options.js" */
import { failure } from "./answer.js";
import { SharedConnection } from "./tabs.js";

export class Reader extends SharedConnection {
  /** @type {unknown} */
  #begun;

  /**
   * @param {URL} url
   * @param {string[] | undefined} topics The patterns of a mailbox; a feed has none.
   * @param {Settings} settings
   */
  constructor(url, topics, settings) {
    super(url, topics, settings);
    const { signal } = settings;
    signal?.addEventListener("abort", () => this.close(), { signal: this._life.signal });
    if (signal?.aborted) this.close();
  }

  /**
   * Begins to read with the first listener for `event`, but after all that the page does in the same turn.
   *
   * @param {string} type
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    if (type === "event") this.#begun ??= setTimeout(() => this._join());
  }

  /** @returns {AsyncGenerator<any, void, undefined>} */
  async *[Symbol.asyncIterator]() {
    /** @type {[event: PosternEvent, done: (value?: any) => void][]} */
    const events = [];
    /** @type {((value?: any) => void) | undefined} */
    let wake;
    this.addEventListener("state", () => wake?.());
    this.addEventListener("event", (/** @type {any} */ notice) => {
      notice.waitUntil(new Promise((done) => events.push([notice.detail, done])));
      wake?.();
    });
    try {
      while (!this._ended) {
        const [event, done] = events.shift() ?? [];
        if (done) {
          yield event;
          done();
        } else await new Promise((resolve) => (wake = resolve));
      }
      if (this._ended.message) throw failure(this._ended.message, this._ended);
    } finally {
      this.close();
    }
  }

  close() {
    this._stop({ state: "closed" });
  }
}

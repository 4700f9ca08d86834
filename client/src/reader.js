// What `mailbox` and `feed` return: an `EventTarget` that can also be iterated, and closed.
//
// A reader is made of layers. Each is a class that extends the one before, and works without those after it:
//
// | layer              | module        | adds                                                              |
// |--------------------|---------------|-------------------------------------------------------------------|
// | `Notifier`         | notifier.js   | what the page is told: states, and the events that are new to it  |
// | `Connection`       | connection.js | the requests to the gateway, and the place where the next begins  |
// | `SharedConnection` | tabs.js       | one connection for all tabs that read the same                    |
// | `Reader`           | reader.js     | how a page begins, iterates and closes                            |

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
    settings.signal?.addEventListener("abort", () => this.close(), { signal: this._lifetime.signal });
    if (settings.signal?.aborted) this.close();
  }

  /**
   * Begins to read with the first listener for `event`, but after all that the page does in the same turn.
   *
   * @param {string} type
   * @param {[listener: any, options?: boolean | AddEventListenerOptions]} rest
   */
  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest);
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
        } else if (this.state === "denied") break;
        else await new Promise((resolve) => (wake = resolve));
      }
      // A page that closes a reader gives no message.
      if (this._told.message) throw failure(this._told.message, this._told);
    } finally {
      this.close();
    }
  }

  close() {
    this._stop({ state: "closed" });
  }
}

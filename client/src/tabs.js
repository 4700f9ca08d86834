// The pages and workers of an origin that read the same for the same user share one connection.
//
// Election: each reader asks for a Web Lock of its name, of which the user is a part. The reader that has the lock is the
// leader: it asks the gateway, and the others follow. When the leader's page is closed or crashes, the browser gives the lock
// to another reader, which goes on from the kept place.
//
//   follower ── has the lock, and has handled what the old leader sent ─▶ leader ── closed, or ended by the gateway ─▶ gone
//
// Messages, over a BroadcastChannel. Tabs may have different versions of the client, so the names in messages are kept.
//
// | type    | sent by    | says                                                                   | answered by         |
// |---------|------------|------------------------------------------------------------------------|---------------------|
// | `hello` | each tab   | the tab is there, and reads `topics`                                   | the leader's `lead` |
// | `lead`  | the leader | the sender leads; its `place`, and its state (`how`)                   | `hello`, if to all  |
// | `state` | the leader | its new state (`how`)                                                  |                     |
// | `batch` | the leader | a `batch` to handle, named by a `key`, and the `place` before it       | `done`              |
// | `done`  | a follower | the batch of that `key` is handled, or a handler `failed`              |                     |
// | `bye`   | each tab   | the page is being left, or the reader closed: it handles nothing more  |                     |
// | `stop`  | each tab   | the gateway ended the reading (`how`), which holds for all tabs        |                     |
//
// A batch is confirmed when all tabs that the leader knows of have handled it: only then does the leader's place move. A tab
// that takes longer than `patience` is unknown until its next message. Every tab drops what it had before, so a new leader may
// begin at an older place.
//
// A follower of a feed first reads alone, from its own place to where the leader is; a mailbox has one place for all.

/** @import { StateDetail } from "../postern.js" */
/** @import { Batch } from "./answer.js" */
/** @import { Place } from "./place.js" */
import { failure } from "./answer.js";
import { Connection } from "./connection.js";
import { later, secondsSince, site } from "./environment.js";
import { CATCH_UP_HOLD_S, FAREWELL_S, LEAVING_S, MIN_CATCH_UP_HOLD_S } from "./limits.js";

/**
 * @typedef {{
 *   type: "hello" | "lead" | "state" | "batch" | "done" | "bye" | "stop",
 *   from: string,
 *   to?: string | undefined,
 *   how: StateDetail,
 *   topics?: string[],
 *   place: Place,
 *   key: number,
 *   batch?: Batch,
 *   failed?: boolean | undefined,
 * }} Message
 */

/** @type {(token: Place) => number} The token of a feed begins with a position in the log. */
const positionOf = (token) => parseInt(/** @type {string} */ (token));

export class SharedConnection extends Connection {
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** @type {(() => void) | undefined} */
  #releaseLock;
  /** When the page began to leave, in ms; it may stay. */
  #leftAt = 0;

  // A leader's
  /** @type {Set<string>} The other tabs that answer. */
  #others = new Set();
  /** @type {{ batch: Batch, place: Place, key: number } | undefined} What all tabs are handling. */
  #shared;
  /** @type {Set<string>} The tabs that have yet to handle it. */
  #waiting = new Set();
  /** @type {boolean | undefined} A handler failed in one of them. */
  #hasFailed;

  // A follower's
  /** @type {string | undefined} */
  #leader;
  /** @type {number | undefined} The last batch that it handled. */
  #handledKey;
  /** @type {Batch[]} What the leader sent and was not handled yet. */
  #ahead = [];
  /** @type {Promise<any>} Works on one message of the leader's after another. */
  #queue = Promise.resolve();

  // --- Election ---------------------------------------------------------------------------------------------------------

  /** Makes the reader known to the other tabs, and has it lead once it has the lock; where there are no locks, at once. */
  _join() {
    const { locks } = this._settings;
    if (this._ended) return;
    // A closed reader leaves no listeners in its page.
    const own = { signal: this._lifetime.signal };
    /** @type {(type: string, work: (event: any) => void) => void} */
    const on = (type, work) => site?.addEventListener(type, work, own);
    on("online", () => this._retryNow?.(true));
    if (!locks) return this.#lead();
    this.#channel = new BroadcastChannel(this._name);
    this.#channel.onmessage = ({ data }) => this.#onMessage(data);
    this.#postHello();
    // Firefox and WebKit cut the requests of a page that is left before they hide it, and WebKit refuses all others until then.
    // Meanwhile a stream that was asked for earlier may go live.
    const leave = () => (this.#leftAt = Date.now());
    on("beforeunload", leave);
    on("pagehide", () => {
      leave();
      this.#post("bye");
    });
    on("pageshow", ({ persisted }) => persisted && this.#postHello());
    const isOver = new Promise((resolve) => (this.#releaseLock = /** @type {() => void} */ (resolve)));
    // The browser would keep a closed reader that waits for a lock. Locks that a page gives itself take two arguments.
    const more = locks === site?.navigator.locks ? [own] : [];
    /** @type {any} */ (locks).request(this._name, ...more, () => (this.#lead(), isOver)).catch(() => this.#lead());
  }

  async #lead() {
    await this.#queue;
    this._isLeader = true;
    this.#postLead();
    await this._repeat(() => this._attempt());
  }

  /** Parts from the other tabs; an end that the gateway decided on is theirs, too. */
  _stop(/** @type {StateDetail} */ how) {
    if (this._ended) return;
    if (how.message) this.#post("stop", { how });
    this.#post("bye");
    this.#channel?.close();
    this.#channel = undefined;
    super._stop(how);
    // A follower that had the lock before it heard of a common end would ask the gateway in vain.
    if (this.#releaseLock) later(this.#releaseLock, how.message ? FAREWELL_S : 0);
  }

  // --- Messages ---------------------------------------------------------------------------------------------------------

  /**
   * @param {Message["type"]} type
   * @param {Partial<Message>} [message]
   */
  #post(type, message) {
    this.#channel?.postMessage({ type, from: this._instance, ...message });
  }

  #postHello() {
    this.#post("hello", { topics: [...this._topics] });
  }

  /** @param {string} [to] One tab; else all. */
  #postLead(to) {
    // How long a pause still is, is not known here.
    this.#post("lead", { to, place: this._place, how: { ...this._told, pause: undefined } });
  }

  /** Tells the others the leader's state. */
  _announce(/** @type {StateDetail} */ how) {
    // A request fails because its page is left, which is nothing to the others.
    if (this._isLeader && !this._ended && secondsSince(this.#leftAt) > LEAVING_S) this.#post("state", { how });
  }

  #onMessage(/** @type {Message} */ { type, from, to, how, topics = [], place, key, batch, failed }) {
    if (to && to !== this._instance) return;
    if (type === "stop") return this._stop(how);
    if (type === "hello" || type === "done") this.#others.add(from);
    else this.#others.delete(from);
    const count = this._topics.size;
    for (const topic of topics) this._topics.add(topic);
    if (this._isLeader) {
      // The gateway binds a mailbox to the topics of each request.
      if (this._topics.size > count) this._request?.abort("again");
      if (type === "hello") {
        this.#waiting.add(from);
        this.#postLead(from);
        if (this.#shared) this.#post("batch", { to: from, ...this.#shared });
      }
      if (type === "bye" || (key && key === this.#shared?.key)) {
        this.#hasFailed ||= failed;
        this.#waiting.delete(from);
        if (this.#shared && !this.#waiting.size) this._wakeUp?.();
      }
    } else if (type === "lead") {
      this.#leader = from;
      if (!to) this.#postHello();
      this._setState(how);
      this.#queue = this.#queue.then(() => {
        // A page that asked for "now" itself would miss what came since it was told that it is live.
        if (this._place === "now" && place) this._place = place;
        if (this._isFeed && place !== this._place) return this.#catchUp();
      });
    } else if (from === this.#leader) {
      if (how) this._setState(how);
      if (batch) {
        this.#ahead.push(batch);
        this.#queue = this.#queue.then(() => this.#follow(batch, place, key));
      }
    }
  }

  // --- Batches ----------------------------------------------------------------------------------------------------------

  /** Has all tabs handle what their leader read. */
  _handle(/** @type {Batch} */ batch) {
    return this._isLeader ? this.#share(batch) : super._handle(batch);
  }

  async #share(/** @type {Batch} */ batch) {
    this.#post("batch", (this.#shared = { batch, place: this._place, key: Math.random() }));
    this.#waiting = new Set(this.#others);
    this.#hasFailed = false;
    const since = Date.now();
    const left = () => this._settings.patience - secondsSince(since);
    try {
      await super._handle(batch);
      while (this.#waiting.size && left() > 0) await this._sleep(left());
      if (this.#hasFailed) throw failure("a handler failed in another page", { _isHandlers: true });
    } finally {
      for (const page of this.#waiting) this.#others.delete(page);
      this.#shared = undefined;
    }
  }

  /**
   * Handles a batch of the leader's.
   *
   * @param {Batch} batch
   * @param {Place} place
   * @param {number} key
   */
  async #follow(batch, place, key) {
    let failed;
    try {
      // A page that caught up may be past the leader.
      const isOld = this._isFeed && !batch.reset && positionOf(batch.last_seen) <= positionOf(this._place);
      if (key !== this.#handledKey && !isOld) await super._handle(batch);
      this.#handledKey = key;
      // Others may not have handled it, so in a mailbox it is not for this page to confirm.
      if (!isOld) this._place = this._isFeed ? batch.last_seen : place;
    } catch {
      failed = true;
    }
    this.#ahead.shift();
    this.#post("done", { key, failed });
  }

  /** Reads a feed alone, from the page's own place to what the leader sent, or to the end of the feed. */
  #catchUp() {
    let hold = 0;
    return this._repeat(async () => {
      const before = this._place;
      const since = Date.now();
      const came = await this._poll(hold);
      if (came) return this.#ahead.some(({ events }) => events.some((event) => this._isKnown(event)));
      // Only at the end does nothing move, or is a poll held.
      if (this._place === before || (hold && secondsSince(since) > MIN_CATCH_UP_HOLD_S)) return true;
      hold = CATCH_UP_HOLD_S;
    });
  }
}

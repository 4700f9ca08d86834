// Asks the gateway, one request after another, by the best transport that the network lets through. `request.js` sends a
// request, `sse.js` and `answer.js` read what comes, and `notifier.js` hands it to the page.
//
// When a request follows:
//
// | a request that                    | leads to the state      | and is followed by another                        |
// |-----------------------------------|-------------------------|---------------------------------------------------|
// | ended well, or as a token expired | `live`                  | at once, or after `interval` if nothing was held  |
// | failed, or was cut                | `waiting`               | after a pause                                     |
// | got the first 401 in a row        | the one before          | at once, if a function can give other headers     |
// | needs other credentials           | `denied`                | after a pause                                     |
// | the gateway can never answer      | `refused` or `replaced` | never                                             |
//
// A pause doubles with each failure in a row, is spread so that pages do not return together, and is never shorter than a
// server's `Retry-After`. A pause that no server asked for ends when the network is back.
//
// By which transport: `sse` ─▶ `long-poll` ─▶ `short-poll`, and an hour after the last step the first choice again.
//
// | a step is taken when                                     | because                                         |
// |----------------------------------------------------------|-------------------------------------------------|
// | a stream is answered with another type, or with 406      | there are no streams here                       |
// | an event on a stream cannot be read                      | a poll may bring it whole                       |
// | nothing comes of a stream within `silence`               | a proxy holds the stream back                   |
// | three requests in a row are cut after 1 to 60 s          | a proxy ends what lasts                         |
// | three streams in a row bring nothing but their beginning | a proxy lets the beginning through, and no more |

/** @import { Batch, Circumstances } from "./answer.js" */
import { withQuery } from "./address.js";
import { Failure, failure, hasType, isEvent, joined, parseJson, problem } from "./answer.js";
import { later, secondsSince, site } from "./environment.js";
import { DOWNGRADED_S, MAX_CUTS, MAX_CUT_S, MAX_DENIED_S, MAX_RETRY_S, MIN_CUT_S, MIN_HOLD_S } from "./limits.js";
import { Notifier } from "./notifier.js";
import { TRANSPORTS, isFunction, isToken } from "./options.js";
import { persist, recall } from "./place.js";
import { send } from "./request.js";
import { lines, parseFields } from "./sse.js";

export class Connection extends Notifier {
  /** Names this reader among the tabs, and its polls at the gateway. */
  _instance = Math.random().toString(36).slice(2);
  /** Readers of one name share a place and a connection, so it tells who asks: users must have neither in common. */
  _name = `postern ${this._url}${this._settings.user ? ` ${this._settings.user}` : ""}`;
  _place = recall(this._settings, this._name);
  /** The reader asks for itself and for all tabs that share its connection; see `tabs.js`. */
  _isLeader = false;
  /** @type {AbortController | undefined} */
  _request;
  #requests = 0;
  /** @type {401 | 403 | undefined} The status of the last request, if it is one of these. */
  #denied;
  /** An index of `TRANSPORTS`. */
  #transport = TRANSPORTS.indexOf(this._settings.transport);
  #downgradedAt = 0;
  #cuts = 0; // requests in a row that were cut
  #unreadable = 0; // answers in a row that could not be read
  #isBare = false; // nothing came on the stream but its beginning
  #wasBare = false; // the same of the stream before
  /** @type {((isHurried?: boolean) => void) | undefined} Ends the last sleep. */
  _wakeUp;
  /** @type {Connection["_wakeUp"]} Ends the pause after a failure, unless a server asked for it. */
  _retryNow;

  /** Has a batch handled, and moves the place after it. The next request gives the place, which confirms the batch. */
  async _receive(/** @type {Batch} */ batch) {
    await this._handle(batch);
    this._place = batch.last_seen;
    // The tabs share a storage, and a follower's place is not that of all.
    if (this._isLeader) persist(this._settings, this._name, this._place);
  }

  _stop(/** @type {import("../postern.js").StateDetail} */ detail) {
    super._stop(detail);
    this._request?.abort();
    this._wakeUp?.();
  }

  // --- When a request follows --------------------------------------------------------------------------------------------

  /**
   * Waits. Only the last sleep can be ended early; the promise has what `_wakeUp` was given.
   *
   * @returns {Promise<boolean | undefined>}
   */
  _sleep(/** @type {number} */ seconds) {
    return new Promise((resolve) => {
      const timer = later(resolve, seconds);
      this._wakeUp = (isHurried) => resolve((clearTimeout(timer), isHurried));
    });
  }

  /** Attempts again and again, until the reader ends or an attempt returns true because it was the last one. */
  async _repeat(/** @type {() => Promise<unknown>} */ attempt) {
    for (let failures = 0; !this._ended; ) {
      const since = Date.now();
      try {
        if (await attempt()) return;
        failures = 0;
        this.#denied = undefined;
        if (secondsSince(since) > MIN_CUT_S) this.#cuts = 0;
      } catch (error) {
        // What the page's own functions throw, such as `fetch`, is a failure without circumstances.
        /** @type {Circumstances} */
        const { status, _state, _retryAfter = 0, _isHandlers, _isHeaders } = error instanceof Failure ? error : /** @type {any} */ ({});
        const reason = this._request?.signal.reason;
        // The request was ended here, and did not fail.
        if (this._ended || reason === "again") continue;
        const wasDenied = this.#denied;
        this.#denied = status === 401 || status === 403 ? status : undefined;
        if (status === 401 && !wasDenied && isFunction(this._settings.headers)) continue;
        const isOnline = status || _isHandlers || site?.navigator.onLine !== false;
        const message = isOnline ? `${/** @type {any} */ (error)?.message ?? error}` : "offline";
        const isDenied = _state === "denied";
        if (_state && !isDenied) return this._stop({ state: _state, status, message });
        if (secondsSince(since) > MAX_CUT_S) failures = this.#cuts = 0;
        else if (!_isHandlers && !_isHeaders && !_retryAfter && (this.#isBare || secondsSince(since) > MIN_CUT_S)) this.#cuts++;
        if (this.#cuts >= MAX_CUTS || (!this.#transport && reason === "no answer")) this.#downgrade();
        const [first, longest] = this._settings.pause;
        const pause = Math.max(
          Math.min(first * 2 ** failures++, isDenied ? Math.max(longest, MAX_DENIED_S) : longest) * (0.5 + Math.random()),
          _retryAfter * (1 + Math.random() / 4),
        );
        this._setState({ state: _state || "waiting", status, message, pause });
        const slept = this._sleep(pause);
        // A network that is back is no reason to come before the server's time.
        this._retryNow = _retryAfter ? undefined : this._wakeUp;
        if (await slept) failures = 0;
      }
    }
  }

  // --- By which transport ------------------------------------------------------------------------------------------------

  #downgrade() {
    this.#cuts = 0;
    this.#downgradedAt = Date.now();
    this.#transport = Math.min(this.#transport + 1, 2);
  }

  /** Reads a stream until it ends, or polls once and pauses if nothing came and the poll was not held. */
  async _attempt() {
    if (secondsSince(this.#downgradedAt) > DOWNGRADED_S) this.#transport = TRANSPORTS.indexOf(this._settings.transport);
    if (!this.#transport) return this.#stream();
    const isShort = this.#transport > 1;
    // The first poll is not held: its answer tells that all is well.
    const hold = isShort || this.state !== "live" ? 0 : this._settings.wait;
    const since = Date.now();
    const before = this._place;
    if (await this._poll(hold)) return;
    // A shared cache answers at once what it has kept, and sends the client on to another place.
    const isTooSoon = isShort || (hold && this._place === before && secondsSince(since) < MIN_HOLD_S);
    if (isTooSoon) await this._sleep(this._settings.interval * (0.75 + Math.random() / 2));
  }

  /**
   * Sends the next request.
   *
   * @param {string} accept
   * @param {number} [wait] Seconds for which the gateway may hold a poll.
   */
  #ask(accept, wait) {
    this._request = new AbortController();
    this.#wasBare = this.#isBare;
    this.#isBare = false;
    const url = withQuery(new URL(this._url), {
      topics: [...this._topics],
      last_seen: this._place,
      wait,
      // Readers of a feed ask for equal URLs, which a cache can share.
      poll: this._isFeed ? undefined : `${this._instance}.${++this.#requests}`,
      limit: this.#unreadable >= MAX_CUTS ? 1 : undefined,
    });
    return send(this._request, this._settings, url, accept, wait, this.#denied);
  }

  /** Polls once, and returns how many events came. */
  async _poll(/** @type {number} */ hold) {
    const [answer, parts] = await this.#ask("application/json", hold);
    const text = await joined(parts);
    if (!answer.ok) throw problem(answer, text);
    const batch = this.#batch(answer, text);
    this._setState({ state: "live" });
    await this._receive(batch);
    return batch.events.length;
  }

  /**
   * Reads the answer of a poll. An answer that cannot be read is asked for again, at last with one event. If that event cannot
   * be read, it is passed over, because it would hold up all that follow.
   *
   * @param {Response} answer
   * @param {string} text
   * @returns {Batch}
   */
  #batch(answer, text) {
    const token = answer.headers.get("Last-Seen");
    const moved = { events: [], last_seen: isToken(token) ? token : this._place };
    if (answer.status === 204) return moved;
    const batch = parseJson(text);
    if (batch?.events?.every?.(isEvent) && isToken(batch.last_seen)) {
      this.#unreadable = 0;
      return batch;
    }
    // A page of a proxy has neither the type nor the token.
    if (hasType(answer, /^application\/json/i) && isToken(token) && ++this.#unreadable > 2 * MAX_CUTS) {
      this.#unreadable = 0;
      return { ...moved, reset: true };
    }
    throw failure("the answer is no batch");
  }

  /** Reads a stream until it ends, and then waits for as long as the gateway asked. */
  async #stream() {
    const [answer, parts] = await this.#ask("text/event-stream");
    if (!hasType(answer, /^text\/event-stream/i)) {
      const text = await joined(parts);
      if (answer.ok || answer.status === 406) return this.#downgrade();
      throw problem(answer, text);
    }
    this.#isBare = true;
    // If the last stream brought no more than a beginning, only a stream that lasts is live.
    const lasting = this.#wasBare && later(() => this._setState({ state: "live" }), MIN_CUT_S);
    /** @type {Record<string, string>} */
    let fields = {};
    let beginning = 0; // 1 for a comment, 2 for any other line
    let retry;
    let isExpired;
    const since = Date.now();
    try {
      for await (const line of lines(parts)) {
        if (!line) {
          const batch = parseFields(fields, this._place);
          fields = {};
          if (!batch) {
            this.#downgrade();
            throw failure("an event cannot be read");
          }
          // Comments end with an empty line, too.
          if (batch.reset || batch.last_seen !== this._place) await this._receive(batch);
          continue;
        }
        // A comment is a field without a name.
        const [, field, value] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?([^]*)/.exec(line));
        if (field === "event" && value === "replaced") throw failure("another reader came", { _state: value });
        isExpired ||= field === "event" && value === "expired";
        beginning += field ? 2 : 1;
        if (field !== "retry") {
          if (field) this.#isBare = false;
          if (!(this.#isBare && this.#wasBare)) this._setState({ state: "live" });
        }
        // Only the last line counts for now, but a comment and a retry are how a stream begins.
        retry = field === "retry" && beginning !== 3 && /^\d+$/.test(value) && Math.min(+value / 1000, MAX_RETRY_S);
        fields[field] = field === "data" && field in fields ? `${fields.data}\n${value}` : value;
      }
    } finally {
      clearTimeout(/** @type {number | undefined} */ (lasting));
    }
    if (isExpired) {
      // Another stream with the same token would end as soon.
      if (secondsSince(since) < MIN_HOLD_S) await this._sleep(MIN_HOLD_S);
      return;
    }
    if (!retry) throw failure("the stream was cut");
    if (retry >= 1) this._setState({ state: "waiting", pause: retry });
    await this._sleep(retry);
  }
}

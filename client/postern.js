// Postern's client; see README.md and postern.d.ts. The gateway serves this file as it stands, so it is one module.
//
// The page that holds the Web Lock leads: it hands each batch on over a BroadcastChannel, and moves its place, which
// confirms, when all pages have handled it. All drop what they have had, so the next leader may begin at an older place.

const KNOWN = 10_000; // events
const CUTS = 3; // until the next transport is tried, or an answer that cannot be read is asked for in another way
const CUT_MS = [1000, 60_000]; // what lasts less, or longer, was not cut for its length
const FALLEN_MS = 3_600_000; // until the first is tried again
const MAX_TIMER_MS = 2 ** 31 - 1; // a longer timer ends at once
const MAX_RETRY_S = 3600; // a longer `Retry-After` is a slip, or would keep a page from what was mended long ago
const TRANSPORTS = ["sse", "long-poll", "short-poll"];
const ENDS = { 400: "refused", 401: "denied", 403: "denied", 404: "refused", 409: "replaced" };
// A page or a worker. A server has no address of its own to resolve others by.
const site = globalThis.location && globalThis;

/** Reads the mailbox of a client. */
export function mailbox(url, options) {
  const { client, topics, ...rest } = checked("mailbox", options, { client: ANYTHING, topics: ANYTHING });
  check("client", client, CLIENT, isClient);
  return new Reader(url, `clients/${client}`, patterns(topics ?? []), { transport: "long-poll", ...rest });
}

/** Follows a topic or a pattern. */
export function feed(url, topic, options) {
  check("topic", topic, `one pattern: ${WORDS}; several need a mailbox`, isPattern);
  const given = checked("feed", options, { fold: ["latest", (value) => value === "latest"] });
  return new Reader(url, `topics/${encodeURIComponent(topic)}`, [], { transport: "sse", ...given });
}

// --- Arguments --------------------------------------------------------------------------------------------------------

const isString = (value) => typeof value === "string";
const isFunction = (value) => typeof value === "function";
const isToken = (value) => isString(value) && /^[\w.~-]{1,128}$/.test(value);
const isPattern = (value) => isString(value) && /^([\w-]+|[*#])(\.([\w-]+|[*#]))*$/.test(value);
const isAbove0 = (value) => typeof value === "number" && value > 0;

const isClient = (value) => isToken(value) && value !== "." && value !== "..";

// Each option: its right values in words, a test for them, and the default.
const ANYTHING = ["", () => true];
const CLIENT = `1 to 128 of A-Z a-z 0-9 . _ ~ -, not "." or ".."`;
const WORDS = "words of A-Z a-z 0-9 _ - or * or #, joined by dots";
const seconds = (usual) => ["a number of seconds above 0", isAbove0, usual];
const upTo = (last) => [`a whole number from 1 to ${last}`, (value) => Number.isInteger(value) && value > 0 && value <= last];
const having = (...names) => [
  `null or an object with ${names.join(" and ")}`,
  (value) => value === null || names.every((name) => isFunction(value[name])),
];
const OPTIONS = {
  signal: having("addEventListener"),
  transport: [TRANSPORTS.join(" or "), (value) => TRANSPORTS.includes(value)],
  lastSeen: ["a token of the gateway", (value) => value === null || isToken(value)],
  limit: upTo(500),
  storage: having("getItem", "setItem"),
  locks: [...having("request"), site?.navigator.locks],
  headers: ["an object of strings, or a function that gives one", (value) => isFunction(value) || plain(value)],
  fetch: ["a function", isFunction],
  wait: [...upTo(55), 25],
  silence: seconds(20),
  interval: seconds(5),
  patience: ["a number of seconds", (value) => value === 0 || isAbove0(value), 5],
  pause: [
    "two numbers of seconds above 0, [first, longest]",
    (value) => value.length === 2 && value.every(isAbove0) && value[0] <= value[1],
    [0.5, 15],
  ],
};

/** Throws an error that names the right values unless the value is one. */
function check(name, value, what, isRight) {
  let cause;
  try {
    if (isRight(value)) return;
  } catch (error) {
    cause = error;
  }
  const shown = isString(value) ? `"${value}"` : value instanceof Object ? value.constructor.name : value;
  const hint = value === undefined ? "; wait until it is set" : "";
  const Wrong = typeof value === "number" && /number/.test(what) ? RangeError : TypeError;
  throw new Wrong(`postern: ${name} must be ${what}, but is ${shown}${hint}`, { cause });
}

/** Returns the options with their defaults. An option that is undefined counts as absent: wrappers pass on such. */
function checked(call, options, more) {
  options ??= {};
  check("options", options, "an object", (value) => typeof value === "object");
  const known = { ...OPTIONS, ...more };
  const all = {};
  for (const name in { ...known, ...options }) {
    if (!known[name]) {
      const near = Object.keys(known).find((other) => isNear(other.toLowerCase(), name.toLowerCase(), 2));
      throw new TypeError(`postern: ${call} has no option ${name}${near ? `; did you mean ${near}?` : ""}`);
    }
    const [what, isRight, usual] = known[name];
    const { [name]: value = usual } = options;
    if (value !== undefined) check(name, (all[name] = value), what, isRight);
  }
  return all;
}

/** Tells whether so many edits, or fewer, make one word another. */
const isNear = (a, b, edits) =>
  edits >= 0 &&
  (a === b ||
    isNear(a.slice(1), b.slice(1), edits - (a[0] !== b[0])) ||
    isNear(a.slice(1), b, edits - 1) ||
    isNear(a, b.slice(1), edits - 1));

function patterns(topics) {
  const list = isString(topics) ? topics.split(",") : topics?.[Symbol.iterator] ? [...topics] : [topics];
  for (const topic of list) check("topics", topic, WORDS, isPattern);
  return list;
}

/** Returns the address of the gateway, with a slash at its end. */
function addressed(url) {
  let base;
  check("url", url, "an absolute http: URL here", () => {
    // A worker that was made from a blob has the address of its page after this word.
    base = new URL((url.href ?? url).replace(/\/*$/, "/"), site?.location.href.replace(/^blob:/, ""));
    return /^http/.test(base);
  });
  return base;
}

/** Returns headers as an object; one that is undefined is not sent. */
function plain(headers) {
  const sent = new Headers(headers);
  for (const name in headers) headers[name] ?? sent.delete(name);
  return Object.fromEntries(sent);
}

// --- Answers ----------------------------------------------------------------------------------------------------------

class Failure extends Error {}

const failure = (message, more) => Object.assign(new Failure(message), more);
const later = (work, seconds) => setTimeout(work, Math.min(seconds * 1000, MAX_TIMER_MS));
const isEvent = (value) => isString(value?.id);
// What tells a repeat. An id alone could be used up by a publisher of another topic.
const named = (event) => `${event.topic} ${event.id}`;
const typed = ({ headers }, type) => type.test(headers.get("Content-Type"));

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {}
}

/** Only a problem with a status is the gateway's own. A proxy, or another server in its place, ends nothing. */
function problem(answer, text) {
  const { status, headers } = answer;
  const told = typed(answer, /^application\/problem\+json/i) && parsed(text);
  const isOurs = typeof told?.status === "number";
  const after = headers.get("Retry-After");
  const retryAfter = Math.min(+after || (Date.parse(after) - Date.now()) / 1000 || 0, MAX_RETRY_S);
  const message = (isOurs && told.detail) || `status ${status}, not from the gateway`;
  return failure(message, { status, end: isOurs && ENDS[status], retryAfter });
}

async function joined(parts) {
  let text = "";
  for await (const part of parts) text += part;
  return text;
}

/** Gives the lines of a stream; CR, LF, or both end one (WHATWG HTML, section 9.2.5). */
async function* lines(parts) {
  let rest = "";
  let isReturned;
  for await (const part of parts) {
    // The CR and the LF of one end may come in two parts.
    const text = isReturned ? part.replace(/^\n/, "") : part;
    if (part) isReturned = part.endsWith("\r");
    const complete = (rest + text).split(/\r\n?|\n/);
    rest = complete.pop();
    yield* complete;
  }
}

function withQuery(url, query) {
  for (const name in query) if (`${query[name] ?? ""}`) url.searchParams.set(name, query[name]);
  return url;
}

class Reader extends EventTarget {
  state = "connecting";
  #options;
  #url;
  #isFeed;
  #topics;
  #place; // the next last_seen
  #transport;
  #fallenAt = 0;
  #cuts = 0;
  #unread = 0; // answers in a row that could not be read
  #isBare; // nothing came on the stream but its beginning
  #wasBare; // the same of the one before
  #known = new Set();
  #begun;
  #ended;
  #request;
  #wake;
  #hurry;
  #life = new AbortController(); // ends the listeners
  #left = 0; // until when its page is, in ms
  #me = Math.random().toString(36).slice(2);
  #count = 0;
  #channel;
  #leads;
  // The leader's
  #pages = new Set();
  #shared;
  #waiting = new Set();
  #failed;
  // The others'
  #leader;
  #handled;
  #ahead = [];
  #queue = Promise.resolve();

  constructor(url, path, topics, options) {
    super();
    this.#options = options;
    const { fold, limit, lastSeen, transport, signal } = options;
    this.#url = withQuery(new URL(`${path}/events`, addressed(url)), { fold, limit });
    this.#isFeed = path[0] === "t";
    this.#topics = new Set(topics);
    const kept = this.#keep("getItem");
    this.#place = isToken(kept) ? kept : lastSeen;
    this.#transport = TRANSPORTS.indexOf(transport);
    signal?.addEventListener("abort", () => this.close(), { signal: this.#life.signal });
    if (signal?.aborted) this.close();
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest);
    if (type === "event") this.#begun ??= setTimeout(() => this.#begin());
  }

  async *[Symbol.asyncIterator]() {
    const events = [];
    let wake;
    this.addEventListener("state", () => wake?.());
    this.addEventListener("event", (notice) => {
      notice.waitUntil(new Promise((done) => events.push([notice.detail, done])));
      wake?.();
    });
    try {
      while (!this.#ended) {
        if (events.length) {
          const [event, done] = events.shift();
          yield event;
          done();
        } else await new Promise((resolve) => (wake = resolve));
      }
      if (this.#ended.message) throw failure(this.#ended.message, this.#ended);
    } finally {
      this.close();
    }
  }

  close() {
    this.#stop({ state: "closed" });
  }

  #stop(how) {
    if (this.#ended) return;
    this.#ended = how;
    if (how.message) this.#post("stop", { how });
    this.#post("bye");
    this.#say(how);
    if (how.message) this.#tell(how.state, how);
    this.#channel?.close();
    this.#channel = undefined;
    this.#request?.abort();
    this.#life.abort();
    this.#wake?.();
  }

  #say(how) {
    if ((this.#ended ?? how) !== how || (how.state === this.state && !how.pause)) return;
    this.state = how.state;
    // A request fails because its page is left, which is nothing to the others. Of a page that stays they hear as it goes on.
    if (this.#leads && !this.#ended && Date.now() > this.#left) this.#post("state", { how });
    this.#tell("state", how);
  }

  #tell(type, detail) {
    const promises = [];
    const notice = new CustomEvent(type, { detail });
    notice.waitUntil = (promise) => promises.push(promise);
    this.dispatchEvent(notice);
    return Promise.all(promises).catch((error) => {
      throw failure(`a handler failed: ${error}`, { ours: true });
    });
  }

  /** The storage may be absent, forbidden or full. */
  #keep(method, ...value) {
    try {
      const { storage = site?.localStorage } = this.#options;
      return storage?.[method](`postern ${this.#url}`, ...value);
    } catch {}
  }

  #sleep(seconds) {
    return new Promise((wake) => {
      const timer = later(wake, seconds);
      this.#wake = (why) => wake(why, clearTimeout(timer));
    });
  }

  // --- Requests -------------------------------------------------------------------------------------------------------

  async #read(turn) {
    for (let failures = 0; !this.#ended; ) {
      const since = Date.now();
      const held = () => Date.now() - since;
      try {
        if (await turn()) return;
        failures = 0;
        if (held() > CUT_MS[0]) this.#cuts = 0;
      } catch (error) {
        const { status, end, retryAfter = 0, ours } = error instanceof Failure ? error : {};
        const { reason } = this.#request.signal;
        if (this.#ended || reason === "again") continue;
        const isOnline = status || ours || site?.navigator.onLine !== false;
        const message = isOnline ? `${error?.message ?? error}` : "offline";
        if (end) return this.#stop({ state: end, status, message });
        if (held() > CUT_MS[1]) failures = this.#cuts = 0;
        else if (!ours && !retryAfter && (this.#isBare || held() > CUT_MS[0])) this.#cuts++;
        // A stream of which nothing comes is held back by a proxy.
        if (this.#cuts >= CUTS || (!this.#transport && reason === "no answer")) this.#fall();
        const [first, longest] = this.#options.pause;
        const grown = Math.min(first * 2 ** failures++, longest) * (0.5 + Math.random());
        const pause = Math.max(grown, retryAfter * (1 + Math.random() / 4));
        this.#say({ state: "waiting", status, message, pause });
        const slept = this.#sleep(pause);
        // A network that is back is no reason to come before the server's time.
        this.#hurry = retryAfter ? undefined : this.#wake;
        if (await slept) failures = 0;
      }
    }
  }

  #fall() {
    this.#transport = Math.min(this.#transport + 1, 2);
    this.#fallenAt = Date.now();
    this.#cuts = 0;
  }

  async #turn() {
    const { transport, wait, interval } = this.#options;
    if (Date.now() - this.#fallenAt > FALLEN_MS) this.#transport = TRANSPORTS.indexOf(transport);
    if (!this.#transport) return this.#stream();
    const isShort = this.#transport > 1;
    // The first poll is not held: its answer tells that all is well.
    const hold = isShort || this.state !== "live" ? 0 : wait;
    const since = Date.now();
    const came = await this.#poll(hold);
    const isTooSoon = isShort || (hold && Date.now() - since < 1000);
    if (!came && isTooSoon) await this.#sleep(interval * (0.75 + Math.random() / 2));
  }

  /** Sends a request; gives the answer, then its text in parts. */
  async *#ask(accept, wait) {
    const { headers, silence, fetch = globalThis.fetch } = this.#options;
    const request = (this.#request = new AbortController());
    this.#wasBare = this.#isBare;
    this.#isBare = false;
    const { signal } = request;
    const within = (seconds, promise) => {
      const timer = later(() => request.abort(heard ? "silence" : "no answer"), seconds);
      return promise.finally(() => clearTimeout(timer));
    };
    let heard = false;
    try {
      const poll = `${this.#me}.${++this.#count}`;
      const limit = this.#unread >= CUTS ? 1 : undefined;
      const url = withQuery(new URL(this.#url), { topics: [...this.#topics], last_seen: this.#place, wait, poll, limit });
      const own = plain((isFunction(headers) ? await headers() : headers) ?? {});
      const init = { headers: { ...own, accept }, cache: "no-store", signal };
      const answer = await within(silence + (wait ?? 0), fetch(url, init));
      yield answer;
      const body = answer.body?.getReader();
      const decoder = new TextDecoder();
      for (let part; body && !(part = await within(silence, body.read())).done; ) {
        heard = true;
        yield decoder.decode(part.value, { stream: true });
      }
    } finally {
      request.abort();
    }
  }

  async #poll(wait) {
    const parts = this.#ask("application/json", wait);
    const answer = (await parts.next()).value;
    const text = await joined(parts);
    if (!answer.ok) throw problem(answer, text);
    const batch = this.#batch(answer, text);
    this.#say({ state: "live" });
    await this.#take(batch);
    return batch.events.length;
  }

  /**
   * Reads an answer. An event that cannot be read even when it comes alone is passed over: it would hold up all that follow.
   */
  #batch(answer, text) {
    const told = answer.headers.get("Last-Seen");
    const moved = { events: [], last_seen: isToken(told) ? told : this.#place };
    if (answer.status === 204) return moved;
    const batch = parsed(text);
    if (batch?.events?.every?.(isEvent) && isToken(batch.last_seen)) {
      this.#unread = 0;
      return batch;
    }
    // A page of a proxy has neither.
    if (typed(answer, /^application\/json/i) && isToken(told) && ++this.#unread > 2 * CUTS) {
      this.#unread = 0;
      return { ...moved, reset: true };
    }
    throw failure("the answer is no batch");
  }

  async #stream() {
    const parts = this.#ask("text/event-stream");
    const answer = (await parts.next()).value;
    if (!typed(answer, /^text\/event-stream/i)) {
      const text = await joined(parts);
      if (answer.ok || answer.status === 406) return this.#fall();
      throw problem(answer, text);
    }
    this.#isBare = true;
    const live = () => this.#say({ state: "live" });
    // If the last stream brought no more than a beginning, only a stream that lasts is live.
    const lasting = this.#wasBare && later(live, CUT_MS[0] / 1000);
    let fields = {};
    let count = 0; // 1 for a comment, 2 for any other line
    let retry;
    try {
      for await (const line of lines(parts)) {
        if (!line) {
          const batch = this.#frame(fields);
          fields = {};
          if (batch.reset || batch.last_seen !== this.#place) await this.#take(batch);
          continue;
        }
        const [, field, value] = /^([^:]*):? ?([^]*)/.exec(line);
        if (field === "event" && value === "replaced") throw failure("another reader came", { end: value });
        count += field ? 2 : 1;
        if (field !== "retry") {
          if (field) this.#isBare = false;
          if (!this.#isBare || !this.#wasBare) live();
        }
        // Only the last line counts for now, but a comment and a retry are how a stream begins.
        retry = field === "retry" && count !== 3 && /^\d+$/.test(value) && Math.min(value / 1000, MAX_RETRY_S);
        fields[field] = field === "data" && field in fields ? `${fields.data}\n${value}` : value;
      }
    } finally {
      clearTimeout(lasting);
    }
    if (!retry) throw failure("the stream was cut");
    if (retry >= 1) this.#say({ state: "waiting", pause: retry });
    await this.#sleep(retry);
  }

  /** Reads the fields between two empty lines. An event that cannot be read is left to a poll, which may bring it whole. */
  #frame({ event, data, id }) {
    const moved = { events: [], reset: event === "reset", last_seen: isToken(id) ? id : this.#place };
    if (!data || (event && event !== "message")) return moved;
    const body = parsed(data);
    if (isEvent(body)) return { ...moved, events: [body] };
    if (body?.reset) return { ...moved, reset: true };
    this.#fall();
    throw failure("an event cannot be read");
  }

  // --- Events ---------------------------------------------------------------------------------------------------------

  async #take(batch) {
    await (this.#leads ? this.#share(batch) : this.#handle(batch));
    this.#place = batch.last_seen;
    if (this.#leads && this.#place) this.#keep("setItem", this.#place);
  }

  async #handle({ events, reset }) {
    if (reset) await this.#tell("reset");
    for (const event of events) {
      // In a mailbox that is not enough: different events of a foreign publisher may have the same id.
      if (this.#known.has(named(event)) && (this.#isFeed || event.redelivered)) continue;
      await this.#tell("event", event);
      if (this.#ended) throw failure("closed");
      this.#known.add(named(event));
      const [oldest] = this.#known;
      if (this.#known.size > KNOWN) this.#known.delete(oldest);
    }
  }

  async #share(batch) {
    this.#shared = { batch, place: this.#place, key: Math.random() };
    this.#post("batch", this.#shared);
    this.#waiting = new Set(this.#pages);
    this.#failed = false;
    const until = Date.now() + this.#options.patience * 1000;
    try {
      await this.#handle(batch);
      for (let left; this.#waiting.size && (left = until - Date.now()) > 0; ) await this.#sleep(left / 1000);
      if (this.#failed) throw failure("a handler failed in another page", { ours: true });
    } finally {
      for (const page of this.#waiting) this.#pages.delete(page);
      this.#shared = undefined;
    }
  }

  // --- Pages ----------------------------------------------------------------------------------------------------------

  #begin() {
    const { locks } = this.#options;
    if (this.#ended) return;
    // A closed reader leaves no listeners in its page.
    const own = { signal: this.#life.signal };
    const on = (type, work) => site?.addEventListener(type, work, own);
    on("online", () => this.#hurry?.(true));
    if (!locks) return this.#lead();
    const name = `postern ${this.#url}`;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#hello();
    // Firefox and WebKit cut the requests of a page that is left before they hide it, and WebKit refuses all others until then.
    // Meanwhile a stream that was asked for earlier may go live. A page that is not gone after a second stays.
    const leave = () => (this.#left = Date.now() + 1000);
    on("beforeunload", leave);
    on("pagehide", () => this.#post("bye", leave()));
    on("pageshow", ({ persisted }) => persisted && this.#hello());
    // A page that was told to stop leaves the lock when all have heard of it.
    const over = new Promise((done) => {
      this.addEventListener("state", () => this.#ended && setTimeout(done, this.#ended.message ? 1000 : 0));
    });
    // The browser would keep a closed reader that waits for a lock. Locks of the page take two arguments.
    const more = locks === site?.navigator.locks ? [own] : [];
    locks.request(name, ...more, () => (this.#lead(), over)).catch(() => this.#lead());
  }

  #post(type, message) {
    this.#channel?.postMessage({ type, from: this.#me, ...message });
  }

  #hello() {
    this.#post("hello", { topics: [...this.#topics] });
  }

  #welcome(to) {
    this.#post("lead", { to, place: this.#place, how: { state: this.state } });
  }

  async #lead() {
    await this.#queue;
    this.#leads = true;
    this.#welcome();
    await this.#read(() => this.#turn());
  }

  #hear({ type, from, to, how, topics = [], place, key, batch, failed }) {
    if (to && to !== this.#me) return;
    if (type === "stop") return this.#stop(how);
    if (type === "hello" || type === "done") this.#pages.add(from);
    else this.#pages.delete(from);
    const { size } = this.#topics;
    for (const topic of topics) this.#topics.add(topic);
    if (this.#leads) {
      if (this.#topics.size > size) this.#request?.abort("again");
      if (type === "hello") {
        this.#waiting.add(from);
        this.#welcome(from);
        if (this.#shared) this.#post("batch", { to: from, ...this.#shared });
      }
      if (type === "bye" || (key && key === this.#shared?.key)) {
        this.#failed ||= failed;
        this.#waiting.delete(from);
        if (this.#shared && !this.#waiting.size) this.#wake?.();
      }
    } else if (type === "lead") {
      this.#leader = from;
      if (!to) this.#hello();
      this.#say(how);
      this.#next(() => {
        // A page that asked for "now" itself would miss what came since it was told that it is live.
        if (this.#place === "now" && place) this.#place = place;
        return this.#isFeed && place !== this.#place && this.#catchUp();
      });
    } else if (from === this.#leader) {
      if (how) this.#say(how);
      if (batch) {
        this.#ahead.push(batch);
        this.#next(() => this.#follow(batch, place, key));
      }
    }
  }

  #next(work) {
    this.#queue = this.#queue.then(work);
  }

  async #follow(batch, place, key) {
    let failed;
    try {
      // A page that caught up may be ahead of the leader.
      const isOld = this.#isFeed && !batch.reset && parseInt(batch.last_seen) <= parseInt(this.#place);
      if (key !== this.#handled && !isOld) await this.#handle(batch);
      this.#handled = key;
      // Others may not have handled it, so in a mailbox it is not for this page to confirm.
      if (!isOld) this.#place = this.#isFeed ? batch.last_seen : place;
    } catch {
      failed = true;
    }
    this.#ahead.shift();
    this.#post("done", { key, failed });
  }

  /** Reads alone until it joins what the leader sent. */
  #catchUp() {
    let hold = 0;
    return this.#read(async () => {
      const [before, since] = [this.#place, Date.now()];
      const came = await this.#poll(hold);
      if (came) return this.#ahead.some(({ events }) => events.some((event) => this.#known.has(named(event))));
      // Only at the end does nothing move, or is a poll held.
      if (this.#place === before || (hold && Date.now() - since > 1700)) return true;
      hold = 2;
    });
  }
}

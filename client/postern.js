// Postern's client; see README.md and postern.d.ts.
//
// The page that holds the Web Lock leads: it hands each batch on over a BroadcastChannel, and moves its place, which
// confirms, when all pages have handled it. All drop what they have had, so the next leader may begin at an older place.

const KNOWN = 10_000; // ids
const CUTS = 3; // until the next transport is tried
const CUT_MS = [1000, 60_000]; // what lasts less, or longer, was not cut for its length
const FALLEN_MS = 3_600_000; // until the first is tried again
const TRANSPORTS = ["sse", "long-poll", "short-poll"];
const DEFAULTS = { wait: 25, silence: 20, interval: 5, patience: 5, pause: [0.5, 15] };
const page = globalThis.document && globalThis;

/** Reads the mailbox of a client. */
export const mailbox = (url, { client, ...options }) => new Reader(url, `clients/${client}`, "long-poll", options);

/** Follows a topic or a pattern. */
export const feed = (url, topic, options) => new Reader(url, `topics/${encodeURIComponent(topic)}`, "sse", options);

const failure = (message, more) => Object.assign(new Error(message), more);

function problem({ status, headers }, text) {
  let detail;
  try {
    detail = JSON.parse(text).detail;
  } catch {}
  const refused = detail && "refused";
  const end = { 400: refused, 401: "denied", 403: "denied", 404: refused, 409: "replaced" }[status];
  const after = headers.get("Retry-After");
  const retryAfter = +after || (Date.parse(after) - Date.now()) / 1000 || 0;
  return failure(detail ?? `status ${status}`, { status, end, retryAfter });
}

async function whole(parts) {
  let text = "";
  for await (const part of parts) text += part;
  return text;
}

function withQuery(url, query) {
  for (const [name, value] of Object.entries(query)) if (`${value ?? ""}`) url.searchParams.set(name, value);
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
  #known = new Set();
  #begun;
  #ended;
  #request;
  #wake;
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

  constructor(url, path, transport, options = {}) {
    super();
    this.#options = { transport, locks: page?.navigator.locks, ...DEFAULTS, ...options };
    const { fold, limit, lastSeen, topics = [], signal } = this.#options;
    const base = new URL(url.replace(/\/*$/, "/"), page?.location.href);
    this.#url = withQuery(new URL(`${path}/events`, base), { fold, limit });
    this.#isFeed = path[0] === "t";
    this.#topics = new Set(topics);
    this.#place = this.#keep("getItem") ?? lastSeen;
    this.#transport = TRANSPORTS.indexOf(this.#options.transport);
    signal?.addEventListener("abort", () => this.close());
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
    this.#wake?.();
  }

  #say(how) {
    if (how.state === this.state && !how.pause) return;
    this.state = how.state;
    if (this.#leads && !this.#ended) this.#post("state", { how });
    this.#tell("state", how);
  }

  #tell(type, detail) {
    const promises = [];
    const waitUntil = (promise) => promises.push(promise);
    this.dispatchEvent(Object.assign(new CustomEvent(type, { detail }), { waitUntil }));
    return Promise.all(promises).catch((error) => {
      throw failure(`a handler failed: ${error}`, { ours: true });
    });
  }

  /** The storage may be absent, forbidden or full. */
  #keep(method, ...value) {
    try {
      const { storage = page?.localStorage } = this.#options;
      return storage?.[method](`postern ${this.#url}`, ...value) ?? undefined;
    } catch {}
  }

  #sleep(seconds) {
    return new Promise((wake) => {
      const timer = setTimeout(wake, seconds * 1000);
      this.#wake = () => wake(clearTimeout(timer));
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
        const { message = error, status, end, retryAfter = 0, ours } = error;
        const { reason } = this.#request.signal;
        if (this.#ended || reason === "again") continue;
        if (end) return this.#stop({ state: end, status, message });
        if (held() > CUT_MS[1]) failures = 0;
        else if (!ours && !retryAfter && held() > CUT_MS[0]) this.#cuts++;
        // A stream of which nothing comes is held back by a proxy.
        if (this.#cuts >= CUTS || (!this.#transport && reason === "no answer")) this.#fall();
        const [first, longest] = this.#options.pause;
        const grown = Math.min(first * 2 ** failures++, longest) * (0.5 + Math.random());
        const pause = Math.max(grown, retryAfter * (1 + Math.random() / 4));
        this.#say({ state: "waiting", status, message, pause });
        await this.#sleep(pause);
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
    const { signal } = request;
    const within = (seconds, promise) => {
      const timer = setTimeout(() => request.abort(heard ? "silence" : "no answer"), seconds * 1000);
      return promise.finally(() => clearTimeout(timer));
    };
    let heard = false;
    try {
      const poll = `${this.#me}.${++this.#count}`;
      const url = withQuery(new URL(this.#url), { topics: [...this.#topics], last_seen: this.#place, wait, poll });
      const own = { accept, ...(await headers?.()) };
      const answer = await within(silence + (wait ?? 0), fetch(url, { headers: own, cache: "no-store", signal }));
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
    const text = await whole(parts);
    if (!answer.ok) throw problem(answer, text);
    const batch = text ? JSON.parse(text) : { events: [], last_seen: answer.headers.get("Last-Seen") ?? this.#place };
    this.#say({ state: "live" });
    await this.#take(batch);
    return batch.events.length;
  }

  async #stream() {
    const parts = this.#ask("text/event-stream");
    const answer = (await parts.next()).value;
    if (!/^text.event-stream/.test(answer.headers.get("Content-Type"))) {
      const text = await whole(parts);
      if (answer.ok || answer.status === 406) return this.#fall();
      throw problem(answer, text);
    }
    let rest = "";
    let fields = {};
    let retry;
    for await (const part of parts) {
      const lines = (rest + part).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        const [, field, value] = /^([^:]*):? ?(.*)/.exec(line);
        if (line) {
          if (field === "event" && value === "replaced") throw failure("another reader came", { end: value });
          // Only what it ends with is meant for now.
          retry = field === "retry" ? value / 1000 : this.#say({ state: "live" });
          fields[field] = field === "data" && fields.data ? `${fields.data}\n${value}` : value;
          continue;
        }
        const data = JSON.parse(fields.data || "{}");
        const reset = data.reset || fields.event === "reset";
        const batch = { events: data.id ? [data] : [], reset, last_seen: fields.id || this.#place };
        fields = {};
        if (reset || batch.last_seen !== this.#place) await this.#take(batch);
      }
    }
    if (!retry) throw failure("the stream was cut");
    if (retry >= 1) this.#say({ state: "waiting", pause: retry });
    await this.#sleep(retry);
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
      // In a mailbox an id alone tells no repeat: different events of a foreign publisher may have the same.
      if (this.#known.has(event.id) && (this.#isFeed || event.redelivered)) continue;
      await this.#tell("event", event);
      if (this.#ended) throw failure("closed");
      this.#known.add(event.id);
      if (this.#known.size > KNOWN) this.#known.delete(this.#known.values().next().value);
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
    if (!locks) return this.#lead();
    const name = `postern ${this.#url}`;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#hello();
    page?.addEventListener("pagehide", () => this.#post("bye"));
    page?.addEventListener("pageshow", ({ persisted }) => persisted && this.#hello());
    // Who was told to stop leaves the lock when all have heard of it.
    const end = (done) => this.#ended && setTimeout(done, this.#ended.message ? 1000 : 0);
    const over = new Promise((done) => this.addEventListener("state", () => end(done)));
    locks.request(name, () => (this.#lead(), over)).catch(() => this.#lead());
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
      this.#next(() => this.#isFeed && place !== this.#place && this.#catchUp());
    } else if (from === this.#leader) {
      if (type === "state") this.#say(how);
      if (type === "batch") {
        this.#ahead.push(batch);
        this.#next(() => this.#follow(batch, place, key));
      }
    }
  }

  #next(work) {
    this.#queue = this.#queue.then(work);
  }

  async #follow(batch, place, key) {
    let failed = false;
    try {
      // Whoever caught up may be ahead of the leader.
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
      if (came) return this.#ahead.some(({ events }) => events.some(({ id }) => this.#known.has(id)));
      // Only at the end does nothing move, or is a poll held.
      if (this.#place === before || (hold && Date.now() - since > 1700)) return true;
      hold = 2;
    });
  }
}

// The page is a client of the gateway like any other: it polls a mailbox of its own, puts what comes into the list, and
// confirms it only then, by the token that its next poll carries. An event that is lost in between comes again.

const WAIT_S = Math.min(Math.max(parseInt(address.get("wait")) || 25, 1), 55);
const PAUSE_MS = { first: 500, longest: 10_000 };

const tabName = (kept.client ??= `page-${random(16)}`);
let client = allowed(tabName);
const instance = random(8);
let polls = 0;
let reading = new AbortController();
let attempt = new AbortController(); // one poll, and the pause after it

const patterns = (text) => text.split(",").map((pattern) => pattern.trim()).filter(Boolean);
const wanted = () => patterns($("topics").value);

/** Reads the mailbox until it is paused, replaced, denied or refused, or begun anew. */
async function follow() {
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  $("pause").textContent = "Pause";
  blame();
  say("connecting", "Connecting");
  let live = false;
  for (let failures = 0; !signal.aborted; ) {
    attempt = new AbortController();
    const either = AbortSignal.any([signal, attempt.signal]);
    try {
      // The first poll holds nothing up: its answer tells that the mailbox is there.
      const answer = await poll(live ? WAIT_S : 0, either);
      if (answer.status === 200) await take(JSON.parse(answer.text), signal);
      else if (answer.status !== 204) throw refusal(answer);
      if (!live) await unbind(either);
      live = true;
      failures = 0;
      if (denials.events) tellDenial("events");
      if (!signal.aborted) say("live", "Live");
    } catch (error) {
      if (signal.aborted) return;
      live = false;
      if (attempt.signal.aborted) continue;
      if (error.status === 409) return say("replaced", "Replaced: another tab reads this mailbox", "Take over");
      if (error.status === 400) return refuse(error.message);
      const words = denial(error, `reading ${wanted()} in mailbox ${client}`);
      if (words) return deny(words);
      const pause = pauseAfter(++failures, error.retryAfter);
      say("retrying", `Waiting to retry: ${error.message}`, "Retry now", pause);
      await sleep(pause, either);
      if (!signal.aborted) say("connecting", `Trying again: ${error.message}`);
    }
  }
}

/** Says what the gateway refuses beside what caused it. */
function refuse(message) {
  const [, topics] = /^topics: (.*)/s.exec(message) ?? [];
  blame(topics);
  say("refused", topics ? "Stopped: see Topics" : `Stopped: ${message}`, "Retry now");
}

/** Says beside the token what the gateway denies. Only another token, or other topics, can change that. */
function deny(words) {
  tellDenial("events", words);
  say("denied", `${words.split(/[.:] /)[0]}: see Token`, "Retry now");
}

/** Reads by another token. What one user has got, and where it came to, is nothing to the next. */
function changeUser() {
  const before = client;
  client = allowed(tabName);
  $("client").textContent = client;
  if (client !== before) {
    delete kept.lastSeen;
    delete kept.bound;
    clear();
  }
}

function blame(message = "") {
  $("topics").setAttribute("aria-invalid", Boolean(message));
  $("topics-fault").textContent = $("topics-fault").title = message;
  $("topics-help").hidden = Boolean(message);
}

function poll(wait, signal) {
  const topics = wanted();
  // Bindings stay until they are taken away, so every one that may exist is written down before it is asked for.
  kept.bound = [...new Set([...patterns(kept.bound ?? ""), ...topics])].join();
  const query = new URLSearchParams({ topics, last_seen: kept.lastSeen ?? "", wait, poll: `${instance}.${++polls}` });
  return ask(`clients/${client}/events?${query}`, { within: wait + ANSWER_S, signal });
}

/** Shows a batch, then lets the next poll confirm it: both, or neither when the reading ended meanwhile. */
async function take(batch, signal) {
  await frame();
  if (signal.aborted) return;
  put(batch);
  if (!shown) keepList();
  kept.lastSeen = batch.last_seen;
}

/** Unbinds what is wanted no more, after the new topics were bound: so nothing falls between the two. */
async function unbind(signal) {
  for (const pattern of patterns(kept.bound)) {
    if (wanted().includes(pattern)) continue;
    const path = `clients/${client}/topics/${encodeURIComponent(pattern)}`;
    const answer = await ask(path, { method: "DELETE", signal });
    if (answer.status >= 500) throw refusal(answer);
    kept.bound = patterns(kept.bound).filter((other) => other !== pattern).join();
  }
}

/** Grows with each failure, is spread so that tabs do not come back in step, and is never less than asked for. */
function pauseAfter(failures, retryAfter = 0) {
  const grown = Math.min(PAUSE_MS.first * 2 ** (failures - 1), PAUSE_MS.longest);
  return Math.max(grown * (0.5 + Math.random() / 2), retryAfter * 1000);
}

function sleep(time, signal) {
  return new Promise((wake) => {
    setTimeout(wake, time);
    signal.addEventListener("abort", wake);
  });
}

function pause() {
  if ($("pause").textContent === "Resume") return follow();
  reading.abort();
  $("pause").textContent = "Resume";
  say("paused", "Paused: events wait in the mailbox");
}

/** Asks the gateway anew, in place of the poll that is held or of the pause. */
function check() {
  attempt.abort();
}

let counting;

function say(state, words, action, pause) {
  $("state").dataset.state = state;
  // A live region reads out every change; so the countdown stands beside it.
  if ($("status").textContent !== words) $("status").textContent = $("status").title = words;
  $("again").textContent = action ?? "";
  $("again").hidden = !action;
  clearInterval(counting);
  $("countdown").hidden = pause === undefined;
  if (pause === undefined) return;
  const until = performance.now() + pause;
  const count = () => {
    $("countdown").textContent = `${Math.max(0, Math.ceil((until - performance.now()) / 1000))} s`;
  };
  count();
  counting = setInterval(count, 200);
}

// The page is a client of the gateway like any other: it polls a mailbox of its own, puts what comes into the list, and
// confirms it only then, by the token that its next poll carries. Whatever goes wrong in between comes again.
//
// Text of events reaches the document as text alone; the page's policy allows nothing else.

const WAIT_S = 25;
const ROWS = 500;
// Ids by which repeats are told. Only what was unconfirmed comes again, so a few windows would do.
const KNOWN = 10_000;
const PREVIEW = 300;
const PAUSE_MS = { first: 500, longest: 10_000 };
// Above this rate, new rows do not light up: nobody could follow, and each costs the browser a repaint.
const CALM_PER_S = 10;

const $ = (id) => document.getElementById(id);
const random = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// What outlives a reload and is each tab's own. In a browser that keeps nothing it lives as long as the page.
const kept = (() => {
  try {
    return window.sessionStorage;
  } catch {
    return {};
  }
})();
const client = (kept.client ??= `page-${random(16)}`);
const terminal = (kept.terminal ??= `terminal-${random(4)}`);

// --- The list -------------------------------------------------------------------------------------------------------

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
let entries = []; // what the list shows, oldest first
let shown = false; // until then no event tells that the page is left, so the list is kept all the time
let seen = 0;
let perSecond = 0;
const known = new Set();

/** Puts the events of a batch into the list, but for those that it has had. */
function put(batch) {
  const added = batch.reset ? [{ reset: true, time: new Date().toISOString() }] : [];
  for (const event of batch.events) {
    // An id alone is no repeat: a publisher may give the same one to different events.
    if (event.redelivered && known.has(event.id)) continue;
    remember(event.id);
    added.push(event);
    seen++;
  }
  show(added, perSecond < CALM_PER_S);
}

function remember(id) {
  known.add(id);
  if (known.size > KNOWN) known.delete(known.values().next().value);
}

function show(added, lightUp) {
  const rows = document.createDocumentFragment();
  for (const entry of added.slice(-ROWS)) rows.prepend(row(entry, lightUp));
  const list = $("events");
  list.prepend(rows);
  while (list.childElementCount > ROWS) list.lastElementChild.remove();
  entries = [...entries, ...added].slice(-ROWS);
  $("empty").hidden = entries.length > 0;
  $("count").textContent = seen.toLocaleString("en");
}

function row(entry, lightUp) {
  const item = $("row").content.firstElementChild.cloneNode(true);
  const [details, summary] = [item.firstElementChild, item.querySelector("summary")];
  const [time, topic, badge, preview, id] = summary.children;
  const date = new Date(entry.time);
  time.textContent = isNaN(date) ? entry.time : clock.format(date);
  time.dateTime = time.title = entry.time;
  topic.textContent = topic.title = entry.topic ?? "";
  preview.textContent = glance(entry);
  id.textContent = entry.id ? `…${entry.id.slice(-8)}` : "";
  id.title = entry.id ?? "";
  badge.textContent = entry.reset ? "reset" : "redelivered";
  badge.hidden = !(entry.reset || entry.redelivered);
  item.classList.toggle("reset", Boolean(entry.reset));
  item.classList.toggle("new", lightUp);
  // Written when it is first looked at: a payload can have a megabyte.
  details.addEventListener("toggle", () => {
    const [, origin, payload] = details.children;
    origin.textContent = [entry.topic, entry.time, entry.id, entry.content_type].filter(Boolean).join("  ");
    payload.textContent = entry.reset ? "What comes from now on is complete again." : whole(entry, 2);
  }, { once: true });
  return item;
}

function glance(entry) {
  if (entry.reset) return "Something is gone: the mailbox expired or was deleted.";
  const start = whole(entry).slice(0, PREVIEW);
  return entry.data_base64 === undefined ? start : `${entry.content_type}, in base64: ${start}`;
}

/** Returns the payload as text: JSON, the text itself, or base64. */
function whole({ data, data_base64, content_type }, indent) {
  if (data_base64 !== undefined) return data_base64;
  return content_type === undefined ? JSON.stringify(data, null, indent) : data;
}

/** Keeps the list over a reload. */
function keepList() {
  try {
    kept.list = JSON.stringify({ entries, seen });
  } catch {
    delete kept.list; // larger than what a browser keeps
  }
}

function restoreList() {
  const list = JSON.parse(kept.list ?? "null");
  if (!list) return;
  seen = list.seen;
  for (const { id } of list.entries) remember(id);
  show(list.entries, false);
}

// --- The mailbox ----------------------------------------------------------------------------------------------------

const instance = random(8);
let polls = 0;
let reading = new AbortController();

const patterns = (text) => text.split(",").map((pattern) => pattern.trim()).filter(Boolean);
const wanted = () => patterns($("topics").value);

/** Reads the mailbox until it is paused, replaced or refused, or begun anew. */
async function follow() {
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  $("pause").textContent = "Pause";
  say("connecting", "Connecting");
  let live = false;
  for (let failures = 0; !signal.aborted; ) {
    try {
      // The first poll holds nothing up: its answer tells that the mailbox is there.
      const answer = await poll(live ? WAIT_S : 0, signal);
      if (answer.status === 200) await take(await answer.json(), signal);
      else if (answer.status !== 204) throw await problem(answer);
      if (!live) await unbind(signal);
      live = true;
      failures = 0;
      if (!signal.aborted) say("live", "Live");
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 409) return say("replaced", "Replaced: another tab reads this mailbox", "Take over");
      if (error.status === 400) return say("refused", `Stopped: ${error.message}`, "Retry now");
      live = false;
      const pause = pauseAfter(++failures, error.retryAfter);
      say("retrying", `Waiting to retry, ${Math.ceil(pause / 1000)} s: ${error.message}`, "Retry now");
      await sleep(pause, signal);
      if (!signal.aborted) say("connecting", "Connecting");
    }
  }
}

function poll(wait, signal) {
  const topics = wanted();
  // Bindings stay until they are taken away, so every one that may exist is written down before it is asked for.
  kept.bound = [...new Set([...patterns(kept.bound ?? ""), ...topics])].join();
  const query = new URLSearchParams({ topics, last_seen: kept.lastSeen ?? "", wait, poll: `${instance}.${++polls}` });
  return request(`/clients/${client}/events?${query}`, { signal, cache: "no-store" });
}

/** Shows a batch, then lets the next poll confirm it: both, or neither when the reading ended meanwhile. */
async function take(batch, signal) {
  await frame();
  if (signal.aborted) return;
  put(batch);
  if (!shown) keepList();
  kept.lastSeen = batch.last_seen;
}

/** Resolves with the next frame, so that a burst is drawn as often as the screen; at once where nothing is drawn. */
function frame() {
  return new Promise((drawn) => {
    if (document.hidden) return drawn();
    requestAnimationFrame(drawn);
    setTimeout(drawn, 100); // for a tab that is hidden just now
  });
}

/** Unbinds what is wanted no more, after the new topics were bound: so nothing falls between the two. */
async function unbind(signal) {
  for (const pattern of patterns(kept.bound)) {
    if (wanted().includes(pattern)) continue;
    const path = `/clients/${client}/topics/${encodeURIComponent(pattern)}`;
    const answer = await request(path, { method: "DELETE", signal });
    if (answer.status >= 500) throw await problem(answer);
    kept.bound = patterns(kept.bound).filter((other) => other !== pattern).join();
  }
}

async function request(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("the gateway cannot be reached");
  }
}

/** Makes an error of an answer that says what went wrong (RFC 9457). */
async function problem(answer) {
  const { detail } = await answer.json().catch(() => ({}));
  const { status } = answer;
  const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  return Object.assign(new Error(detail ?? `the gateway answers ${status}`), { status, retryAfter });
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

function say(state, words, action) {
  $("state").dataset.state = state;
  // A live region reads out every change.
  if ($("status").textContent !== words) $("status").textContent = words;
  $("again").textContent = action ?? "";
  $("again").hidden = !action;
}

// --- Figures --------------------------------------------------------------------------------------------------------

const rates = Array(60).fill(0);
let counted = { seen: 0, at: performance.now() };

function measure() {
  const now = { seen, at: performance.now() };
  rates.shift();
  rates.push(((now.seen - counted.seen) * 1000) / (now.at - counted.at));
  counted = now;
  perSecond = rates.slice(-3).reduce((sum, rate) => sum + rate) / 3;
  $("rate").textContent = perSecond.toFixed(perSecond > 0 && perSecond < 10 ? 1 : 0);
  const top = Math.max(1, ...rates);
  $("spark").setAttribute("points", rates.map((rate, x) => `${x},${19 - (18 * rate) / top}`).join(" "));
}

// --- Publishing -----------------------------------------------------------------------------------------------------

async function publish(event) {
  event.preventDefault();
  const path = `/topics/${encodeURIComponent($("topic").value)}/events`;
  try {
    // Bytes have no content type, so the gateway finds out by itself, as it does for curl.
    const answer = await request(path, { method: "POST", body: new TextEncoder().encode($("data").value) });
    if (answer.status !== 202) throw await problem(answer);
    result(`202 ${(await answer.json()).id}`);
  } catch (error) {
    result([error.status, error.message].join(" ").trim(), true);
  }
}

function result(words, failed = false) {
  $("result").textContent = words;
  $("result").classList.toggle("failed", failed);
}

// --- The terminal ---------------------------------------------------------------------------------------------------

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Writes the commands for what stands in the fields now. */
function commands() {
  const { origin } = location;
  const data = $("data").value;
  const option = data.startsWith("@") ? "--data-raw" : "-d"; // to -d, @ names a file
  const [topic, topics] = [$("topic").value, wanted()].map(encodeURIComponent);
  const poll = `${origin}/clients/${terminal}/events?topics=${topics}&wait=30`;
  $("subscribe-command").textContent = `curl ${quoted(poll)}`;
  $("publish-command").textContent = `curl ${option} ${quoted(data)} ${quoted(`${origin}/topics/${topic}/events`)}`;
  $("simulate-command").textContent = `publisher simulate --gateway ${origin}`;
}

async function copy({ currentTarget: button }) {
  const [command, label] = [$(button.dataset.copy), button.firstElementChild];
  try {
    await navigator.clipboard.writeText(command.textContent);
    label.textContent = "Copied";
  } catch {
    // Browsers have no clipboard for pages that came over plain HTTP from another machine.
    getSelection().selectAllChildren(command);
    label.textContent = "Ctrl+C";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 2000);
}

// --- Start ----------------------------------------------------------------------------------------------------------

/** Subscribes to what stands in the field. The address says it too, so that it can be passed on. */
function subscribe() {
  if (!wanted().length) $("topics").value = "#";
  const topics = $("topics").value;
  history.replaceState(null, "", topics === "#" ? "/" : `/?${new URLSearchParams({ topics })}`);
  commands();
  follow();
}

$("topics").value = new URLSearchParams(location.search).get("topics") ?? "#";
$("client").textContent = client;
$("topics").addEventListener("change", subscribe);
$("again").addEventListener("click", follow);
$("pause").addEventListener("click", pause);
$("clear").addEventListener("click", () => {
  entries = [];
  $("events").replaceChildren();
  seen = counted.seen = 0;
  show([]);
});
$("publish").addEventListener("submit", publish);
$("publish").addEventListener("input", commands);
$("data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("publish").requestSubmit();
});
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
addEventListener("pagehide", keepList);
addEventListener("pageshow", () => {
  shown = true;
  delete kept.list; // so that a crash brings back nothing old
});
setInterval(measure, 1000);
restoreList();
counted.seen = seen;
measure();
subscribe();

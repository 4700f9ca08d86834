// The view of jobs: the newest event of each topic, over the feed. It needs no mailbox, because a state replaces the one
// before. A reader is open only while the view is shown.

const JOBS = "jobs.*.status";
const CARDS = { active: 500, over: 100 };
// An active job gives its card up to another that has news of so much later.
const SILENT_MS = 60_000;
const HIDDEN = 10_000; // topics without a card that are counted
// From so many active jobs on, cards change less often and without motion.
const CALM_CARDS = 60;
const CALM_MS = 250;
const KINDS = {
  queued: ["queued", "pending", "waiting", "scheduled"],
  passed: ["passed", "succeeded", "success", "completed", "finished", "done", "ok"],
  failed: ["failed", "failure", "error", "timeout"],
  cancelled: ["cancelled", "canceled", "aborted", "skipped"],
};

const cards = { active: new Map(), over: new Map() }; // by topic, those that were heard of last at the end
const hidden = new Set(); // topics of active jobs that have no card
let dropped = 0; // cards of jobs that ended
let tally = {};
let arrived = new Map(); // since the last frame, by topic
let drawing;
let watch = new AbortController();

/** Follows the topics in the field, from the newest event of each. */
function watchJobs() {
  watch.abort();
  watch = new AbortController();
  const { signal } = watch;
  forgetJobs();
  tellFeed("connecting", "Connecting");
  let reader;
  try {
    const headers = kept.token ? bearer : undefined;
    reader = feed(base, $("job-topics").value, { fold: "latest", storage: null, headers, signal });
  } catch ({ message }) {
    return tellFeed("refused", "Stopped", message.replace(/^postern: /, ""));
  }
  reader.addEventListener("state", ({ detail }) => {
    if (signal.aborted) return;
    const { state, message } = detail;
    const words = { connecting: "Connecting", live: "Live", waiting: "Waiting to retry", closed: "Closed" };
    words.denied = "Denied: see Token";
    tellDenial("jobs", state === "denied" ? denial(detail, `reading ${$("job-topics").value}`) : "");
    tellFeed(state, words[state] ?? "Stopped", message);
  });
  reader.addEventListener("reset", forgetJobs);
  reader.addEventListener("event", ({ detail: event }) => {
    arrived.delete(event.topic);
    arrived.set(event.topic, event);
    drawing ??= nextDraw().then(drawJobs);
  });
}

async function nextDraw() {
  if (cards.active.size > CALM_CARDS) await new Promise((wake) => setTimeout(wake, CALM_MS));
  await frame();
}

function leaveJobs() {
  watch.abort();
  tellDenial("jobs");
}

function tellFeed(state, words, message = "") {
  $("feed-state").dataset.state = state;
  $("feed-state").textContent = words;
  $("feed-state").title = message;
  const fault = state === "refused" ? message.replace(/^topic( pattern)?:? /, "") : "";
  $("job-topics").setAttribute("aria-invalid", Boolean(fault));
  $("job-fault").textContent = $("job-fault").title = fault;
  $("job-help").hidden = Boolean(fault);
  $("no-jobs-words").textContent = state === "live" ? "No job has reported yet." : `${words}.`;
}

function forgetJobs() {
  arrived = new Map();
  for (const part of ["active", "over"]) {
    cards[part].clear();
    $(`${part}-jobs`).replaceChildren();
  }
  hidden.clear();
  dropped = 0;
  tally = { passed: 0, failed: 0, cancelled: 0 };
  summarize();
}

function drawJobs() {
  drawing = undefined;
  const events = [...arrived.values()];
  arrived = new Map();
  for (const event of events) drawJob(event);
  for (; cards.over.size > CARDS.over; dropped++) removeOldest("over");
  $("active-jobs").classList.toggle("calm", cards.active.size > CALM_CARDS);
  summarize();
}

function drawJob({ topic, time, data }) {
  const { state, progress } = data instanceof Object ? data : {};
  const kind = kindOf(state);
  const part = kind in tally ? "over" : "active";
  const before = cards.active.get(topic) ?? cards.over.get(topic);
  if (part === "active" && !cards.active.has(topic) && !hasRoom(time)) {
    if (hidden.size < HIDDEN) hidden.add(topic);
    return;
  }
  hidden.delete(topic);
  const card = before ?? newCard(topic);
  if (part === "over" && card.dataset.kind !== kind) tally[kind]++;
  // An active job keeps its place, so that a reader finds it again; a job that ended comes to the front of its part.
  if (!before || !cards[part].has(topic)) {
    cards.active.delete(topic);
    cards.over.delete(topic);
    if (part === "over") $("over-jobs").prepend(card);
    else $("active-jobs").append(card);
  }
  cards[part].delete(topic);
  cards[part].set(topic, card);

  const [, , word, age, track, percent] = card.children;
  card.dataset.kind = kind;
  age.dateTime = age.title = time;
  tellAge(age);
  const hasProgress = Number.isFinite(progress);
  const bounded = Math.round(Math.min(Math.max(progress, 0), 100));
  const words = state === undefined ? JSON.stringify(data ?? null).slice(0, PREVIEW) : String(state);
  // The progress of a job that passed is whole; that of the others tells where they ended.
  const isCutShort = hasProgress && part === "over" && kind !== "passed";
  word.textContent = word.title = isCutShort ? `${words} at ${bounded} %` : words;
  track.hidden = percent.hidden = !hasProgress || part === "over";
  if (track.hidden) return;
  track.setAttribute("aria-valuenow", bounded);
  track.firstElementChild.style.transform = `scaleX(${bounded / 100})`;
  percent.textContent = `${bounded} %`;
}

/** Cards that came and went with every event could not be read, so only a card without news makes room. */
function hasRoom(time) {
  if (cards.active.size < CARDS.active) return true;
  const [oldest] = cards.active.values();
  const isSilent = Date.parse(time) - Date.parse(oldest.querySelector("time").dateTime) > SILENT_MS;
  if (isSilent) removeOldest("active");
  return isSilent;
}

function removeOldest(part) {
  const [[topic, card]] = cards[part];
  cards[part].delete(topic);
  card.remove();
}

function newCard(topic) {
  const card = $("job").content.firstElementChild.cloneNode(true);
  const [, name, , , track] = card.children;
  name.textContent = name.title = topic;
  track.setAttribute("aria-label", `Progress of ${topic}`);
  return card;
}

/** Returns what kind of state a word names; any word that is not known is a state of a job that goes on. */
function kindOf(state) {
  const word = String(state).toLowerCase();
  return Object.keys(KINDS).find((kind) => KINDS[kind].includes(word)) ?? (state === undefined ? "other" : "running");
}

function summarize() {
  const count = (kind) => $("active-jobs").querySelectorAll(`[data-kind="${kind}"]`).length;
  const figures = { running: count("running"), queued: count("queued"), ...tally };
  for (const [kind, figure] of Object.entries(figures)) {
    $(`${kind}-count`).textContent = figure.toLocaleString("en");
    $(`${kind}-count`).parentElement.hidden = kind === "cancelled" && !figure;
  }
  for (const part of ["active", "over"]) {
    $(`${part}-part`).hidden = !cards[part].size;
  }
  $("active-hidden").textContent = hidden.size ? `${hidden.size.toLocaleString("en")} more are not shown` : "";
  $("over-hidden").textContent = dropped ? `${dropped.toLocaleString("en")} older ones are not shown` : "";
  $("no-jobs").hidden = cards.active.size + cards.over.size > 0;
}

/** In steps of ten seconds: figures that change all the time draw the eye from the bars. */
function tellAge(age) {
  const seconds = (Date.now() - Date.parse(age.dateTime)) / 1000;
  const steps = [[86_400, "d"], [3600, "h"], [60, "min"], [10, "s"]];
  const [size, unit] = steps.find(([size]) => seconds >= size) ?? [];
  const words = !unit ? "now" : `${Math.floor(seconds / size) * (unit === "s" ? 10 : 1)} ${unit}`;
  if (age.textContent !== words) age.textContent = words;
}

function ageJobs() {
  for (const age of document.querySelectorAll("#jobs-view time")) tellAge(age);
}

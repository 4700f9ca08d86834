// The list of events, newest first, and its figures.
//
// Text of events reaches the document as text alone; the page's policy allows nothing else.

const ROWS = 500;
// Topics and ids by which repeats are told. Only what was unconfirmed comes again, so a few windows would do.
const KNOWN = 10_000;
const PREVIEW = 300;
// Above this rate, new rows do not light up: each costs the browser a repaint, and there are too many to follow.
const CALM_PER_S = 10;

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
    // These alone tell no repeat: a publisher may give the same ones to different events.
    if (event.redelivered && known.has(nameOf(event))) continue;
    know(event);
    added.push(event);
    seen++;
  }
  show(added, perSecond < CALM_PER_S);
}

const nameOf = ({ topic, id }) => `${topic} ${id}`;

function know(event) {
  known.add(nameOf(event));
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

/** Empties the list. */
function clear() {
  entries = [];
  $("events").replaceChildren();
  seen = counted.seen = 0;
  show([]);
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
  list.entries.forEach(know);
  show(list.entries, false);
}

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

import { tell, tellOf } from "/common/reader.js";
import { feed } from "/push/client.js";

const ENDS = ["passed", "failed", "cancelled"];
const ANSWER_MS = 10_000;
const PAUSE_MS = [500, 10_000];

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});

let watch = new AbortController();

/** Follows a run until it is over, or until another one is followed. */
async function follow(id) {
  watch.abort();
  watch = new AbortController();
  const { signal } = watch;
  clear(id);
  tell("connecting");
  const known = await isKnown(id, signal);
  if (signal.aborted) return;
  if (!known) {
    $("run").hidden = true;
    $("result").textContent = `There is no run ${id}.`;
    return tell("closed", "Unknown run");
  }
  $("run").hidden = false;
  // The newest event holds all changes of its run, so it is enough: at each load, and after each loss of the connection.
  const reader = tellOf(feed("/push", `runs.${id}.status`, { fold: "latest", storage: null, signal }));
  reader.addEventListener("event", ({ detail: { data } }) => {
    show(data);
    if (ENDS.includes(data.state)) reader.close();
  });
}

/** Asks the backend whether there is such a run. "No" is an answer; whatever is no answer is tried again. */
async function isKnown(id, signal) {
  for (let [pause, longest] = PAUSE_MS; ; pause = Math.min(2 * pause, longest)) {
    const either = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const answer = await fetch(`/runs/${encodeURIComponent(id)}`, { signal: either }).catch(() => {});
    if (answer?.ok || answer?.status === 404 || signal.aborted) return answer?.ok;
    tell("waiting");
    await new Promise((wake) => setTimeout(wake, pause * (0.5 + Math.random() / 2)));
  }
}

function clear(id) {
  $("id").value = id;
  $("name").textContent = id;
  $("result").textContent = $("badge").textContent = "";
  $("run").hidden = true;
  $("empty").hidden = false;
  $("changes").replaceChildren();
  $("progress").value = 0;
  $("cancel").hidden = false;
}

function show({ state, progress, changes }) {
  $("empty").hidden = true;
  $("badge").textContent = $("badge").dataset.state = state;
  $("progress").value = progress;
  $("cancel").hidden = ENDS.includes(state);
  for (const { at, state, progress } of changes.slice($("changes").children.length)) {
    const row = document.createElement("li");
    const [time, what, percent] = ["time", "b", "span"].map((name) => row.appendChild(document.createElement(name)));
    time.dateTime = at;
    time.textContent = clock.format(new Date(at));
    what.textContent = state;
    percent.textContent = `${progress} %`;
    row.className = "new";
    $("changes").append(row);
  }
}

/** Sends a wish to the backend, and says so if it does not come true. */
async function ask(path) {
  $("result").textContent = "";
  try {
    const answer = await fetch(path, { method: "POST", signal: AbortSignal.timeout(ANSWER_MS) });
    const value = await answer.json();
    if (answer.ok) return value;
    $("result").textContent = value.detail;
  } catch {
    $("result").textContent = "The backend cannot be reached; try again.";
  }
}

/** The address names the run, so that it can be passed on, and a reload follows the same. */
function go(id) {
  if (id !== asked()) history.pushState(null, "", `/?${new URLSearchParams({ run: id })}`);
  follow(id);
}

const asked = () => new URLSearchParams(location.search).get("run");

$("watch").addEventListener("submit", (event) => {
  event.preventDefault();
  go($("id").value.trim());
});
$("start").addEventListener("click", async () => {
  const started = await ask("/runs");
  if (started) go(started.id);
});
$("cancel").addEventListener("click", () => ask(`/runs/${encodeURIComponent(asked())}/cancel`));
addEventListener("popstate", () => asked() && follow(asked()));
if (asked()) follow(asked());

// What the page does at its start and at each click.

const VIEWS = ["events", "jobs"];

/** Subscribes to what stands in the field. */
function subscribe() {
  if (!wanted().length) $("topics").value = "#";
  remember("topics", $("topics").value, "#");
  hint();
  commands();
  follow();
}

/** Takes the token in the field, and asks again for all that is shown. */
function useToken() {
  if (!takeToken()) return;
  tellDenial("events");
  changeUser();
  subscribe();
  if (!$("jobs-view").hidden) watchJobs();
}

function subscribeJobs() {
  $("job-topics").value = $("job-topics").value.trim() || JOBS;
  remember("jobs", $("job-topics").value, JOBS);
  watchJobs();
}

function view(chosen) {
  for (const name of VIEWS) {
    const isChosen = name === chosen;
    $(`${name}-tab`).setAttribute("aria-selected", isChosen);
    $(`${name}-view`).hidden = $(`${name}-tools`).hidden = !isChosen;
  }
  remember("view", chosen, VIEWS[0]);
  if (chosen === "jobs") subscribeJobs();
  else leaveJobs();
}

for (const name of VIEWS) {
  const tab = $(`${name}-tab`);
  tab.addEventListener("click", () => view(name));
  tab.addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = VIEWS.find((other) => other !== name);
    view(other);
    $(`${other}-tab`).focus();
  });
}

$("topics").value = address.get("topics") ?? "#";
$("job-topics").value = address.get("jobs") ?? JOBS;
$("client").textContent = client;
$("topics").addEventListener("change", subscribe);
$("job-topics").addEventListener("change", subscribeJobs);
$("again").addEventListener("click", follow);
$("pause").addEventListener("click", pause);
$("clear").addEventListener("click", clear);
$("token").value = kept.token ?? "";
$("access").hidden = !kept.token;
$("token").addEventListener("change", useToken);
$("publish").addEventListener("submit", publish);
$("publish").addEventListener("input", commands);
$("data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("publish").requestSubmit();
});
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
// Firefox may tell a page that it is hidden when the next one, in another process, has begun. From here on all is kept.
addEventListener("beforeunload", () => {
  shown = false;
  keepList();
});
addEventListener("pagehide", keepList);
addEventListener("pageshow", () => {
  shown = true;
  delete kept.list; // so that a crash brings back nothing old
});
// A browser can be wrong about both, for instance on a machine that has no network but its own; so the gateway is asked.
addEventListener("offline", check);
addEventListener("online", check);
setInterval(() => {
  measure();
  ageJobs();
}, 1000);
restoreList();
counted.seen = seen;
measure();
subscribe();
if (address.get("view") === "jobs") view("jobs");

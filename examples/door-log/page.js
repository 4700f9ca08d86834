import { tellOf } from "/common/reader.js";
import { feed } from "/push/client.js";

const KEEP = 200;
const ANSWER_MS = 15_000;

const $ = (id) => document.getElementById(id);
const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// --- What is kept -----------------------------------------------------------------------------------------------------

// The list, and the place in the feed up to which it goes, are kept as one value: after a reload, or a crash, neither is
// ahead of the other, so nothing is missing and nothing comes twice.
const kept = JSON.parse(localStorage.doors ?? '{"entries":[]}');
const { entries } = kept;
let isAfterGap = false;

const storage = {
  getItem: () => kept.place,
  // Called when all of a batch was handled, by the one tab that reads for all of them.
  setItem(_, place) {
    kept.place = place;
    localStorage.doors = JSON.stringify(kept);
  },
};

const maxvid = () => entries.at(-1)?.vid ?? 0;

// --- What comes -------------------------------------------------------------------------------------------------------

const reader = tellOf(feed("/push", "doors.*", { storage, lastSeen: "oldest" }));

reader.addEventListener("reset", () => (isAfterGap = true));

reader.addEventListener("event", ({ detail: { data } }) => {
  if (data.vid <= maxvid()) {
    // A repeat; or, if the gateway says that something is gone, a log that begins anew.
    if (!isAfterGap) return;
    entries.length = 0;
    $("entries").replaceChildren();
  }
  const entry = { ...data, isAfterGap: isAfterGap && entries.length > 0 };
  isAfterGap = false;
  entries.push(entry);
  if (entries.length > KEEP) entries.shift();
  show(entry).classList.add("new");
});

// --- What is shown ----------------------------------------------------------------------------------------------------

function show({ vid, doorno, rfsim, optime, ynopen, isAfterGap }) {
  const rows = $("entries");
  if (isAfterGap) {
    const cell = rows.insertRow(0).insertCell();
    cell.colSpan = 5;
    cell.textContent = "Entries between these are not kept any more.";
    cell.parentElement.className = "gap";
  }
  const row = rows.insertRow(0);
  const cells = [vid, doorno, rfsim, "", ynopen === "Y" ? "yes" : "no"].map((text) => {
    const cell = row.insertCell();
    cell.textContent = text;
    return cell;
  });
  cells[0].className = "vid";
  if (ynopen !== "Y") cells[4].className = "no";
  const [at, time, date] = [new Date(optime), document.createElement("time"), document.createElement("span")];
  time.dateTime = optime;
  date.className = "date";
  date.textContent = `${day.format(at)} `;
  time.append(date, clock.format(at));
  cells[3].append(time);
  while (rows.querySelectorAll("tr:not(.gap)").length > KEEP) rows.lastElementChild.remove();
  $("maxvid").textContent = vid;
  $("empty").hidden = true;
  return row;
}

entries.forEach(show);

// --- What a person does -----------------------------------------------------------------------------------------------

$("open").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await fetch(`/doors/${$("doorno").value}`, { method: "POST", signal: AbortSignal.timeout(ANSWER_MS) });
    const { detail } = await answer.json();
    $("result").textContent = answer.ok ? "" : detail;
  } catch {
    $("result").textContent = "The doors cannot be reached; if the card was read, its entry will come.";
  }
});

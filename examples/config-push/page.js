import { tellOf } from "/common/reader.js";
import { feed } from "/push/client.js";

const TOPIC = "config.app";
const DELETED = "application/vnd.postern.deleted";
const ANSWER_MS = 15_000;

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat("en-GB", {
  day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

// --- The content, as it changes ---------------------------------------------------------------------------------------

// At each load the newest event, which is what is in the file; then each change. A burst is folded to its newest.
const reader = tellOf(feed("/push", TOPIC, { fold: "latest", storage: null }));
let count = 0;

reader.addEventListener("event", ({ detail: { id, time, content_type: type, data, data_base64: bytes } }) => {
  const isGone = type === DELETED;
  $("time").dateTime = time;
  $("time").textContent = clock.format(new Date(time));
  $("version").textContent = id;
  $("type").textContent = isGone ? "none" : (type ?? "application/json");
  $("count").textContent = ++count;
  $("note").className = isGone ? "note gone" : "note";
  $("note").textContent = isGone ? "There is no file." : bytes === undefined ? "" : `${atob(bytes).length} bytes that are no text.`;
  $("content").hidden = isGone || bytes !== undefined;
  $("content").textContent = type === undefined ? JSON.stringify(data, null, 2) : (data ?? "");
  $("content").classList.remove("new");
  void $("content").offsetWidth; // begins the animation anew
  $("content").classList.add("new");
});

// --- What a program without the client does ---------------------------------------------------------------------------

let etag;

$("again").addEventListener("click", async () => {
  $("sent").textContent = etag ? `If-None-Match: ${etag}` : "no ETag yet";
  try {
    const answer = await fetch(`/push/topics/${TOPIC}/events?wait=0`, {
      headers: etag ? { "If-None-Match": etag } : {},
      cache: "no-store", // what is between this page and the network would answer 304 for itself, and say 200
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const { byteLength } = await answer.arrayBuffer();
    etag = answer.headers.get("ETag") ?? etag;
    $("answer").textContent = `${answer.status}, ${byteLength.toLocaleString("en")} bytes`;
    $("etag").textContent = etag ?? "–";
  } catch {
    $("answer").textContent = "none: the gateway cannot be reached";
  }
});

import { tell, tellOf } from "/common/reader.js";
import { mailbox } from "/push/client.js";

const EARLY_MS = 60_000;
const $ = (id) => document.getElementById(id);
let session;

/** Asks the page's own backend. */
async function ask(path, body) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify({ session, ...body }) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.detail);
  return value;
}

// --- The token: fetched from the backend, kept until a minute before its end --------------------------------------------

let token;
let renewAt = 0;

async function headers(denied) {
  if (denied || Date.now() > renewAt) {
    const { access_token, expires_in } = await ask("/push-token");
    token = access_token;
    renewAt = Date.now() + expires_in * 1000 - EARLY_MS;
  }
  return { authorization: `Bearer ${token}` };
}

// --- Signing in, reading, sending ---------------------------------------------------------------------------------------

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const signedIn = await ask("/sign-in", { name: $("name").value });
    session = signedIn.session;
    $("who").textContent = signedIn.name;
    $("sign-in").hidden = true;
    $("inbox").hidden = false;
    read(signedIn.name);
  } catch (error) {
    $("result").textContent = error.message;
  }
});

function read(name) {
  tell("connecting");
  // The tabs of one user share a connection, and those of two users do not.
  const reader = tellOf(mailbox("/push", { client: name, topics: [`inbox.${name}.#`], user: name, headers }));
  reader.addEventListener("event", ({ detail: { data } }) => {
    const item = document.createElement("li");
    item.textContent = `${data.from}: ${data.text}`;
    $("messages").append(item);
  });
}

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("/messages", { to: $("to").value, text: $("text").value });
    $("text").value = "";
    $("result").textContent = "";
  } catch (error) {
    $("result").textContent = error.message;
  }
});

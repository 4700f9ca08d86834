import { tell, tellOf } from "/common/reader.js";
import { feed } from "/push/client.js";

const $ = (id) => document.getElementById(id);

// --- What every page sees: the stock -----------------------------------------------------------------------------------

// At each load the newest value of each item, then what changes. A burst is folded: only its newest value is drawn.
const reader = tellOf(feed("/push", "stock.*", { fold: "latest", storage: null }));

function follow() {
  reader.addEventListener("event", ({ detail: { data } }) => {
    const row = $(data.id);
    if (!row) return;
    row.querySelector(".stock b").textContent = data.stock;
    row.querySelector(".stock").classList.toggle("out", data.stock === 0);
    draw(row);
    row.classList.remove("new");
    void row.offsetWidth; // begins the animation anew
    row.classList.add("new");
  });
}

// --- What only this tab sees: its cart --------------------------------------------------------------------------------

const cart = JSON.parse(sessionStorage.cart ?? "{}");

async function change({ currentTarget: button }) {
  const row = button.closest("li");
  const { change } = button.dataset;
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`/items/${row.id}/${change}`, { method: "POST" });
    const { detail } = await answer.json();
    if (answer.ok) {
      cart[row.id] = (cart[row.id] ?? 0) + (change === "add" ? 1 : -1);
      sessionStorage.cart = JSON.stringify(cart);
    }
    $("result").textContent = answer.ok ? "" : detail;
  } catch {
    $("result").textContent = "The shop cannot be reached; the stock tells whether it got your wish.";
  }
  button.removeAttribute("aria-busy");
  draw(row);
}

function draw(row) {
  const [mine, left] = [cart[row.id] ?? 0, row.querySelector(".stock b").textContent];
  row.querySelector(".mine b").textContent = mine;
  // Not `disabled`: that would take the focus away from a user of the keyboard.
  row.querySelector("[data-change=add]").ariaDisabled = `${!(left > 0)}`;
  row.querySelector("[data-change=remove]").ariaDisabled = `${mine === 0}`;
  $("count").textContent = Object.values(cart).reduce((sum, count) => sum + count, 0);
}

// --- Start ------------------------------------------------------------------------------------------------------------

/** Asks until there is an answer. */
async function items() {
  for (;;) {
    const answer = await fetch("/items", { signal: AbortSignal.timeout(10_000) }).catch(() => {});
    if (answer?.ok) return answer.json();
    tell("waiting");
    await new Promise((wake) => setTimeout(wake, 1000 + 1000 * Math.random()));
  }
}

async function list() {
  for (const { id, name } of await items()) {
    const row = $("item").content.cloneNode(true).firstElementChild;
    row.id = id;
    row.querySelector(".name").textContent = name;
    for (const button of row.querySelectorAll("button")) {
      button.lastElementChild.textContent = ` ${name}`;
      button.addEventListener("click", (click) => button.ariaDisabled !== "true" && change(click));
    }
    $("items").append(row);
    draw(row);
  }
}

await list();
follow();

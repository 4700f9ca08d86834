// The page's way to the gateway. Every request has a deadline: a network that drops packets ends none by itself.

const ANSWER_S = 10; // for a request that the gateway does not hold
const CONFIRM_S = 15; // the gateway itself gives up on its broker after 10 s

const $ = (id) => document.getElementById(id);
const random = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Where the gateway is: at this page's own address, which may have a prefix before it.
const base = new URL("./", location.href).href;
const address = new URLSearchParams(location.search);

// Storage that outlives a reload and is each tab's own. In a browser that keeps nothing it lives as long as the page.
const kept = (() => {
  try {
    return window.sessionStorage;
  } catch {
    return {};
  }
})();

/** Sends a request, with the token if there is one, and reads its whole answer, within so many seconds. */
async function ask(path, { within = ANSWER_S, signal, ...options } = {}) {
  const deadline = AbortSignal.timeout(within * 1000);
  const either = signal ? AbortSignal.any([signal, deadline]) : deadline;
  try {
    const headers = kept.token ? bearer() : {};
    const answer = await fetch(base + path, { ...options, headers, cache: "no-store", signal: either });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  } catch {
    const isSilent = deadline.aborted;
    throw Object.assign(new Error(`the gateway ${isSilent ? "does not answer" : "cannot be reached"}`), { isSilent });
  }
}

/** Makes an error of an answer that says what went wrong (RFC 9457). */
function refusal({ status, headers, text }) {
  let detail;
  try {
    ({ detail } = JSON.parse(text));
  } catch {
    // An answer of a proxy need not be JSON.
  }
  const retryAfter = Number(headers.get("Retry-After")) || 0;
  return Object.assign(new Error(detail ?? `the gateway answers ${status}`), { status, retryAfter });
}

/** Writes into the address what differs from the page as it is at first, so that the address can be passed on. */
function remember(parameter, value, usual) {
  if (value === usual) address.delete(parameter);
  else address.set(parameter, value);
  history.replaceState(null, "", address.size ? `?${address}` : location.pathname);
}

/** Resolves with the next frame, so that a burst is drawn as often as the screen; at once where nothing is drawn. */
function frame() {
  return new Promise((drawn) => {
    if (document.hidden) return drawn();
    requestAnimationFrame(drawn);
    setTimeout(drawn, 100); // for a tab that is hidden just now
  });
}

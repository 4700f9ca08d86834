// Tells in words, in the element #state, how a reader of the gateway is doing.

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  waiting: "No connection, trying again",
  replaced: "Replaced: another page reads this",
  denied: "Signed out",
  refused: "Refused",
  closed: "Ended",
};

export function tell(state, words = WORDS[state]) {
  const place = document.getElementById("state");
  place.dataset.state = state;
  // A live region reads out every change.
  if (place.textContent !== words) place.textContent = words;
}

export function tellOf(reader) {
  tell(reader.state);
  reader.addEventListener("state", ({ detail: { state, message } }) => {
    tell(state, state === "refused" ? `Refused: ${message}` : undefined);
  });
  return reader;
}

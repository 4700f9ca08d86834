// The form that publishes, and the commands that do the same.

const terminal = () => allowed((kept.terminal ??= `terminal-${random(4)}`));

async function publish(event) {
  event.preventDefault();
  const topic = $("topic").value;
  try {
    // Bytes have no content type, so the gateway finds out by itself, as it does for curl.
    const body = new TextEncoder().encode($("data").value);
    const answer = await ask(`topics/${encodeURIComponent(topic)}/events`, { method: "POST", body, within: CONFIRM_S });
    if (answer.status !== 202) throw refusal(answer);
    result(`202 ${JSON.parse(answer.text).id}`);
    const isOutside = !wanted().some((pattern) => matches(pattern.split("."), topic.split(".")));
    hint(isOutside ? `Not in the list, whose topics are ${wanted().join(", ")}` : "");
  } catch (error) {
    const doubt = error.isSilent ? "; the event may have been stored" : "";
    const words = denial(error, `publishing to ${topic}`);
    if (words) $("access").hidden = false;
    result(`${error.status ?? ""} ${words ?? error.message}${doubt}`.trim(), true);
  }
}

function result(words, failed = false) {
  $("result").textContent = words;
  $("result").classList.toggle("failed", failed);
  hint();
}

/** Says beside the answer, and in an empty list, why a published event is not in the list. */
function hint(words = "") {
  $("hint").textContent = words;
  $("empty-hint").textContent = words && "The event that you published is outside of these topics.";
  $("empty-help").hidden = Boolean(words);
}

/** Tells whether a pattern stands for a topic: `*` is one word, `#` any number of words. */
function matches([word, ...pattern], topic) {
  if (word === undefined) return !topic.length;
  if (word === "#") return topic.some((_, n) => matches(pattern, topic.slice(n))) || matches(pattern, []);
  return topic.length > 0 && (word === "*" || word === topic[0]) && matches(pattern, topic.slice(1));
}

// --- Commands -------------------------------------------------------------------------------------------------------

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Writes the commands for what stands in the fields now. */
function commands() {
  const data = $("data").value;
  const option = data.startsWith("@") ? "--data-raw" : "-d"; // to -d, @ names a file
  const [topic, topics] = [$("topic").value, wanted()].map(encodeURIComponent);
  const poll = `${base}clients/${terminal()}/events?topics=${topics}&wait=30`;
  // The token itself would stay in the shell's history.
  const curl = kept.token ? 'curl -H "Authorization: Bearer $TOKEN"' : "curl";
  $("token-note").hidden = !kept.token;
  write("subscribe-command", `${curl} ${quoted(poll)}`);
  write("publish-command", `${curl} ${option} ${quoted(data)} ${quoted(`${base}topics/${topic}/events`)}`);
  // The publisher speaks no TLS. Without an address it means port 8080 of the machine that it runs on.
  const hasTls = location.protocol === "https:";
  const arguments_ = `simulate${hasTls ? "" : ` --gateway ${/^[\w:/.~[\]-]*$/.test(base) ? base : quoted(base)}`}`;
  write("simulate-command", `cargo run --release -p publisher -- ${arguments_}`);
  write("jobs-command", `cargo run --release -p publisher -- ${arguments_}`);
  write("installed-command", `publisher ${arguments_}`);
  $("tls-note").hidden = !hasTls;
}

/** A line breaks before or after what separates the parts of a command, and inside a part only if that alone is too long. */
function write(id, command) {
  const parts = command.split(/(?<= |[^/]\/)(?![ /])|(?=[?&])/);
  $(id).replaceChildren(...parts.flatMap((part) => {
    const span = document.createElement("span");
    span.textContent = part;
    span.className = part.length > 36 ? "" : "part";
    return [span, document.createElement("wbr")];
  }));
}

async function copy({ currentTarget: button }) {
  const [command, label] = [$(button.dataset.copy), button.firstElementChild];
  try {
    await navigator.clipboard.writeText(command.textContent);
    label.textContent = "Copied";
  } catch {
    // Browsers have no clipboard for pages that came over plain HTTP from another machine.
    getSelection().selectAllChildren(command);
    label.textContent = "Ctrl+C";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 2000);
}

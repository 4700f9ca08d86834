// The token, for a gateway that asks for one. It stays in this tab's storage, and goes into a header, never into an
// address, where logs and histories would keep it. Its field is shown once the gateway has asked.

const PASTE = "Paste one that the application's backend has signed.";

// What the gateway denied last, to each part of the page that asks it.
const denials = { events: "", jobs: "" };

function bearer() {
  return { authorization: `Bearer ${kept.token}` };
}

/** Says what a 401 or a 403 means, and then what to do; says nothing of any other answer. */
function denial({ status, message }, doing) {
  if (status === 401 && !kept.token) return `The gateway asks for a token. ${PASTE}`;
  if (status === 401) return `The gateway does not take this token: ${message.replace(/^token: /, "")}. ${PASTE}`;
  if (status !== 403) return;
  if (!kept.token) return `The gateway does not allow ${doing} without a token: ${message}. ${PASTE}`;
  return `This token does not allow ${doing}: ${message}. Use one that does.`;
}

/** Shows the field, and beside it what the gateway denied. */
function tellDenial(part, words = "") {
  denials[part] = words;
  const fault = denials.events || denials.jobs;
  if (fault) $("access").hidden = false;
  $("token").setAttribute("aria-invalid", Boolean(fault));
  $("token-fault").textContent = $("token-fault").title = fault;
  $("token-help").hidden = Boolean(fault);
}

/** Takes what stands in the field. Returns whether it can be sent. */
function takeToken() {
  const token = $("token").value.trim().replace(/^bearer\s+/i, "");
  // RFC 6750, section 2.1.
  const isToken = /^[\w.~+/-]*=*$/.test(token);
  if (!isToken) tellDenial("events", "A token has only letters, digits and - . _ ~ + / =");
  else if (token) kept.token = token;
  else delete kept.token;
  return isToken;
}

/**
 * Returns the name of a mailbox that the token allows: below its subject, or below the first prefix in its list. A token
 * that cannot be read here changes nothing, and the gateway decides anyway.
 */
function allowed(name) {
  let claims;
  try {
    const [, payload] = kept.token.replaceAll("-", "+").replaceAll("_", "/").split(".");
    claims = JSON.parse(atob(payload));
  } catch {
    return name;
  }
  const { sub, postern } = claims ?? {};
  // A list stands in place of the subject.
  const isOwn = /^[\w.-]{1,80}$/.test(sub);
  const patterns = Array.isArray(postern?.clients) ? postern.clients : isOwn ? [`${sub}~*`] : [];
  const prefix = patterns.find((pattern) => /^[\w.~-]{0,80}\*$/.test(pattern))?.slice(0, -1) ?? "";
  return name.startsWith(prefix) ? name : prefix + name;
}

// The two functions of the package. They check the arguments that only one of them has. The options of both are left to
// `options.js`, and what the functions return to `reader.js`. `../postern.d.ts` documents them for users.
//
// A name that begins with `#` is for its class, and one that begins with `_` for all modules of the client. The build shortens
// both.

/** @import { FeedOptions, MailboxOptions } from "../postern.js" */
import { address } from "./address.js";
import { ANYTHING, CLIENT, PATTERN, check, complete, isClient, isPattern, patterns } from "./options.js";
import { Reader } from "./reader.js";

/**
 * Reads the mailbox of a client.
 *
 * @param {string | URL} url
 * @param {MailboxOptions} options
 */
export function mailbox(url, options) {
  const { client, topics, ...rest } = complete("mailbox", options, { client: ANYTHING, topics: ANYTHING });
  check("client", client, CLIENT, isClient);
  return new Reader(address(url, `clients/${client}/events`), patterns(topics ?? []), { transport: "long-poll", ...rest });
}

/**
 * Follows a topic or a pattern.
 *
 * @param {string | URL} url
 * @param {string} topic
 * @param {FeedOptions} [options]
 */
export function feed(url, topic, options) {
  check("topic", topic, `one pattern: ${PATTERN}; several need a mailbox`, isPattern);
  const settings = complete("feed", options, { fold: ["latest", (value) => value === "latest"] });
  return new Reader(address(url, `topics/${encodeURIComponent(topic)}/events`), undefined, { transport: "sse", ...settings });
}

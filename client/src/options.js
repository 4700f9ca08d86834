// What a caller may give, and the errors for all else: each option with its right values and its default, the names of
// clients and topics. Limits that only the gateway knows are left to its answers.

/** @import { Options, Transport } from "../postern.js" */
import { site } from "./environment.js";

/**
 * What is known of an option: its right values in words, a test for them, which may throw, and its default.
 *
 * @typedef {[words: string, isRight: (value: any) => unknown, ...usual: unknown[]]} Rule
 */

/**
 * The options, of which these have a value in any case.
 *
 * @typedef {"transport" | "wait" | "silence" | "interval" | "patience" | "pause"} Complete
 * @typedef {Omit<Options, Complete> & { [Name in Complete]-?: NonNullable<Options[Name]> } & { fold?: "latest" }} Settings
 */

/** @type {Transport[]} From the first choice to the last resort. */
export const TRANSPORTS = ["sse", "long-poll", "short-poll"];

/** @type {(value: unknown) => value is string} */
const isString = (value) => typeof value === "string";
/** @type {(value: unknown) => value is Function} */
export const isFunction = (value) => typeof value === "function";
/** @type {(value: unknown) => value is string} */
export const isToken = (value) => isString(value) && /^[\w.~-]{1,128}$/.test(value);
/** @type {(value: unknown) => boolean} */
export const isPattern = (value) => isString(value) && /^([\w-]+|[*#])(\.([\w-]+|[*#]))*$/.test(value);
/** @type {(value: unknown) => boolean} */
export const isClient = (value) => isToken(value) && value !== "." && value !== "..";
/** @type {(value: unknown) => boolean} */
const isAbove0 = (value) => typeof value === "number" && value > 0;

export const CLIENT = `1 to 128 of A-Z a-z 0-9 . _ ~ -, not "." or ".."`;
export const PATTERN = "words of A-Z a-z 0-9 _ - or * or #, joined by dots";

/** @type {Rule} */
export const ANYTHING = ["", () => true];
/** @type {(usual: number) => Rule} */
const seconds = (usual) => ["a number of seconds above 0", isAbove0, usual];
/** @type {(last: number) => Rule} */
const upTo = (last) => [`a whole number from 1 to ${last}`, (value) => Number.isInteger(value) && value > 0 && value <= last];
/** @type {(...names: string[]) => Rule} */
const having = (...names) => [
  `null or an object with ${names.join(" and ")}`,
  (value) => value === null || names.every((name) => isFunction(value[name])),
];

/** @type {Record<keyof Options, Rule>} */
const RULES = {
  signal: having("addEventListener"),
  transport: [TRANSPORTS.join(" or "), (value) => TRANSPORTS.includes(value)],
  lastSeen: ["a token of the gateway", (value) => value === null || isToken(value)],
  limit: upTo(500),
  storage: having("getItem", "setItem"),
  locks: [...having("request"), site?.navigator.locks],
  // `Headers` throws an error for what is no object of names and values.
  headers: ["an object of strings, or a function that gives one", (value) => isFunction(value) || plainHeaders(value)],
  user: ["a string that is not empty", (value) => isString(value) && value],
  fetch: ["a function", isFunction],
  wait: [...upTo(55), 25],
  silence: seconds(20),
  interval: seconds(5),
  patience: ["a number of seconds", (value) => value === 0 || isAbove0(value), 5],
  pause: [
    "two numbers of seconds above 0, [first, longest]",
    (value) => value.length === 2 && value.every(isAbove0) && value[0] <= value[1],
    [0.5, 15],
  ],
};

/**
 * Throws an error that names the right values unless the value is one.
 *
 * @param {string} name
 * @param {any} value
 * @param {string} words
 * @param {(value: any) => unknown} isRight
 */
export function check(name, value, words, isRight) {
  let cause;
  try {
    if (isRight(value)) return;
  } catch (error) {
    cause = error;
  }
  const shown = isString(value) ? `"${value}"` : value instanceof Object ? value.constructor.name : value;
  const Wrong = typeof value === "number" && /number/.test(words) ? RangeError : TypeError;
  const message = `postern: ${name} must be ${words}, but is ${shown}${value === undefined ? "; wait until it is set" : ""}`;
  throw new Wrong(message, { cause });
}

/**
 * Returns the options with their defaults. An option that is undefined counts as absent, because wrappers pass on such.
 *
 * @param {string} call The name of the function whose options these are.
 * @param {any} options
 * @param {Record<string, Rule>} more The rules of that function alone.
 * @returns {any} `Settings`, but for `transport`, whose default is the caller's, and with what `more` names.
 */
export function complete(call, options, more) {
  options ??= {};
  check("options", options, "an object", (value) => typeof value === "object");
  /** @type {Record<string, Rule>} */
  const rules = { ...RULES, ...more };
  /** @type {Record<string, unknown>} */
  const all = {};
  for (const name in { ...rules, ...options }) {
    if (!rules[name]) {
      const near = Object.keys(rules).find((other) => isNear(other.toLowerCase(), name.toLowerCase(), 2));
      throw new TypeError(`postern: ${call} has no option ${name}${near ? `; did you mean ${near}?` : ""}`);
    }
    const [words, isRight, usual] = rules[name];
    const { [name]: value = usual } = options;
    if (value !== undefined) check(name, (all[name] = value), words, isRight);
  }
  // Other pages of the origin may ask for other users, and so may this one later. Unless the user is known, nothing is shared.
  if (all.headers && !all.user) for (const name of ["locks", "storage"]) all[name] = options[name] ?? null;
  return all;
}

/**
 * Tells whether so many edits, or fewer, make one word another.
 *
 * @type {(a: string, b: string, edits: number) => boolean}
 */
const isNear = (a, b, edits) =>
  edits >= 0 &&
  (a === b ||
    isNear(a.slice(1), b.slice(1), edits - /** @type {any} */ (a[0] !== b[0])) ||
    isNear(a.slice(1), b, edits - 1) ||
    isNear(a, b.slice(1), edits - 1));

/**
 * Returns the patterns that one text, one pattern or an iterable of patterns holds.
 *
 * @param {any} topics
 * @returns {string[]}
 */
export function patterns(topics) {
  const list = isString(topics) ? topics.split(",") : topics?.[Symbol.iterator] ? [...topics] : [topics];
  for (const topic of list) check("topics", topic, PATTERN, isPattern);
  return list;
}

/**
 * Returns headers as an object. A header that is undefined is not sent.
 *
 * @param {any} headers `HeaderFields`, or what has yet to be checked.
 * @returns {Record<string, string>}
 */
export function plainHeaders(headers) {
  const sent = new Headers(headers);
  for (const name in headers) headers[name] ?? sent.delete(name);
  return Object.fromEntries(sent);
}

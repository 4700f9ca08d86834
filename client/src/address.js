// The addresses of requests. What stands in a query is left to the callers.

import { site } from "./environment.js";
import { check } from "./options.js";

/**
 * Returns the address of something at a gateway.
 *
 * @param {string | URL} gateway
 * @param {string} path
 */
export function address(gateway, path) {
  /** @type {URL | undefined} */
  let base;
  check("url", gateway, "an absolute http: URL here", (url) => {
    // A worker that was made from a blob has the address of its page after this word.
    base = new URL((url.href ?? url).replace(/\/*$/, "/"), site?.location.href.replace(/^blob:/, ""));
    return /^http/.test(/** @type {any} */ (base));
  });
  return new URL(path, base);
}

/**
 * Adds the parameters that are neither empty nor undefined.
 *
 * @param {URL} url
 * @param {Record<string, any>} query
 */
export function withQuery(url, query) {
  for (const name in query) if (`${query[name] ?? ""}`) url.searchParams.set(name, query[name]);
  return url;
}

// The web server of an example: its page, its routes, and, below /push/, the gateway.
//
// This is what nginx or a framework does in your place. See README.md for why the page reaches the gateway this way.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";

import { GATEWAY } from "./gateway.js";

const COMMON = fileURLToPath(new URL("common", import.meta.url));
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const MAX_BYTES = 100_000;
// Belong to a connection and not to what is sent over it (RFC 9110, section 7.6.1).
const OF_A_CONNECTION = ["connection", "keep-alive", "transfer-encoding", "upgrade"];

/**
 * Serves an example until the process ends.
 *
 * @param page the URL of the folder that holds index.html, page.js and page.css
 * @param routes such as `{ "POST /runs/:id": ({ id }, body) => [201, { id }] }`: gives a status and a JSON value
 */
export function serve({ page, routes = {} }) {
  const folder = fileURLToPath(page);
  const server = http.createServer(async (request, response) => {
    try {
      const { pathname, search } = new URL(request.url, "http://page");
      if (pathname.startsWith("/push/")) return pass(request, response, pathname.slice("/push".length) + search);
      const [status, value] = (await route(routes, request, pathname)) ?? [404, { detail: `there is no ${pathname}` }];
      if (status !== 404 || !(await sendFile(folder, request, response, pathname))) sendJson(response, status, value);
    } catch (error) {
      const status = error.status ?? (error instanceof URIError ? 400 : 500);
      if (status === 500) console.error(error);
      sendJson(response, status, { detail: error.message });
    }
  });
  server.on("error", (error) => {
    console.error(`cannot listen: ${error.message}; PORT names another port`);
    process.exit(1);
  });
  server.listen(process.env.PORT ?? 8090, process.env.HOST ?? "127.0.0.1", () => {
    console.log(`open http://127.0.0.1:${server.address().port}/`);
  });
}

async function route(routes, request, pathname) {
  for (const [key, work] of Object.entries(routes)) {
    const [method, path] = key.split(" ");
    const [wanted, given] = [path.split("/"), pathname.split("/").map(decodeURIComponent)];
    if (method !== request.method || wanted.length !== given.length) continue;
    if (!wanted.every((word, n) => word === given[n] || word.startsWith(":"))) continue;
    const names = wanted.flatMap((word, n) => (word.startsWith(":") ? [[word.slice(1), given[n]]] : []));
    return work(Object.fromEntries(names), await json(request));
  }
}

async function json(request) {
  let text = "";
  for await (const part of request.setEncoding("utf8")) {
    text += part;
    if (text.length > MAX_BYTES) throw Object.assign(new Error("that is too much"), { status: 413 });
  }
  try {
    return text && JSON.parse(text);
  } catch {
    throw Object.assign(new Error("that is no JSON"), { status: 400 });
  }
}

function sendJson(response, status, value) {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(value));
}

/** Nothing but these names is ever sent, so no path leads out of the two folders. */
async function sendFile(folder, request, response, pathname) {
  const [, name] = /^\/(|page\.js|page\.css|common\/[a-z-]+\.(?:css|js|svg))$/.exec(pathname) ?? [];
  if (name === undefined || !["GET", "HEAD"].includes(request.method)) return false;
  const file = name.startsWith("common/") ? `${COMMON}/${name.slice("common/".length)}` : `${folder}/${name || "index.html"}`;
  const bytes = await readFile(file).catch(() => undefined);
  if (!bytes) return false;
  response.writeHead(200, {
    "content-type": `${TYPES[file.split(".").pop()]}; charset=utf-8`,
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'",
    "x-content-type-options": "nosniff",
  });
  response.end(bytes);
  return true;
}

/** Passes a request on to the gateway, and its answer back piece by piece: a stream must not wait for its end. */
function pass(request, response, path) {
  // Who may publish, or change what a mailbox gets, is for the backend to say: from a page come reads alone.
  if (request.method !== "GET") return sendJson(response, 405, { detail: "a page reads; its backend publishes" });
  const headers = without(request.headers, ["host", ...OF_A_CONNECTION]);
  const onward = http.get(new URL(GATEWAY).origin + path, { headers }, (answer) => {
    response.writeHead(answer.statusCode, without(answer.headers, OF_A_CONNECTION));
    response.flushHeaders();
    // A stream that is cut on one side is cut on the other too; that is how each notices.
    pipeline(answer, response, () => onward.destroy());
  });
  onward.on("error", () => {
    // The client takes any 5xx for what passes, and comes again.
    if (!response.headersSent) sendJson(response, 502, { detail: "the gateway cannot be reached" });
  });
  response.on("close", () => onward.destroy());
}

function without(headers, names) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}

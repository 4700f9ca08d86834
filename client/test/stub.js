// A server that does what a real gateway cannot be made to do at will.

import { once } from "node:events";
import { createServer } from "node:http";

/** Starts a server; `answer(request, response, n)` gets the n-th request, from 0, with its `query`. */
export async function stub(test, answer) {
  const requests = [];
  const server = createServer((request, response) => {
    request.query = Object.fromEntries(new URL(request.url, "http://stub").searchParams);
    request.at = performance.now();
    request.isStream = request.headers.accept.includes("text/event-stream");
    requests.push(request);
    answer(request, response, requests.length - 1);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** Answers with a batch of events whose data are these values. */
export function batch(response, last_seen, values, more) {
  const events = values.map((data) => ({ id: `id-${data}`, topic: "jobs", time: "2026-01-02T03:04:05.678Z", data, ...more }));
  response.setHeader("Content-Type", "application/json").end(JSON.stringify({ events, last_seen, ...more }));
}

/** Answers with an error. */
export function problem(response, status, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/problem+json", ...headers });
  response.end(JSON.stringify({ status, detail: `this is a ${status}` }));
}

/** Begins a stream; returns what writes a text, in pieces of so many bytes. */
export function stream(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
  return async (text, size = Infinity) => {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += size) {
      response.write(bytes.subarray(at, at + size));
      // Else pieces are joined on their way.
      if (size < bytes.length) await new Promise((wake) => setTimeout(wake, 2));
    }
  };
}

/** Returns an event as it stands on a stream. */
export const streamed = (token, data, more) =>
  `id: ${token}\ndata: ${JSON.stringify({ id: `id-${data}`, topic: "jobs", data, ...more })}\n\n`;

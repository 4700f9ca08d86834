// Stands in front of a gateway and asks for tokens, as a gateway with keys does: `Bearer NAME.N`, of which the N is what counts.

import { request as ask } from "node:http";

import { problem, stub } from "./stub.js";

const TYPES = { 401: "invalid_token", 403: "insufficient_scope" };

/**
 * Starts it. `judge(token, request)` returns the status for a request, and 200 for one that goes on to the gateway. `expire()` ends
 * what is held, as at the end of a token's life.
 */
export async function guard(test, url, judge) {
  const held = new Set();
  const server = await stub(test, (request, response) => {
    request.token = /^Bearer (.*)/.exec(request.headers.authorization)?.[1];
    const status = judge(request.token, request);
    if (status !== 200) return problem(response, status, { "WWW-Authenticate": `Bearer error="${TYPES[status]}"` });
    const { method, headers } = request;
    const onward = ask(url + request.url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers).flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", () => response.destroyed || response.headersSent || response.destroy());
    request.pipe(onward);
    const end = () => {
      if (request.isStream) response.write("event: expired\ndata: {}\nretry: 1000\n\n");
      else if (!response.headersSent) response.writeHead(204);
      onward.destroy();
      response.end();
    };
    held.add(end);
    response.on("close", () => {
      held.delete(end);
      onward.destroy();
    });
  });
  const expire = () => held.forEach((end) => end());
  return { ...server, expire };
}

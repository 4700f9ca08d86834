// Stands in front of a gateway and asks for tokens, as a gateway with keys does.

import { request as ask } from "node:http";
import { pipeline } from "node:stream";

import { problem, stub } from "./stub.js";

const TYPES = { 401: "invalid_token", 403: "insufficient_scope" };

/** Sends a request on to a gateway; returns what ends it there. */
export function forward(url, request, response) {
  const { method, headers } = request;
  const onward = ask(url + request.url, { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers).flushHeaders();
    pipeline(answer, response, () => onward.destroy());
  });
  response.on("close", () => onward.destroy());
  pipeline(request, onward, () => {});
  return onward;
}

/** Answers as a gateway does to a token that it does not take (401), or that does not allow the request (403). */
export const refuse = (response, status) =>
  problem(response, status, { "WWW-Authenticate": `Bearer error="${TYPES[status]}"` });

/** The token of a request. */
export const tokenOf = ({ headers }) => /^Bearer (.*)/.exec(headers.authorization)?.[1];

/**
 * Starts it. `judge(token)` returns the status for a request, and 200 for one that goes on to the gateway. `expire()` ends what is
 * held, as at the end of a token's life.
 */
export async function guard(test, url, judge) {
  const held = new Set();
  const server = await stub(test, (request, response) => {
    request.token = tokenOf(request);
    const status = judge(request.token);
    if (status !== 200) return refuse(response, status);
    const answer = () => {
      if (request.isStream) response.write("event: expired\ndata: {}\nretry: 1000\n\n");
      else if (!response.headersSent) response.writeHead(204);
      response.end(() => onward.destroy());
    };
    const onward = forward(url, request, response);
    held.add(answer);
    response.on("close", () => held.delete(answer));
  });
  const expire = () => held.forEach((answer) => answer());
  return { ...server, expire };
}

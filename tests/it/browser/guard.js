// A stand-in for a gateway that asks for tokens, in front of one that does not. A token's payload says what it allows:
// { sub, exp, postern: { read, publish } }, where a pattern is whole words with a # at its end. No signature is looked at.
const http = require("node:http");
const [port, gateway] = process.argv.slice(2);

const covers = (pattern, topic) => pattern === topic || pattern === "#" || topic.startsWith(pattern.replace(/#$/, ""));

/** Returns what is wrong with a request: a status, an error and a detail. */
function judge({ method, url, headers }) {
  const { pathname, searchParams } = new URL(url, "http://gateway");
  if (pathname === "/" || pathname === "/client.js") return;
  const [, token] = /^Bearer (.*)/.exec(headers.authorization) ?? [];
  if (!token) return [401, "invalid_token", "no token"];
  let claims;
  try {
    claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  } catch {
    return [401, "invalid_token", "the token is malformed"];
  }
  if (claims.exp < Date.now() / 1000) return [401, "invalid_token", "the token has expired"];
  const { read = [], publish = [] } = claims.postern ?? {};
  const [, kind, name] = pathname.split("/").map(decodeURIComponent);
  const isPublish = method === "POST";
  if (kind === "clients" && name.split("~")[0] !== claims.sub) return [403, "insufficient_scope", `client: "${name}" is not covered`];
  const topics = kind === "topics" ? [name] : (searchParams.get("topics") ?? "").split(",").filter(Boolean);
  const missing = topics.find((topic) => !(isPublish ? publish : read).some((pattern) => covers(pattern, topic)));
  if (missing) return [403, "insufficient_scope", `topic: "${missing}" is not covered`];
}

const server = http.createServer((request, response) => {
  const [status, error, detail] = judge(request) ?? [];
  if (status) {
    response.writeHead(status, {
      "content-type": "application/problem+json",
      "www-authenticate": `Bearer error="${error}"`,
    });
    return response.end(JSON.stringify({ title: error, status, detail }));
  }
  const { method, headers, url } = request;
  const onward = http.request({ host: "127.0.0.1", port: gateway, path: url, method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
  });
  onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  request.pipe(onward);
  response.on("close", () => onward.destroy());
});
server.listen(port, "127.0.0.1");

// A web server that has a site of its own, and the gateway below /push/. The same in nginx:
// location /push/ { proxy_pass http://gateway/; proxy_buffering off; }
const http = require("node:http");
const [port, gateway] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  if (!request.url.startsWith("/push/")) return response.writeHead(404).end("the site");
  const { method, headers, url } = request;
  const path = url.slice("/push".length);
  const onward = http.request({ host: "127.0.0.1", port: gateway, path, method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
  });
  onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  request.pipe(onward);
  response.on("close", () => onward.destroy());
});
server.listen(port, "127.0.0.1");

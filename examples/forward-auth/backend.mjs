// Tells a proxy whether the session of a request may read what it asks for: 204, 401 or 403.
import { createServer } from "node:http";

const sessions = new Map([["a-secret-of-alice", { user: "alice", topics: ["jobs.#", "news"] }]]); // yours: a table, …
const allowed = /^((topics|last_seen|wait|limit|poll|fold)=[\w.~*,%-]*(&|$))*$/; // names as they are

function answer(cookies, client, topic, query) {
  const session = sessions.get(/(?:^|; )session=([^;]*)/.exec(cookies)?.[1]);
  if (!session) return 401;
  const named = [...query.matchAll(/(?:^|&)topics=([^&]*)/g)].map((match) => match[1]);
  const topics = [...named, topic].filter(Boolean).flatMap((text) => decodeURIComponent(text).split(","));
  const mayRead = allowed.test(query) && topics.every((topic) => session.topics.includes(topic));
  return mayRead && (client === session.user || (topic && !client)) ? 204 : 403;
}

createServer(({ headers }, response) => {
  // Set by the proxy, never by a client.
  const [client, topic, query] = ["client", "topic", "query"].map((name) => headers[`x-postern-${name}`] ?? "");
  try {
    response.statusCode = answer(headers.cookie ?? "", client, topic, query);
  } catch {
    response.statusCode = 403; // what is no UTF-8 in an encoded topic
  }
  response.end();
}).listen(Number(process.env.PORT ?? 9000), "127.0.0.1");

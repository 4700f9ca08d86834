"""Tells a proxy whether the session of a request may read what it asks for: 204, 401 or 403."""
import http.cookies, http.server, os, re, urllib.parse

SESSIONS = {"a-secret-of-alice": {"user": "alice", "topics": {"jobs.#", "news"}}}  # yours: a table, a signed cookie, …
QUERY = re.compile(r"((topics|last_seen|wait|limit|poll|fold)=[\w.~*,%-]*(&|$))*", re.ASCII)  # names as they are


class Backend(http.server.BaseHTTPRequestHandler):
    def answer(self, client, topic, query):
        cookie = http.cookies.SimpleCookie(self.headers.get("Cookie", "")).get("session")
        session = SESSIONS.get(cookie.value) if cookie else None
        if session is None:
            return 401
        named = re.findall(r"(?:^|&)topics=([^&]*)", query)
        asked = [urllib.parse.unquote(text) for text in named + [topic] if text]
        topics = {one for text in asked for one in text.split(",")}
        may_read = QUERY.fullmatch(query) and topics <= session["topics"]
        return 204 if may_read and (client == session["user"] or (topic and not client)) else 403

    def do_GET(self):
        names = ("X-Postern-Client", "X-Postern-Topic", "X-Postern-Query")  # set by the proxy, never by a client
        self.send_response(self.answer(*(self.headers.get(name, "") for name in names)))
        self.end_headers()


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 9000))), Backend).serve_forever()

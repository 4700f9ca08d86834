# Varnish 6.0 or newer in front of several gateways with --feed-cache: the polls of a feed that wait at one place are one poll at a
# gateway. Replace gateway1 and gateway2. tests/it/feed_cache.rs runs this file; docs/src/feed-cache.md says why it is as it is.
# Start it with -p thread_queue_limit=20000, or as many as watchers may come at once: of a crowd that an event sends back at the same
# moment, it closes the connections of all that find no thread, but for 20.
# Two parameters stay between 55 s and 75 s, as their defaults are: pipe_timeout and backend_idle_timeout.
vcl 4.1;

import directors;

backend gateway1 { .host = "gateway1"; .port = "8080"; .connect_timeout = 1s; .first_byte_timeout = 75s; }
backend gateway2 { .host = "gateway2"; .port = "8080"; .connect_timeout = 1s; .first_byte_timeout = 75s; }

sub vcl_init {
    new gateways = directors.round_robin();
    gateways.add_backend(gateway1);
    gateways.add_backend(gateway2);
}

sub vcl_recv {
    if (req.url ~ "^/(metrics|live|ready)(\?|$)") {
        return (synth(404));
    }
    set req.backend_hint = gateways.backend();
    set req.http.X-Request-Id = req.xid;
    if (req.method != "GET" || req.url !~ "/events(\?|$)") {
        return (pass);
    }
    # What is for one client goes on as it came: mailboxes, streams, credentials, a place in a header, and fold=latest.
    # A site whose other cookies reach this path, and whose gateways take no token from one, unsets req.http.Cookie before.
    if (req.url !~ "^/topics/" || req.http.Accept ~ "(?i)text/event-stream" || req.http.Authorization || req.http.Cookie ||
        req.http.Last-Event-ID || req.http.If-None-Match || req.url ~ "[?&]fold=") {
        return (pipe);                         # pass would not pass a hang-up on
    }
    set req.http.Accept = "application/json";  # one copy for all clients that take it, however they say so
    return (hash);
}

sub vcl_backend_fetch {
    set bereq.backend = gateways.backend();    # another one at each retry
}

sub vcl_backend_response {
    if (beresp.status == 503 && bereq.method == "GET" && bereq.retries < 2) {
        return (retry);                        # a gateway that shuts down; the other may take it
    }
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.http.Cache-Control ~ "s-maxage") {
        unset beresp.http.X-Request-Id;        # that of the first request
        return (deliver);
    }
    # Each of the others that wait for this URL asks on its own, but only within a second: for longer (Varnish's own is two
    # minutes) one error would be the end of sharing. A 503 is for all of them, so that they do not all ask at once.
    set beresp.ttl = 1s;
    set beresp.uncacheable = beresp.status != 503;
    return (deliver);
}

sub vcl_backend_error {
    if (bereq.method == "GET" && bereq.retries < 2) {
        return (retry);                        # a gateway that was killed, or cannot be reached
    }
    set beresp.http.Retry-After = "1";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Content-Type = "text/plain";
    set beresp.body = "no gateway can be reached" + {"
"};
    return (deliver);
}

sub vcl_deliver {
    if (!resp.http.X-Request-Id) {
        set resp.http.X-Request-Id = req.xid;
    }
}

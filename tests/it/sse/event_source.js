// A page without a library: one EventSource on each row, which dies at random and begins anew where the last one was, by
// `last_seen` in its URL. In between it reconnects by itself, with `Last-Event-ID`.
window.readers = [["/clients/alice/events?topics=a", ""], ["/topics/a/events", "oldest"]].map(([path, first]) => {
  const reader = { seen: [], unmarked: [], others: [], deaths: 0 };
  let lastSeen = first;
  const begin = () => {
    const source = new EventSource(`${path}${path.includes("?") ? "&" : "?"}last_seen=${lastSeen}`);
    source.onmessage = ({ data, lastEventId }) => {
      const event = JSON.parse(data);
      lastSeen = lastEventId;
      if (!reader.seen.includes(event.data.n)) reader.seen.push(event.data.n);
      else if (!event.redelivered) reader.unmarked.push(event.data.n);
    };
    for (const kind of ["reset", "replaced"]) source.addEventListener(kind, () => reader.others.push(kind));
    // Given up for good: a browser does that on any status but 200.
    source.onerror = () => source.readyState === EventSource.CLOSED && reader.others.push("closed");
    if (reader.deaths === 200) return;
    // Not at once: the request of the next one could overtake that of this one, and would then be displaced by it.
    setTimeout(() => {
      source.close();
      reader.deaths += 1;
      begin();
    }, 20 + Math.random() * 80);
  };
  begin();
  return reader;
});

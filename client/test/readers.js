// What tests do with readers.

/** Closes a reader after the test, and keeps what it gives: `values` and `states`. */
export function recorded(test, reader) {
  test.after(() => reader.close());
  const seen = { reader, values: [], states: [], resets: 0 };
  reader.addEventListener("state", ({ detail }) => seen.states.push(detail));
  reader.addEventListener("reset", () => seen.resets++);
  reader.addEventListener("event", ({ detail }) => seen.values.push(detail.data));
  return seen;
}

/** A storage in memory. */
export class Shelf {
  map = new Map();
  getItem(key) {
    return this.map.get(key) ?? null;
  }
  setItem(key, value) {
    this.map.set(key, value);
  }
}

/** Web Locks for readers of one process that play pages. */
export class Locks {
  #last = new Map();
  request(name, work) {
    const result = (this.#last.get(name) ?? Promise.resolve()).then(work);
    this.#last.set(name, result.catch(() => {}));
    return result;
  }
}

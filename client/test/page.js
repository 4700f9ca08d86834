// A page that can crash, for pages.test.js; does nothing else.

import { isMainThread, parentPort, workerData } from "node:worker_threads";

import { feed, mailbox } from "../postern.js";

if (!isMainThread) {
  const { url, kind, script } = workerData;
  const locks = {
    request(lock, work) {
      parentPort.postMessage({ lock });
      return new Promise((granted) => parentPort.once("message", granted)).then(work);
    },
  };
  const reader = kind === "feed" ? feed(url, "jobs", { locks, lastSeen: "oldest" }) : mailbox(url, { client: "alice", locks });
  const handle = new Function("notice", "detail", script);
  reader.addEventListener("state", ({ detail }) => parentPort.postMessage({ state: detail.state }));
  reader.addEventListener("event", (notice) => {
    parentPort.postMessage({ value: notice.detail.data });
    handle(notice, notice.detail);
  });
}

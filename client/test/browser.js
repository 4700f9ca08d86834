// A real browser without a window, with pages that tell the test what they found.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "./gateway.js";
import { stub } from "./stub.js";

const CLIENT = readFileSync(new URL("../postern.js", import.meta.url));
// Which one: see tests/run --help.
const BROWSER = process.env.POSTERN_TEST_BROWSER || "chromium";
const OPEN = fileURLToPath(new URL("../../tests/open-browser", import.meta.url));

/**
 * Opens a page that runs `script`, the body of an async function with `feed`, `mailbox`, `until`, `rest` and `collect`, and
 * returns what that returns. `answer` is as that of a stub, for what readers ask; `requests` collects these.
 */
export async function page(test, script, answer, requests = []) {
  let told;
  const server = await stub(test, (request, response) => {
    const { pathname } = new URL(request.url, "http://stub");
    if (pathname === "/client.js") return response.setHeader("Content-Type", "text/javascript").end(CLIENT);
    if (pathname === "/") return response.setHeader("Content-Type", "text/html").end(html(script));
    if (pathname === "/frame") return response.setHeader("Content-Type", "text/html").end(html("await frame({ feed, mailbox, name: frameElement.name })"));
    if (pathname === "/favicon.ico") return response.writeHead(404).end();
    // A tab that has died, while its browser ends, hands its place over to another one.
    if (told) return response.destroy();
    if (pathname !== "/told") return answer(request, response, requests.push(request) - 1);
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", () => response.end((told = JSON.parse(text)) && ""));
  });
  const profile = mkdtempSync(join(tmpdir(), "postern-browser-"));
  const browser = spawn(OPEN, [BROWSER, profile, server.url], { stdio: "ignore" });
  const ended = once(browser, "exit");
  try {
    await until(() => told || browser.exitCode !== null, 60);
    if (!told) throw new Error(`${BROWSER} ended with ${browser.exitCode}; is it installed? (tests/install-needs ${BROWSER})`);
  } finally {
    browser.kill("SIGKILL");
    await ended;
    // Its other processes end a moment later, and write until then, also into folders that were emptied.
    await until(() => {
      rmSync(profile, { recursive: true, force: true });
      return true;
    }, 60);
  }
  if (told.error) throw new Error(told.error);
  return told.value;
}

const html = (script) => `<!doctype html><script type="module">
import { feed, mailbox } from "/client.js";
const tell = (what) => fetch("/told", { method: "POST", body: JSON.stringify(what) });
const rest = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));
const until = async (check) => {
  for (let n = 0; n < 1000; n++) {
    if (await check()) return;
    await rest(10);
  }
  throw new Error("not within 10 s: " + check);
};
// Collects garbage. WebKit has no order for that, but does it when much was made.
const collect = async () => {
  if (globalThis.gc) gc();
  else if (globalThis.TestUtils) await TestUtils.gc();
  else for (let n = 0; n < 100; n++) new ArrayBuffer(10_000_000);
};
const { frame } = parent;
try {
  const value = await (async () => { ${script} })();
  if (parent === window) await tell({ value });
} catch (error) {
  await tell({ error: String(error.stack) });
}
</script>`;

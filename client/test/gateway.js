// A real gateway process, and what a backend does with it.

import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BUILT = fileURLToPath(new URL("../../target/debug/gateway", import.meta.url));
const PROGRAM = process.env.GATEWAY_PROGRAM ?? BUILT;

/** Starts a gateway that keeps its events over restarts, and ends it after the test. */
export function gateway(test, ...flags) {
  return started(test, flags, {});
}

const SECRET = "this is the secret of the gateways of the tests of the client";
/** Seconds for which a token is taken after its end, because clocks differ. */
const LEEWAY_S = 30;

/** Makes the header of a token that the gateway takes for so many seconds. */
export function bearer(claims, seconds) {
  const exp = Math.floor(Date.now() / 1000) + seconds - LEEWAY_S;
  const parts = [{ alg: "HS256" }, { ...claims, exp }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const signature = createHmac("sha256", SECRET).update(parts.join(".")).digest("base64url");
  return { authorization: `Bearer ${parts.join(".")}.${signature}` };
}

/** Starts a gateway that asks for tokens. What the test asks of it has one that allows all. */
export function gatewayWithTokens(test, ...flags) {
  const folder = mkdtempSync(join(tmpdir(), "postern-client-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "secret");
  writeFileSync(file, SECRET, { mode: 0o600 });
  const all = { sub: "backend", postern: { clients: ["*"], read: ["#"], publish: ["#"] } };
  return started(test, ["--token-secret-file", file, ...flags], bearer(all, 3600));
}

async function started(test, flags, headers) {
  if (!existsSync(PROGRAM)) throw new Error(`there is no ${PROGRAM}: cargo build, or set GATEWAY_PROGRAM`);
  const folder = mkdtempSync(join(tmpdir(), "postern-client-"));
  const gateway = new Gateway(["--data-dir", join(folder, "data"), ...flags], headers);
  test.after(async () => {
    await gateway.kill();
    rmSync(folder, { recursive: true });
  });
  await gateway.start();
  return gateway;
}

class Gateway {
  #flags;
  #process;
  #address = "127.0.0.1:0";
  #headers;

  constructor(flags, headers) {
    this.#flags = flags;
    this.#headers = headers;
  }

  /** Sends a request, with the token of the test. */
  #ask(path, { headers, ...options } = {}) {
    return fetch(this.url + path, { ...options, headers: { ...this.#headers, ...headers } });
  }

  get url() {
    return `http://${this.#address}`;
  }

  /** Starts it; again on the same port. */
  async start() {
    // None of the tester's own settings gets through.
    const isForeign = ([name]) => !/^(POSTERN_|AMQP_URL$|RUST_LOG$)/.test(name);
    const env = Object.fromEntries(Object.entries(process.env).filter(isForeign));
    const flags = [...this.#flags, "--listen", this.#address];
    this.#process = spawn(PROGRAM, flags, { env, stdio: ["ignore", "ignore", "pipe"] });
    const log = [];
    const listening = new Promise((resolve, reject) => {
      createInterface(this.#process.stderr).on("line", (line) => {
        log.push(line);
        const { message, address } = line.startsWith("{") ? JSON.parse(line) : {};
        if (message === "listening") resolve(address);
      });
      this.#process.on("exit", () => reject(new Error(`the gateway ended:\n${log.join("\n")}`)));
    });
    this.#address = await listening;
    // Feeds are read from a moment later.
    await until(async () => (await this.#ask("/ready")).ok);
    await until(async () => (await this.#ask("/topics/a/events?wait=0")).ok);
  }

  /** Kills it (SIGKILL). */
  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }

  /** Publishes values, one event each, in order. */
  async publish(topic, ...values) {
    for (const value of values) {
      const body = JSON.stringify(value);
      const headers = { "content-type": "application/json" };
      const answer = await this.#ask(`/topics/${topic}/events`, { method: "POST", headers, body });
      if (answer.status !== 202) throw new Error(await answer.text());
    }
  }

  /** Returns `{queued, unconfirmed, connected}`, or nothing if there is no mailbox. */
  async look(client) {
    const answer = await this.#ask(`/clients/${client}`);
    return answer.ok ? answer.json() : undefined;
  }

  /** Creates a mailbox. */
  async bind(client, topic) {
    const answer = await this.#ask(`/clients/${client}/topics/${topic}`, { method: "PUT" });
    if (answer.status !== 204) throw new Error(await answer.text());
  }
}

/** Waits for something to become true. */
export async function until(check, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    let last;
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${check}`, { cause: last });
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

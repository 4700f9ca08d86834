// A real gateway process, and what a backend does with it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BUILT = fileURLToPath(new URL("../../target/debug/gateway", import.meta.url));
const PROGRAM = process.env.GATEWAY_PROGRAM ?? BUILT;

/** Starts a gateway that keeps its events over restarts, and ends it after the test. */
export async function gateway(test, ...flags) {
  if (!existsSync(PROGRAM)) throw new Error(`there is no ${PROGRAM}: cargo build, or set GATEWAY_PROGRAM`);
  const folder = mkdtempSync(join(tmpdir(), "postern-client-"));
  const gateway = new Gateway(["--data-dir", join(folder, "data"), ...flags]);
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

  constructor(flags) {
    this.#flags = flags;
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
    await until(async () => (await fetch(`${this.url}/ready`)).ok);
    await until(async () => (await fetch(`${this.url}/topics/a/events?wait=0`)).ok);
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
      const answer = await fetch(`${this.url}/topics/${topic}/events`, { method: "POST", headers, body });
      if (answer.status !== 202) throw new Error(await answer.text());
    }
  }

  /** Returns `{queued, unconfirmed, connected}`, or nothing if there is no mailbox. */
  async look(client) {
    const answer = await fetch(`${this.url}/clients/${client}`);
    return answer.ok ? answer.json() : undefined;
  }

  /** Creates a mailbox. */
  async bind(client, topic) {
    const answer = await fetch(`${this.url}/clients/${client}/topics/${topic}`, { method: "PUT" });
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

// What the client uses of the page, the worker or the server that it runs in.

import { MAX_TIMER_MS } from "./limits.js";

/** The page or the worker. A server has no address of its own to resolve others by, and is none. */
export const site = globalThis.location && globalThis;

/**
 * @param {(value?: any) => void} work
 * @param {number} seconds
 */
export const later = (work, seconds) => setTimeout(work, Math.min(seconds * 1000, MAX_TIMER_MS));

/** @type {(start: number) => number} */
export const secondsSince = (start) => (Date.now() - start) / 1000;

// The times and bounds that no option sets. They stand in a module of their own because esbuild can put constants where they
// are used only if their module has no imports.

/** Events that a reader knows as handled. */
export const MAX_KNOWN = 10_000;
/** A longer timer ends at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
/** A longer `Retry-After` is a slip, or would keep a page from what was mended long ago. */
export const MAX_RETRY_S = 3600;
/** The longest pause after a 401 or 403, unless the option `pause` has a longer one: a login is soon noticed. */
export const MAX_DENIED_S = 60;

/** Cut requests until the next transport is tried; unreadable answers until one is asked for in another way. */
export const MAX_CUTS = 3;
/** A request that ended sooner, or later, was not cut for its length. */
export const MIN_CUT_S = 1;
export const MAX_CUT_S = 60;
/** Until the first transport is tried again. */
export const DOWNGRADED_S = 3600;
/** A poll that brings nothing sooner was not held. A token that expires sooner is old: a new one is asked for only then. */
export const MIN_HOLD_S = 1;

/** A page that is still there so long after it began to leave stays. */
export const LEAVING_S = 1;
/** A page keeps the lock so long when the gateway ended the reading, so that all others hear of it first. */
export const FAREWELL_S = 1;
/** A page that catches up has its polls held so long, once it has seen events. */
export const CATCH_UP_HOLD_S = 2;
/** Such a poll that took longer was held: nothing was there. */
export const MIN_CATCH_UP_HOLD_S = 1.7;

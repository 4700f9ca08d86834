// Never runs: `tsc` shows that what src/ exports is what the declarations promise. (react.js names its declarations itself.)

import type * as declared from "postern-client";

import * as source from "../src/index.js";
import type { Settings } from "../src/options.js";
import type { Reader } from "../src/reader.js";

/** The functions take what is declared, and return it. */
export const functions: typeof declared = source;

/** What they take is what is declared, no more: an option, a type or `undefined` that only one of them knows is an error. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
export const parameters: [
  Same<Parameters<typeof source.mailbox>, Parameters<typeof declared.mailbox>>,
  Same<Parameters<typeof source.feed>, Parameters<typeof declared.feed>>,
] = [true, true];

/** A reader has all that is declared of it, for events of any kind. */
export const reader = (reader: Reader): declared.Reader<{ state: string }> => reader;
export const state = (reader: Reader): declared.State => reader.state;
export const declaredState = (state: declared.State): Reader["state"] => state;

/** Each option is one that is declared. */
export const options: keyof declared.Options | "fold" = {} as keyof Settings;

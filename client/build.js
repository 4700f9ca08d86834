// Makes postern.js, the one module that npm publishes and the gateway serves, out of src/. Without Node.js there is no build, so
// its result is committed, and client/check compares it.
//
//   npm run build            writes postern.js
//   node build.js FILE       writes it elsewhere
//
// There is no source map: what went wrong in a page is told in words by the reader's state, and readers of the code find the
// modules with their comments in the repository. A map would be another file of thirty kilobytes that each gateway serves.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const { outputFiles } = await build({
  // Names depend on nothing but the source, wherever that is.
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  bundle: true,
  minify: true,
  format: "esm",
  mangleProps: /^_/,
  banner: { js: "// Bundled from client/src by `npm run build`." },
  write: false,
});

// The gateway's own page takes the module in, and calls `feed` in its scope, where esbuild would shorten that name.
const EXPORTS = /export\{([\w$]+) as feed,([\w$]+) as mailbox\};\n$/;
const [{ text }] = outputFiles;
if (!EXPORTS.test(text)) throw new Error(`the bundle ends with other exports than feed and mailbox: ${text.slice(-100)}`);
writeFileSync(process.argv[2] ?? `${here}postern.js`, text.replace(EXPORTS, "export const feed=$1,mailbox=$2;\n"));

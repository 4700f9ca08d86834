// Makes postern.js, the one module that npm publishes and the gateway serves, of src/. The gateway builds without Node.js, so
// postern.js is committed, and client/check compares the two.
//
//   npm run build         writes postern.js
//   node build.js FILE    writes another file

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const { outputFiles } = await build({
  // Short names depend on the paths of modules. Relative to this folder, those are the same everywhere.
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  bundle: true,
  minify: true,
  format: "esm",
  // Names that only the client's own modules use; see src/index.js.
  mangleProps: /^_/,
  banner: { js: "// Bundled from client/src by `npm run build`." },
  write: false,
});

// The gateway puts the module and the script of its own page into one element, so the page needs the names of the exports.
// esbuild would shorten these, too, and give the names only to those that import the module.
const EXPORTS = /export\{([\w$]+) as feed,([\w$]+) as mailbox\};\n$/;
const [{ text }] = outputFiles;
if (!EXPORTS.test(text)) throw new Error(`the bundle ends with other exports than feed and mailbox: ${text.slice(-100)}`);
writeFileSync(process.argv[2] ?? `${here}postern.js`, text.replace(EXPORTS, "export const feed=$1,mailbox=$2;\n"));

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Where `examples/run react` listens; `npm run dev` shows the page from its sources, and asks there for all else.
const BACKEND = `http://127.0.0.1:${process.env.PORT ?? 8090}`;

export default defineConfig({
  plugins: [react()],
  // The package beside this one is a link, and has a React of its own for its tests.
  resolve: { dedupe: ["react"] },
  build: {
    // The names that ../serve.js serves; elsewhere Vite's own, with a hash, are better.
    rolldownOptions: { output: { entryFileNames: "page.js", assetFileNames: "page.[ext]" } },
  },
  server: { proxy: { "/common": BACKEND, "/push": BACKEND, "/tables": BACKEND } },
});

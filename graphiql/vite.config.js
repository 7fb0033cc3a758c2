// Bundles the page into the Python package, every asset under a content-hashed name and stored gzipped.

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { defineConfig } from "vite";

const OUT = fileURLToPath(new URL("../gateway/http/graphiql/built", import.meta.url));

// Only the gzipped form is kept: the gateway sends it as it is, and the wheel carries one copy instead of two.
function storeGzipped() {
  return {
    name: "store-gzipped",
    async writeBundle(_, bundle) {
      for (const name of Object.keys(bundle).filter((each) => each.startsWith("assets/"))) {
        const path = join(OUT, name);
        await writeFile(`${path}.gz`, gzipSync(await readFile(path), { level: 9 }));
        await rm(path);
      }
    },
  };
}

export default defineConfig({
  // Where the gateway serves `assets/`; see gateway/http/graphiql/assets.py.
  base: "/graphiql/",
  plugins: [storeGzipped()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    // An inlined asset would be a data: URL, which the page's policy allows for images and fonts alone.
    assetsInlineLimit: 0,
    // The three editor workers are large and each is loaded on its own.
    chunkSizeWarningLimit: 8000,
    license: { fileName: "LICENSES.md" },
    rolldownOptions: {
      // "use client" concerns server rendering, which nothing here does; the notice would hide real warnings.
      onLog(level, log, handle) {
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") handle(level, log);
      },
    },
  },
  worker: { format: "es" },
});

/**
 * Builds the page into ui/dist: bundled by Vite, each text file with a gzip and a brotli copy beside it, so that the
 * server compresses nothing at run time. Runs after `npm install` (script "prepare") and as `npm run build:ui`; why so:
 * docs/decisions/0010-ui-build.md. An installation without development dependencies has no Vite: then a word is printed and
 * the server says how to get the page; everything else works.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const ROOT = import.meta.dirname;
const DIST = join(ROOT, 'dist');

async function build(): Promise<void> {
  let vite: typeof import('vite');
  try {
    vite = await import('vite');
  } catch {
    console.log('ui: Vite is not installed (no development dependencies), so the page is not built');
    return;
  }
  await vite.build({
    root: ROOT,
    configFile: false,
    // Relative addresses: the page works under any sub-path.
    base: './',
    logLevel: 'warn',
    build: { outDir: DIST, emptyOutDir: true, target: 'es2022', chunkSizeWarningLimit: 1024, modulePreload: false },
  });
  compress(DIST);
}

function compress(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) compress(path);
    else if (/\.(?:html|js|css|svg|json)$/.test(entry.name)) {
      const bytes = readFileSync(path);
      writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
      const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
      writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
    }
  }
}

await build();

/**
 * Rebuilds src/lib/kernel/kernel.wasm from src/lib/kernel/assembly/kernel.ts (`node tools/build-kernel.ts`).
 *
 * The binary is checked in, so that running the server needs no compiler; a test calls `compileKernel` and compares.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
export const KERNEL_PATH = join(root, 'src/lib/kernel/kernel.wasm');

const OPTIONS = [
  // Size matters less than speed, but full inlining (-O3 alone) adds 40 % of bytes and no speed.
  '--optimizeLevel=2',
  '--shrinkLevel=1',
  '--noAssert',
  '--runtime=stub',
  '--enable=simd',
  '--enable=bulk-memory',
  '--importMemory',
  '--initialMemory=1',
  '--zeroFilledMemory',
  // The parameter block lies below; the kernel has no static data.
  '--memoryBase=1024',
  '--use=abort=',
];

/** The binary as the pinned compiler makes it. */
export function compileKernel(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-kernel-'));
  try {
    const out = join(folder, 'kernel.wasm');
    const compiler = join(root, 'node_modules/assemblyscript/bin/asc.js');
    const result = spawnSync(process.execPath, [compiler, 'src/lib/kernel/assembly/kernel.ts', '-o', out, ...OPTIONS], {
      cwd: root,
      encoding: 'utf8',
    });
    if (result.status !== 0) throw new Error(`asc failed:\n${result.stdout}${result.stderr}`);
    return readFileSync(out);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const binary = compileKernel();
  writeFileSync(KERNEL_PATH, binary);
  console.log(`wrote ${KERNEL_PATH}: ${binary.length} bytes`);
}

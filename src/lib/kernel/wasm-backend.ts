/**
 * The kernel's Wasm backend: kernel.wasm (source in assembly/, rebuilt by tools/build-kernel.ts) with a memory of its own.
 *
 * The module is compiled once per thread and instantiated per kernel, so that a kernel whose memory has grown for one
 * giant request can be replaced cheaply: Wasm memory never shrinks.
 */
import { readFileSync } from 'node:fs';
import type { KernelBackend } from './layout.ts';

const PAGE = 65536;
const INITIAL_PAGES = 64;
/** 1 GiB: every address is then a positive 31-bit number. */
const MAXIMUM_PAGES = 16384;

/** The part of the WebAssembly API that is used here; TypeScript has it only in its library for browsers. */
interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
interface WasmApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => { exports: unknown };
  Memory: new (limits: { initial: number; maximum: number }) => WasmMemory;
}
interface KernelExports {
  snappy(from: number, fromEnd: number, to: number, toEnd: number): number;
  scan(): number;
  hash(start: number, end: number, out: number): unknown;
}

let compiled: object | null = null;

/** Throws where WebAssembly is missing or switched off (--jitless); the caller then takes the JS backend. */
export function createWasmBackend(): KernelBackend {
  const wasm = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
  compiled ??= new wasm.Module(readFileSync(new URL('./kernel.wasm', import.meta.url)));
  const memory = new wasm.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES });
  const { exports } = new wasm.Instance(compiled, { env: { memory } });
  const { snappy, scan, hash } = exports as KernelExports;
  return {
    name: 'wasm',
    get buffer() {
      return memory.buffer;
    },
    grow(bytes) {
      const missing = bytes - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    },
    snappy,
    scan,
    hash,
  };
}

/** Typed doorway to snappyjs, which ships no types. Used to prepare request bodies; never measured. */
import { createRequire } from 'node:module';

interface SnappyJs {
  compress(input: Uint8Array): Uint8Array;
}

const snappy = createRequire(import.meta.url)('snappyjs') as SnappyJs;

export function compress(input: Uint8Array): Uint8Array {
  return snappy.compress(input);
}

/** Files of an outgoing queue: `forward/NNNNNNNN.fwd` in a shard's folder, numbered from 1 and never reused. */
import path from 'node:path';
import type { Files } from '../wal/files.ts';

export const FORWARD_MAGIC = 'SLFORWRD';

/** The queue's folder in a shard's. */
export function forwardDir(shardDir: string): string {
  return path.join(shardDir, 'forward');
}

export function forwardPath(dir: string, segment: number): string {
  return path.join(dir, `${String(segment).padStart(8, '0')}.fwd`);
}

/** Numbers of the segments in a folder, ascending. */
export function listForward(files: Pick<Files, 'list'>, dir: string): number[] {
  const numbers: number[] = [];
  for (const name of files.list(dir)) {
    const match = /^(\d{8,12})\.fwd$/.exec(name);
    if (match !== null) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}

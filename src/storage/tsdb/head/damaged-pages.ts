/**
 * DamagedPages: chunk pages that turned out damaged while the head runs, and the ways round them.
 *
 * A chain leads from the newest chunk back, so a damaged page would hide all that its series have before it. One pass over
 * the older pages finds every series' newest record there; chains go on from that. At the next start the log's recovery meets the
 * damage and links the chains anew.
 */
import type { Steps } from './background.ts';
import type { ChunkPages } from './chunk-pages.ts';
import { OFFSET_SPAN, PAGE_HEADER, readOwnRecord } from './chunk-record.ts';

/** Pages that chains are led round: 8 bytes per series each. What lies before others is found at the next start. */
const DETOURS_MAX = 16;

export class DamagedPages {
  /** Found so far. */
  count = 0;
  /** By damaged page: every series' newest record before it, by ref; null until they are found. */
  private readonly detours = new Map<number, Float64Array | null>();
  private readonly files = new Set<number>();

  has(page: number): boolean {
    return this.detours.has(page);
  }

  /** Notes a damaged page; returns the work that finds the way round it, for later turns of the event loop. */
  add(page: number, file: number, chunks: ChunkPages): Steps | null {
    this.count++;
    this.files.add(file);
    this.detours.set(page, null);
    return this.detours.size <= DETOURS_MAX ? this.findDetours(page, chunks) : null;
  }

  /** For a chain that leads into a damaged page: the series' newest record before that page; 0 where none is known. */
  detour(address: number, ref: number): number {
    if (this.detours.size === 0) return 0;
    return this.detours.get(Math.floor(address / OFFSET_SPAN))?.[ref] ?? 0;
  }

  /** The page has been dropped. */
  forget(page: number): void {
    this.detours.delete(page);
  }

  /** A page of the file cannot be read now, which may pass. */
  keepFile(file: number): void {
    this.files.add(file);
  }

  /** Whether the file has had an unreadable page; it is gone from here afterwards. */
  takeFile(file: number): boolean {
    return this.files.delete(file);
  }

  private *findDetours(page: number, chunks: ChunkPages): Steps {
    const { record } = chunks;
    let newest = new Float64Array(1 << 12);
    for (const other of chunks.pagesBelow(page)) {
      const bytes = chunks.look(other);
      for (let at = PAGE_HEADER; bytes !== null && at < bytes.length; at = record.end) {
        readOwnRecord(bytes, at, other, record);
        const { ref } = record;
        if (ref >= newest.length) {
          const larger = new Float64Array(Math.max(ref + 1, newest.length * 2));
          larger.set(newest);
          newest = larger;
        }
        newest[ref] = other * OFFSET_SPAN + at;
      }
      yield;
    }
    if (this.detours.has(page)) this.detours.set(page, newest);
  }
}

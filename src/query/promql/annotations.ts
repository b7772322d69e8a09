/**
 * Annotations: the warnings and infos of one query, each text once per place, with its place in the query as
 * `(line:column)`. Bucket monotonicity is the one note that gathers numbers before it becomes text.
 */
import type { Position } from './ast.ts';
import { lineAndColumn } from './errors.ts';
import { NOTES } from './functions/notes.ts';

export interface ForcedMonotonicity {
  name: string;
  timeMs: number;
  minBucket: number;
  maxBucket: number;
  maxDiff: number;
}

interface MonotonicityTotal extends ForcedMonotonicity {
  place: string;
  samples: number;
  maxTimeMs: number;
}

export class Annotations {
  private readonly query: Uint8Array;
  private readonly warningTexts = new Set<string>();
  private readonly infoTexts = new Set<string>();
  private readonly monotonicity = new Map<string, MonotonicityTotal>();

  constructor(query: string) {
    this.query = new TextEncoder().encode(query);
  }

  warn(message: string, pos: Position | null): void {
    this.warningTexts.add(this.render(message, pos));
  }

  info(message: string, pos: Position | null): void {
    this.infoTexts.add(this.render(message, pos));
  }

  forcedMonotonicity(note: ForcedMonotonicity, pos: Position): void {
    const place = lineAndColumn(this.query, pos.start);
    const key = `${place} ${note.name}`;
    const have = this.monotonicity.get(key);
    if (have === undefined) {
      this.monotonicity.set(key, { ...note, place, samples: 1, maxTimeMs: note.timeMs });
      return;
    }
    have.samples++;
    have.timeMs = Math.min(have.timeMs, note.timeMs);
    have.maxTimeMs = Math.max(have.maxTimeMs, note.timeMs);
    have.minBucket = Math.min(have.minBucket, note.minBucket);
    have.maxBucket = Math.max(have.maxBucket, note.maxBucket);
    have.maxDiff = Math.max(have.maxDiff, note.maxDiff);
  }

  /** The query as it was written there. */
  sourceText(pos: Position): string {
    return new TextDecoder().decode(this.query.subarray(pos.start, pos.end));
  }

  warnings(): string[] {
    return [...this.warningTexts];
  }

  infos(): string[] {
    const out = [...this.infoTexts];
    for (const m of this.monotonicity.values()) {
      const detail = NOTES.forcedMonotonicityDetail(
        m.minBucket,
        m.maxBucket,
        m.maxDiff,
        m.samples,
        secondText(m.timeMs),
        secondText(m.maxTimeMs),
      );
      out.push(`${NOTES.forcedMonotonicity(m.name)}${detail} (${m.place})`);
    }
    return out;
  }

  private render(message: string, pos: Position | null): string {
    return pos === null ? message : `${message} (${lineAndColumn(this.query, pos.start)})`;
  }
}

/** RFC 3339 in whole seconds. */
function secondText(ms: number): string {
  return new Date(Math.trunc(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

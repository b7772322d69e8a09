/**
 * Part: what the head and a block have in common, so that a shard can merge any number of them.
 *
 * Series are joined across parts by their 128-bit identity hash (tenant + canonical labels, keyed with a secret that
 * is made once per data folder), never by comparing label strings.
 */
import type { SampleBuffer } from '../../contracts/sample-source.ts';
import type { Labels } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';

export interface Part {
  /** Bounds of the samples inside, inclusive; minT > maxT when empty. ms. */
  readonly minT: number;
  readonly maxT: number;
  /**
   * The series that match (one tenant's; a block has only one) and may have samples in [minT, maxT]. Pins what it found.
   * Synchronous; with many series the caller has yielded before.
   */
  select(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): PartSet;
  labelNames(tenant: string, matchers: readonly CompiledMatcher[], minT: number, maxT: number): Set<string>;
  labelValues(
    tenant: string,
    name: string,
    matchers: readonly CompiledMatcher[],
    minT: number,
    maxT: number,
  ): Set<string>;
}

export interface PartSet {
  readonly count: number;
  /** Four words per series. */
  readonly hashes: Uint32Array;
  labels(i: number): Labels;
  /**
   * Appends the samples of series i with minT <= t <= maxT to the buffer, ascending and one per timestamp within this
   * part; the caller merges parts. Grows the buffer as needed.
   */
  read(i: number, minT: number, maxT: number, into: SampleBuffer): void;
  close(): void;
}

/** A matcher ready to run: `matches('')` tells whether series without the label match. */
export interface CompiledMatcher extends Matcher {
  matches(value: string): boolean;
  /** Every value it can match, where that is a short list (=, =~"a|b"); else null. */
  readonly set: readonly string[] | null;
  /** A prefix that every matching value has; '' where none is known. */
  readonly prefix: string;
}

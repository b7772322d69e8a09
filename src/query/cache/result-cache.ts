/**
 * ResultCache: finished steps of range queries, so that a dashboard that moves its window by a minute pays for a minute.
 *
 * Key: tenant, canonical query, step, phase of the grid, look-back. Under it a few extents (extent.ts) of finished steps. A window takes what
 * they cover and evaluates only the gaps, in one to three runs of the engine; the steps then finished are kept.
 *
 * Right under change:
 * - Steps that can see data of the last `freshMs` are never kept: in-order samples land there.
 * - Any older change (late samples, backfill, deletes, expiry) shows in the ChangeFeed; every look-up drops the steps from the
 *   oldest change on (less the query's forward reach).
 * - The sequence is read before the engine runs, so a change during an evaluation is seen at the next look-up.
 * - Queries that are not step by step are not cached at all (reuse.ts). Failed queries leave nothing.
 * Memory is bounded in bytes; the key used longest ago goes first.
 */
import type { ChangeFeed } from '../../contracts/query-service.ts';
import { FRESH_ZONE_MS } from '../../contracts/query-service.ts';
import type { TenantId } from '../../model/tenant.ts';
import type { Expr } from '../promql/ast.ts';
import type { PromqlEngine, QueryParams } from '../promql/engine.ts';
import type { QueryResult } from '../promql/result.ts';
import { compose, cutExtent, type Extent, extentOf } from './extent.ts';
import { reuseOf } from './reuse.ts';

export interface ResultCacheOptions {
  engine: PromqlEngine;
  changes: ChangeFeed;
  now(): number;
  /** The query's tree and its canonical text; throws where it does not parse. */
  parse(query: string): { expr: Expr; canonical: string };
  /** The look-back used where a query gives none, ms. */
  lookbackMs: number;
  /** At least FRESH_ZONE_MS: storage reports no change that is younger. ms. */
  freshMs: number;
  bytesMax: number;
}

export const DEFAULT_CACHE_OPTIONS = Object.freeze({
  freshMs: FRESH_ZONE_MS,
  // About 15 M points: a busy set of dashboards; below 1 % of the memory of a machine that serves one.
  bytesMax: 128 * 1024 * 1024,
});

export type RangeParams = QueryParams & { startMs: number; endMs: number; stepMs: number };

export interface CacheStats {
  /** Range queries answered wholly from memory, in part, and not at all though cacheable. */
  hits: number;
  partial: number;
  misses: number;
  /** Not cacheable. */
  bypassed: number;
  entries: number;
  bytes: number;
}

/** Extents of one key; more would mostly be windows nobody comes back to. */
const EXTENTS_MAX = 3;
/** Gaps worth evaluating one by one; with more, the whole window is evaluated. */
const GAPS_MAX = 2;
/** How long the longest window asked for decides how much is kept behind the present one. ms. */
const LONGEST_TTL_MS = 10 * 60_000;
/** Of that window's length, how much is kept: a quarter more, for windows that go back a little. */
const KEPT_WINDOWS = 1.25;
/** One key may hold this part of the whole. */
const ENTRY_SHARE = 8;

interface Entry {
  extents: Extent[];
  bytes: number;
  longestSteps: number;
  longestAtMs: number;
}

export class ResultCache {
  private readonly options: ResultCacheOptions;
  /** In order of use, the longest unused first. */
  private readonly entries = new Map<string, Entry>();
  private readonly counts = { hits: 0, partial: 0, misses: 0, bypassed: 0 };
  private bytes = 0;

  constructor(options: ResultCacheOptions) {
    if (options.freshMs < FRESH_ZONE_MS) {
      throw new Error(`BUG: the result cache's freshMs ${options.freshMs} is below ${FRESH_ZONE_MS}`);
    }
    this.options = options;
  }

  async range(params: RangeParams): Promise<QueryResult> {
    const { engine } = this.options;
    const { expr, canonical } = this.options.parse(params.query);
    const lookbackMs = params.lookbackMs ?? this.options.lookbackMs;
    const reuse = reuseOf(expr, lookbackMs);
    const { startMs, stepMs } = params;
    const endMs = startMs + Math.floor((params.endMs - startMs) / stepMs) * stepMs;
    if (reuse === null || !Number.isSafeInteger(startMs) || !Number.isSafeInteger(stepMs)) {
      this.counts.bypassed++;
      return engine.range(params);
    }
    const key = keyOf(params, canonical, lookbackMs);
    const sequence = this.options.changes.current(params.tenant);
    const known = this.lookUp(key, params.tenant, sequence, reuse.forwardMs, stepMs);
    const plan = planWindow(known, startMs, endMs, stepMs);
    const samples = { read: 0, peak: 0, parseMs: 0, evalMs: 0 };
    const pieces: Extent[] = [];
    let answer: QueryResult | null = null;
    for (const part of plan) {
      if (part.extent !== null) {
        pieces.push(part.extent);
        continue;
      }
      const result = await engine.range({ ...params, startMs: part.startMs, endMs: part.endMs });
      samples.read += result.stats.samplesRead;
      samples.peak = Math.max(samples.peak, result.stats.peakSamples);
      samples.parseMs += result.stats.parseMs;
      samples.evalMs += result.stats.evalMs;
      const fresh = extentOf(result, sequence);
      if (fresh === null) {
        // Not a matrix: nothing to lay together; a whole evaluation is the answer.
        this.counts.bypassed++;
        return plan.length === 1 ? result : await engine.range(params);
      }
      pieces.push(fresh);
      if (plan.length === 1) answer = result;
    }
    this.count(plan);
    const whole = compose(pieces, startMs, endMs, stepMs);
    const horizonMs = this.options.now() - this.options.freshMs - reuse.forwardMs;
    this.keep(key, pieces, whole, horizonMs, stepMs);
    return answer ?? resultOf(whole, stepMs, samples);
  }

  /** Lets go of everything, or of one tenant's answers. */
  clear(tenant: TenantId | null): void {
    for (const [key, entry] of this.entries) {
      if (tenant !== null && !key.startsWith(`${tenant}\n`)) continue;
      this.entries.delete(key);
      this.bytes -= entry.bytes;
    }
  }

  stats(): CacheStats {
    return { ...this.counts, entries: this.entries.size, bytes: this.bytes };
  }

  /** The key's extents, without what changed since they were made. */
  private lookUp(key: string, tenant: TenantId, sequence: number, forwardMs: number, stepMs: number): Extent[] {
    const entry = this.entries.get(key);
    if (entry === undefined) return [];
    const valid: Extent[] = [];
    for (const extent of entry.extents) {
      const changed = this.options.changes.oldestChangedSince(tenant, extent.sequence) - forwardMs;
      if (changed <= extent.startMs) continue;
      // The last step before the change.
      const steps = Math.ceil((Math.min(changed, extent.endMs + 1) - extent.startMs) / stepMs);
      const endMs = extent.startMs + (steps - 1) * stepMs;
      valid.push({ ...cutExtent(extent, extent.startMs, endMs, stepMs), sequence });
    }
    this.replace(key, entry, valid);
    return valid;
  }

  /** Keeps the window's finished steps, joined with what touched them. */
  private keep(key: string, pieces: readonly Extent[], whole: Extent, horizonMs: number, stepMs: number): void {
    const now = this.options.now();
    const first = pieces[0] as Extent;
    const last = pieces[pieces.length - 1] as Extent;
    const entry = this.entries.get(key) ?? { extents: [], bytes: 0, longestSteps: 0, longestAtMs: now };
    const windowSteps = Math.round((whole.endMs - whole.startMs) / stepMs) + 1;
    if (windowSteps >= entry.longestSteps || now - entry.longestAtMs > LONGEST_TTL_MS) {
      entry.longestSteps = windowSteps;
      entry.longestAtMs = now;
    }
    const unionEndMs = Math.max(whole.endMs, last.endMs);
    // The last grid step that nothing fresh can reach.
    const finished = whole.startMs + Math.floor((horizonMs - whole.startMs) / stepMs) * stepMs;
    const endMs = Math.min(unionEndMs, finished);
    const behindMs = endMs - Math.ceil(entry.longestSteps * KEPT_WINDOWS - 1) * stepMs;
    const startMs = Math.max(Math.min(whole.startMs, first.startMs), Math.min(whole.startMs, behindMs));
    if (endMs < startMs) return;
    const inside = startMs >= whole.startMs && endMs <= whole.endMs;
    const merged = inside ? cutExtent(whole, startMs, endMs, stepMs) : compose(pieces, startMs, endMs, stepMs);
    if (merged.bytes > this.options.bytesMax / ENTRY_SHARE) {
      if (this.entries.has(key)) this.replace(key, entry, []);
      return;
    }
    const others = entry.extents.filter(e => e.endMs < startMs - stepMs || e.startMs > endMs + stepMs);
    this.replace(key, entry, [merged, ...others].slice(0, EXTENTS_MAX));
    this.evict();
  }

  /** Puts the entry last in the order of use. */
  private replace(key: string, entry: Entry, extents: Extent[]): void {
    if (this.entries.delete(key)) this.bytes -= entry.bytes;
    entry.extents = extents;
    entry.bytes = extents.reduce((sum, e) => sum + e.bytes, key.length * 2 + 200);
    if (extents.length === 0) return;
    this.entries.set(key, entry);
    this.bytes += entry.bytes;
  }

  private evict(): void {
    for (const [key, entry] of this.entries) {
      if (this.bytes <= this.options.bytesMax) return;
      this.entries.delete(key);
      this.bytes -= entry.bytes;
    }
  }

  private count(plan: readonly Part[]): void {
    const cached = plan.filter(p => p.extent !== null).length;
    if (cached === 0) this.counts.misses++;
    else if (cached === plan.length) this.counts.hits++;
    else this.counts.partial++;
  }
}

interface Part {
  startMs: number;
  endMs: number;
  /** null: to be evaluated. */
  extent: Extent | null;
}

/** The window as cached and missing parts in time order. */
function planWindow(extents: readonly Extent[], startMs: number, endMs: number, stepMs: number): Part[] {
  const parts: Part[] = [];
  let gaps = 0;
  let at = startMs;
  for (const extent of [...extents].sort((a, b) => a.startMs - b.startMs)) {
    if (extent.endMs < at || extent.startMs > endMs) continue;
    if (extent.startMs > at) {
      parts.push({ startMs: at, endMs: extent.startMs - stepMs, extent: null });
      gaps++;
    }
    parts.push({ startMs: Math.max(at, extent.startMs), endMs: Math.min(endMs, extent.endMs), extent });
    at = extent.endMs + stepMs;
  }
  if (at <= endMs) {
    parts.push({ startMs: at, endMs, extent: null });
    gaps++;
  }
  return gaps > GAPS_MAX ? [{ startMs, endMs, extent: null }] : parts;
}

function keyOf(params: RangeParams, canonical: string, lookbackMs: number): string {
  const phase = ((params.startMs % params.stepMs) + params.stepMs) % params.stepMs;
  // A tenant's name holds no line break.
  return `${params.tenant}\n${params.stepMs}\n${phase}\n${lookbackMs}\n${canonical}`;
}

function resultOf(
  whole: Extent,
  stepMs: number,
  samples: { read: number; peak: number; parseMs: number; evalMs: number },
): QueryResult {
  const notes = whole.notes.filter(n => n.startMs <= whole.endMs && n.endMs >= whole.startMs);
  return {
    value: {
      type: 'matrix',
      startMs: whole.startMs,
      stepMs,
      steps: Math.round((whole.endMs - whole.startMs) / stepMs) + 1,
      rows: whole.rows,
    },
    warnings: [...new Set(notes.flatMap(n => n.warnings))],
    infos: [...new Set(notes.flatMap(n => n.infos))],
    stats: {
      samplesRead: samples.read,
      peakSamples: samples.peak,
      parseMs: samples.parseMs,
      evalMs: samples.evalMs,
    },
  };
}

/**
 * DeltaStore: running totals of series whose senders report only what was added since the last report.
 *
 * Rules. The first point starts the total, at its start time. Each later point is added, also after a gap: nothing was reported in it. A
 * point of the same time as the last one is a repeat (a retry): the total is given again, nothing is added. An older one
 * is refused. Bounds or the kind of histogram changed, or no point came for `maxStaleMs`: the total begins anew, which queries see as
 * a counter reset, and so do all totals when the process starts. The number of totals is bounded: series beyond are refused.
 *
 * One worker keeps the totals of a tenant (its requests with delta points all go there), so no two ever count the same.
 */
import type { FloatHistogram } from '../../model/histogram.ts';
import { HistogramWork } from '../../model/histogram-math.ts';
import { KeyMap } from './key-map.ts';

/** Buckets of one running native histogram, above what SDKs send (160); beyond, its resolution is halved. */
const MAX_BUCKETS = 640;
/** Coarsest schema. */
const SCHEMA_MIN = -4;

export interface DeltaState {
  /** Time of the last point, and since when the total counts. ms. */
  lastMs: number;
  startMs: number;
  /** When the last point arrived. ms. */
  seenMs: number;
  /** Of a number. */
  value: number;
  /** Of an explicit histogram. */
  count: number;
  sum: number;
  bounds: readonly number[];
  counts: number[];
  /** Of a native histogram. */
  native: FloatHistogram | null;
}

/** What one explicit histogram adds; its counts are not cumulated over the buckets. */
export interface ExplicitPoint {
  bounds: readonly number[];
  counts: readonly number[];
  count: number;
  sum: number;
}

export class DeltaStore {
  private readonly states = new KeyMap<DeltaState>(Number.MAX_SAFE_INTEGER);
  private readonly now: () => number;
  private sweptMs = 0;
  /** Bounds, which a reload may change. */
  maxSeries = 0;
  maxStaleMs = 0;
  /** Why the last call gave null: a reason, and words for people. */
  reason = '';
  problem = '';

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.now = now;
  }

  get size(): number {
    return this.states.size;
  }

  number(hashes: Uint32Array, at: number, startMs: number, ms: number, value: number): DeltaState | null {
    const state = this.advance(hashes, at, startMs, ms);
    if (state !== null && state.lastMs !== ms) {
      state.value += value;
      state.lastMs = ms;
    }
    return state;
  }

  explicit(hashes: Uint32Array, at: number, startMs: number, ms: number, point: ExplicitPoint): DeltaState | null {
    const { bounds, counts } = point;
    const state = this.advance(hashes, at, startMs, ms);
    if (state === null || state.lastMs === ms) return state;
    if (state.counts.length !== counts.length || !sameNumbers(state.bounds, bounds)) {
      state.startMs = startMs;
      state.count = 0;
      state.sum = 0;
      state.bounds = [...bounds];
      state.counts = new Array<number>(counts.length).fill(0);
    }
    state.count += point.count;
    state.sum += point.sum;
    for (let i = 0; i < counts.length; i++) state.counts[i] = (state.counts[i] as number) + (counts[i] as number);
    state.lastMs = ms;
    return state;
  }

  native(hashes: Uint32Array, at: number, startMs: number, ms: number, h: FloatHistogram): DeltaState | null {
    const state = this.advance(hashes, at, startMs, ms);
    if (state === null || state.lastMs === ms) return state;
    if (state.native === null || !sameNumbers(state.native.customValues, h.customValues)) {
      state.startMs = startMs;
      state.native = h;
    } else state.native = total(state.native, h);
    state.lastMs = ms;
    return state;
  }

  /** The series' total, which the point may be added to; as it stands where the point repeats the last one. */
  private advance(hashes: Uint32Array, at: number, startMs: number, ms: number): DeltaState | null {
    const now = this.now();
    let state = this.states.get(hashes, at);
    if (state === undefined) {
      if (this.states.size >= this.maxSeries) this.sweep(now);
      if (this.states.size >= this.maxSeries) {
        this.reason = 'too_many_delta_series';
        this.problem = `delta points of more than ${this.maxSeries} series; raise otlp.delta_max_series, or have the sender report cumulative temporality`;
        return null;
      }
      state = fresh();
      this.states.add(hashes, at, state);
    } else if (now - state.seenMs > this.maxStaleMs) Object.assign(state, fresh());
    else if (ms < state.lastMs) {
      this.reason = 'out_of_order';
      this.problem = `a delta point ${state.lastMs - ms} ms older than the one before it: its sum is closed`;
      return null;
    }
    if (state.lastMs === Number.NEGATIVE_INFINITY) state.startMs = startMs;
    state.seenMs = now;
    return state;
  }

  private sweep(now: number): void {
    // Walking all of it for each new series would be dear.
    if (now - this.sweptMs < 10_000) return;
    this.sweptMs = now;
    this.states.sweep(state => now - state.seenMs > this.maxStaleMs);
  }
}

function fresh(): DeltaState {
  return {
    lastMs: Number.NEGATIVE_INFINITY,
    startMs: 0,
    seenMs: 0,
    value: 0,
    count: 0,
    sum: 0,
    bounds: [],
    counts: [],
    native: null,
  };
}

function total(a: FloatHistogram, b: FloatHistogram): FloatHistogram {
  const work = new HistogramWork(a);
  work.add(b);
  while (work.positive.index.length + work.negative.index.length > MAX_BUCKETS && work.schema > SCHEMA_MIN) {
    work.reduceTo(work.schema - 1);
  }
  return { ...work.finish(), integer: true };
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}

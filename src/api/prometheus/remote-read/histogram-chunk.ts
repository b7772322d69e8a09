/**
 * Prometheus' chunks of native histograms, as streamed remote read carries them.
 *
 *     u16 count | u8 flags (2 bits: counter reset) | layout | sample 0 | sample 1 ...
 *     layout: zero threshold | varbit schema | positive spans | negative spans | custom bounds
 *     of floats    sample 0: varbit t | f64 count, zero count, sum, positive buckets, negative buckets
 *                  later:    varbit delta of delta (from 0) | the same columns, xor-coded
 *     of integers  sample 0: varbit t, count, zero count | f64 sum | varbit buckets, each less the one before
 *                  later:    the same columns as deltas of deltas (of the second sample: from 0), the sum xor-coded
 *
 * One chunk has one layout, and no counter reset inside: a reader takes every sample but the first to continue the one before.
 * Source: Prometheus tsdb/chunkenc.
 */
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram, HINT_GAUGE } from '../../../model/histogram.ts';
import { detectReset } from '../../../model/histogram-math.ts';
import { BitWriter } from './bit-writer.ts';
import { CHUNK_SAMPLES_MAX, XorState } from './xor-chunk.ts';

const FLAGS_UNKNOWN = 0;
const FLAGS_GAUGE = 0b1100_0000;

/** Where the chunk that begins at `from` ends: at a new layout, a counter reset, a change to or from gauge, or when full. */
export function histogramChunkEnd(histograms: readonly FloatHistogram[], from: number): number {
  const limit = Math.min(histograms.length, from + CHUNK_SAMPLES_MAX);
  let end = from + 1;
  while (end < limit) {
    const h = histograms[end] as FloatHistogram;
    const before = histograms[end - 1] as FloatHistogram;
    if (!sameLayout(h, before) || goesAsIntegers(h) !== goesAsIntegers(before)) break;
    const gauge = h.counterResetHint === HINT_GAUGE;
    if (gauge !== (before.counterResetHint === HINT_GAUGE) || (!gauge && detectReset(h, before))) break;
    end++;
  }
  return end;
}

/** Counts above go as floats, which hold them exactly: differences of differences stay below 2^53. */
const INTEGER_MAX = 2 ** 50;

/** Whether the chunk that begins with this histogram is one of integers. */
export function goesAsIntegers(h: FloatHistogram): boolean {
  // No bucket exceeds the count of a valid histogram; one that is not valid is looked at in full.
  return (
    h.integer &&
    [h.count, h.zeroCount, ...h.positiveBuckets, ...h.negativeBuckets].every(
      n => Number.isInteger(n) && Math.abs(n) <= INTEGER_MAX,
    )
  );
}

/** Encodes histograms [from, to), which `histogramChunkEnd` found to go together. */
export function encodeHistogramChunk(
  timestamps: readonly number[],
  histograms: readonly FloatHistogram[],
  from: number,
  to: number,
): Uint8Array {
  const w = new BitWriter();
  const first = histograms[from] as FloatHistogram;
  w.bits(to - from, 16);
  w.bits(first.counterResetHint === HINT_GAUGE ? FLAGS_GAUGE : FLAGS_UNKNOWN, 8);
  writeLayout(w, first);
  if (goesAsIntegers(first)) writeIntegers(w, timestamps, histograms, from, to);
  else writeFloats(w, timestamps, histograms, from, to);
  return w.finish();
}

function writeIntegers(
  w: BitWriter,
  timestamps: readonly number[],
  histograms: readonly FloatHistogram[],
  from: number,
  to: number,
): void {
  const sum = new Float64Array(1);
  const sumWords = new Uint32Array(sum.buffer);
  const sumState = new XorState();
  let before: number[] = [];
  let deltas: number[] = [];
  for (let i = from; i < to; i++) {
    const h = histograms[i] as FloatHistogram;
    const row = [
      timestamps[i] as number,
      h.count,
      h.zeroCount,
      ...differences(h.positiveBuckets),
      ...differences(h.negativeBuckets),
    ];
    const next = i === from ? row.map(() => 0) : row.map((v, c) => v - (before[c] as number));
    sum[0] = h.sum;
    const hi = sumWords[1] as number;
    const lo = sumWords[0] as number;
    row.forEach((v, c) => {
      if (i > from) putVarbit(w, (next[c] as number) - (i === from + 1 ? 0 : (deltas[c] as number)));
      else if (c === 1 || c === 2) putVarbitUnsigned(w, v);
      else putVarbit(w, v);
      if (c !== 2) return;
      // The sum stands behind the zero count.
      if (i > from) sumState.write(w, hi, lo);
      else {
        w.bits(hi, 32);
        w.bits(lo, 32);
        sumState.start(hi, lo);
      }
    });
    before = row;
    deltas = next;
  }
}

function differences(counts: readonly number[]): number[] {
  return counts.map((c, i) => (i === 0 ? c : c - (counts[i - 1] as number)));
}

function writeFloats(
  w: BitWriter,
  timestamps: readonly number[],
  histograms: readonly FloatHistogram[],
  from: number,
  to: number,
): void {
  const first = histograms[from] as FloatHistogram;
  const columns = 3 + first.positiveBuckets.length + first.negativeBuckets.length;
  const values = new Float64Array(columns);
  const words = new Uint32Array(values.buffer);
  const states: XorState[] = [];
  let delta = 0;
  for (let i = from; i < to; i++) {
    const t = timestamps[i] as number;
    const next = i === from ? 0 : t - (timestamps[i - 1] as number);
    putVarbit(w, i === from ? t : next - delta);
    delta = next;
    fill(values, histograms[i] as FloatHistogram);
    for (let c = 0; c < columns; c++) {
      const lo = words[2 * c] as number;
      const hi = words[2 * c + 1] as number;
      if (i > from) {
        (states[c] as XorState).write(w, hi, lo);
        continue;
      }
      w.bits(hi, 32);
      w.bits(lo, 32);
      const state = new XorState();
      state.start(hi, lo);
      states.push(state);
    }
  }
}

function fill(values: Float64Array, h: FloatHistogram): void {
  values[0] = h.count;
  values[1] = h.zeroCount;
  values[2] = h.sum;
  values.set(h.positiveBuckets, 3);
  values.set(h.negativeBuckets, 3 + h.positiveBuckets.length);
}

function sameLayout(a: FloatHistogram, b: FloatHistogram): boolean {
  return (
    a.schema === b.schema &&
    a.zeroThreshold === b.zeroThreshold &&
    sameNumbers(a.positiveSpans, b.positiveSpans) &&
    sameNumbers(a.negativeSpans, b.negativeSpans) &&
    sameNumbers(a.customValues, b.customValues) &&
    a.positiveBuckets.length === b.positiveBuckets.length &&
    a.negativeBuckets.length === b.negativeBuckets.length
  );
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}

function writeLayout(w: BitWriter, h: FloatHistogram): void {
  putZeroThreshold(w, h.zeroThreshold);
  putVarbit(w, h.schema);
  putSpans(w, h.positiveSpans);
  putSpans(w, h.negativeSpans);
  if (h.schema !== CUSTOM_BUCKETS_SCHEMA) return;
  putVarbitUnsigned(w, h.customValues.length);
  for (const bound of h.customValues) putCustomBound(w, bound);
}

function putSpans(w: BitWriter, spans: readonly number[]): void {
  putVarbitUnsigned(w, spans.length / 2);
  for (let i = 0; i < spans.length; i += 2) {
    putVarbitUnsigned(w, spans[i + 1] as number);
    putVarbit(w, spans[i] as number);
  }
}

/** Zero and powers of two from 2^-243 to 2^10 take a byte. */
function putZeroThreshold(w: BitWriter, threshold: number): void {
  const exponent = threshold > 0 ? Math.round(Math.log2(threshold)) + 1 : 0;
  if (threshold === 0) w.bits(0, 8);
  else if (exponent >= -242 && exponent <= 11 && 2 ** (exponent - 1) === threshold) w.bits(exponent + 243, 8);
  else {
    w.bits(255, 8);
    putFloat(w, threshold);
  }
}

/** Bounds with up to three decimals take few bits. */
function putCustomBound(w: BitWriter, bound: number): void {
  const thousandths = bound * 1000;
  const whole = Math.round(thousandths);
  if (thousandths < 0 || thousandths > 33_554_430 || whole / 1000 !== bound) {
    w.bits(0, 1);
    putFloat(w, bound);
  } else putVarbitUnsigned(w, whole + 1);
}

const scratch = new Float64Array(1);
const scratchWords = new Uint32Array(scratch.buffer);

function putFloat(w: BitWriter, v: number): void {
  scratch[0] = v;
  w.bits(scratchWords[1] as number, 32);
  w.bits(scratchWords[0] as number, 32);
}

/** Sizes of the value behind 1, 2, 3 ... leading ones; the last two have eight ones' place. */
const VARBIT_SIZES = [3, 6, 9, 12, 18, 25, 56, 64];

function putVarbit(w: BitWriter, v: number): void {
  if (v === 0) {
    w.bits(0, 1);
    return;
  }
  const k = VARBIT_SIZES.findIndex(n => n === 64 || (v >= -(2 ** (n - 1) - 1) && v <= 2 ** (n - 1)));
  putPrefix(w, k);
  w.signed(v, VARBIT_SIZES[k] as number);
}

function putVarbitUnsigned(w: BitWriter, v: number): void {
  if (v === 0) {
    w.bits(0, 1);
    return;
  }
  const k = VARBIT_SIZES.findIndex(n => n === 64 || v < 2 ** n);
  putPrefix(w, k);
  w.signed(v, VARBIT_SIZES[k] as number);
}

/** 10, 110, ... 11111110, and 11111111 for the largest. */
function putPrefix(w: BitWriter, k: number): void {
  if (k === 7) w.bits(0xff, 8);
  else w.bits((2 ** (k + 1) - 1) * 2, k + 2);
}

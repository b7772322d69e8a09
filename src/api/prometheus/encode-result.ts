/**
 * Query results to JSON bytes, series by series.
 *
 * A million points make 25 MB: so no object per point and no string of the whole. The text of each step's timestamp is made once and
 * copied for every series; numbers are written digit by digit (encoding/float.ts); a value equal to the one before is copied. Full chunks go
 * out while the rest is still encoded, and the loop gives the thread a turn every 10 ms.
 */
import type { RawSeries } from '../../contracts/leaf-source.ts';
import { formatFloatF } from '../../lib/go-float.ts';
import { TimeSlice } from '../../lib/yield.ts';
import type { FloatHistogram } from '../../model/histogram.ts';
import type { Labels } from '../../model/labels.ts';
import { isStale } from '../../model/stale.ts';
import type { GridRow, QueryResult, QueryValue, VectorSample } from '../../query/promql/result.ts';
import { ByteWriter, CHUNK_BYTES } from '../encoding/byte-writer.ts';
import { FLOAT_BYTES_MAX, writeFloat, writeTimestamp } from '../encoding/float.ts';
import { writeHistogram } from './histogram-json.ts';

export interface EncodeOptions {
  /** Series in the answer at most; 0 = all. */
  limit: number;
  /** JSON of the stats object, or ''. */
  stats: string;
}

const TRUNCATED = 'results truncated due to limit';
/** Annotations of each kind in an answer; the rest is counted. */
const ANNOTATIONS_MAX = 10;
/** Room for `,[`, a timestamp, `,"`, a number, `"]`. */
const POINT_BYTES_MAX = 2 * FLOAT_BYTES_MAX + 8;

/** A success answer around a query's result. */
export async function* encodeQueryResult(
  result: QueryResult,
  options: EncodeOptions,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const value = limitSeries(result.value, options.limit);
  const w = new ByteWriter();
  w.latin1(`{"status":"success","data":{"resultType":"${value.type === 'raw' ? 'matrix' : value.type}","result":`);
  const slice = new TimeSlice();
  switch (value.type) {
    case 'scalar':
      // Unlike samples, never in exponent notation.
      w.latin1(`[${value.timestampMs / 1000},"${formatFloatF(value.value)}"]`);
      break;
    case 'string':
      w.latin1(`[${value.timestampMs / 1000},`);
      w.jsonString(value.value);
      w.latin1(']');
      break;
    case 'vector':
      yield* encodeList(w, value.samples, slice, signal, sample => writeVectorSample(w, sample, value.timestampMs));
      break;
    case 'matrix': {
      const grid = new GridWriter(value.startMs, value.stepMs, value.steps);
      yield* encodeList(w, value.rows, slice, signal, row => grid.writeRow(w, row));
      break;
    }
    case 'raw':
      yield* encodeList(w, value.series, slice, signal, series => writeRawSeries(w, series));
      break;
  }
  if (options.stats !== '') w.utf8(`,"stats":${options.stats}`);
  w.latin1('}');
  const truncated = value !== result.value;
  writeAnnotations(w, truncated ? [...result.warnings, TRUNCATED] : result.warnings, result.infos);
  w.latin1('}');
  yield* w.finish();
}

/** A success answer around any plain data. */
export function encodeSuccess(data: unknown, warnings: string[] = [], infos: string[] = []): Uint8Array {
  const body: Record<string, unknown> = { status: 'success' };
  if (data !== undefined) body.data = data;
  if (warnings.length > 0) body.warnings = capAnnotations(warnings, 'warning');
  if (infos.length > 0) body.infos = capAnnotations(infos, 'info');
  return Buffer.from(JSON.stringify(body));
}

/** A success answer around a long list, streamed. */
export async function* encodeListResponse<T>(
  items: readonly T[],
  write: (w: ByteWriter, item: T) => void,
  warnings: string[],
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const w = new ByteWriter();
  w.latin1('{"status":"success","data":');
  yield* encodeList(w, items, new TimeSlice(), signal, item => {
    write(w, item);
    return true;
  });
  writeAnnotations(w, warnings, []);
  w.latin1('}');
  yield* w.finish();
}

export function writeLabels(w: ByteWriter, labels: Labels): void {
  w.latin1('{');
  for (let i = 0; i < labels.length; i += 2) {
    if (i > 0) w.latin1(',');
    w.jsonString(labels[i] as string);
    w.latin1(':');
    w.jsonString(labels[i + 1] as string);
  }
  w.latin1('}');
}

/** `write` returns whether it wrote anything: a comma goes before all but the first that did. */
async function* encodeList<T>(
  w: ByteWriter,
  items: readonly T[],
  slice: TimeSlice,
  signal: AbortSignal | undefined,
  write: (item: T) => boolean,
): AsyncGenerator<Uint8Array> {
  w.latin1('[');
  let first = true;
  for (const item of items) {
    if (!first) w.latin1(',');
    if (write(item)) first = false;
    else if (!first) w.at--; // Take the comma back: it was the last byte written.
    if (w.at > CHUNK_BYTES / 2 || slice.due()) {
      const chunks = w.take();
      if (chunks.length > 0) yield* chunks;
      if (slice.due()) await slice.pause(signal);
    }
  }
  w.latin1(']');
}

/** `[ts,"value"` without the brackets. */
function writePoint(w: ByteWriter, timestampMs: number, value: number): void {
  w.room(POINT_BYTES_MAX);
  const { bytes } = w;
  let p = writeTimestamp(bytes, w.at, timestampMs);
  bytes[p++] = 0x2c;
  bytes[p++] = 0x22;
  p = writeFloat(bytes, p, value);
  bytes[p++] = 0x22;
  w.at = p;
}

function writeHistogramPoint(w: ByteWriter, timestampMs: number, histogram: FloatHistogram): void {
  w.latin1('[');
  w.room(FLOAT_BYTES_MAX);
  w.at = writeTimestamp(w.bytes, w.at, timestampMs);
  w.latin1(',');
  writeHistogram(w, histogram);
  w.latin1(']');
}

function writeVectorSample(w: ByteWriter, sample: VectorSample, timestampMs: number): boolean {
  w.latin1('{"metric":');
  writeLabels(w, sample.labels);
  if (sample.histogram !== null) {
    w.latin1(',"histogram":');
    writeHistogramPoint(w, timestampMs, sample.histogram);
  } else {
    w.latin1(',"value":[');
    writePoint(w, timestampMs, sample.value);
    w.latin1(']');
  }
  w.latin1('}');
  return true;
}

function writeRawSeries(w: ByteWriter, series: RawSeries): boolean {
  w.latin1('{"metric":');
  writeLabels(w, series.labels);
  const { timestamps, values } = series;
  let open = false;
  for (let i = 0; i < timestamps.length; i++) {
    if (isStale(values, i)) continue;
    w.latin1(open ? ',[' : ',"values":[[');
    open = true;
    writePoint(w, timestamps[i] as number, values[i] as number);
    w.latin1(']');
  }
  if (open) w.latin1(']');
  if (series.histograms.length > 0) {
    w.latin1(',"histograms":[');
    for (let i = 0; i < series.histograms.length; i++) {
      if (i > 0) w.latin1(',');
      writeHistogramPoint(w, series.histogramTimestamps[i] as number, series.histograms[i] as FloatHistogram);
    }
    w.latin1(']');
  }
  w.latin1('}');
  return true;
}

/** Rows of one grid: keeps the bytes of every step's `,[ts,"`. */
class GridWriter {
  private readonly startMs: number;
  private readonly stepMs: number;
  private readonly steps: number;
  private readonly prefixes: Uint8Array;
  private readonly offsets: Uint32Array;

  constructor(startMs: number, stepMs: number, steps: number) {
    this.startMs = startMs;
    this.stepMs = stepMs;
    this.steps = steps;
    this.prefixes = new Uint8Array(steps * (FLOAT_BYTES_MAX + 4));
    this.offsets = new Uint32Array(steps + 1);
    let p = 0;
    for (let i = 0; i < steps; i++) {
      this.offsets[i] = p;
      this.prefixes[p++] = 0x2c;
      this.prefixes[p++] = 0x5b;
      p = writeTimestamp(this.prefixes, p, startMs + i * stepMs);
      this.prefixes[p++] = 0x2c;
      this.prefixes[p++] = 0x22;
    }
    this.offsets[steps] = p;
  }

  writeRow(w: ByteWriter, row: GridRow): boolean {
    const first = row.present.indexOf(1);
    const hasHistograms = row.histograms?.some(h => h !== null) ?? false;
    if ((first === -1 || first >= this.steps) && !hasHistograms) return false;
    w.latin1('{"metric":');
    writeLabels(w, row.labels);
    if (first !== -1 && first < this.steps) this.writeValues(w, row, first);
    if (hasHistograms) this.writeHistograms(w, row.histograms as (FloatHistogram | null)[]);
    w.latin1('}');
    return true;
  }

  private writeValues(w: ByteWriter, row: GridRow, first: number): void {
    const { prefixes, offsets, steps } = this;
    const { values, present } = row;
    w.latin1(',"values":[');
    w.room(POINT_BYTES_MAX);
    let bytes = w.bytes;
    let p = w.at;
    let limit = bytes.length - POINT_BYTES_MAX;
    let last = Number.NaN;
    let lastAt = 0;
    let lastEnd = 0;
    for (let i = first; i < steps; i++) {
      if (present[i] === 0) continue;
      if (p > limit) {
        w.at = p;
        w.room(POINT_BYTES_MAX);
        bytes = w.bytes;
        p = w.at;
        limit = bytes.length - POINT_BYTES_MAX;
        last = Number.NaN; // Its text is in the chunk before.
      }
      // The comma of the first point stays out.
      let k = (offsets[i] as number) + (i === first ? 1 : 0);
      const end = offsets[i + 1] as number;
      while (k < end) bytes[p++] = prefixes[k++] as number;
      const v = values[i] as number;
      // Fast path: the value before again. Zeros are written out, as 0 === -0.
      if (v === last && v !== 0) {
        let q = lastAt;
        lastAt = p;
        while (q < lastEnd) bytes[p++] = bytes[q++] as number;
      } else {
        lastAt = p;
        p = writeFloat(bytes, p, v);
        last = v;
      }
      lastEnd = p;
      bytes[p++] = 0x22;
      bytes[p++] = 0x5d;
    }
    w.at = p;
    w.latin1(']');
  }

  private writeHistograms(w: ByteWriter, histograms: (FloatHistogram | null)[]): void {
    w.latin1(',"histograms":');
    let open = '[';
    for (let i = 0; i < this.steps; i++) {
      const h = histograms[i];
      if (h === null || h === undefined) continue;
      w.latin1(open);
      open = ',';
      writeHistogramPoint(w, this.startMs + i * this.stepMs, h);
    }
    w.latin1(']');
  }
}

function writeAnnotations(w: ByteWriter, warnings: string[], infos: string[]): void {
  if (warnings.length > 0) w.utf8(`,"warnings":${JSON.stringify(capAnnotations(warnings, 'warning'))}`);
  if (infos.length > 0) w.utf8(`,"infos":${JSON.stringify(capAnnotations(infos, 'info'))}`);
}

function capAnnotations(texts: string[], kind: 'warning' | 'info'): string[] {
  if (texts.length <= ANNOTATIONS_MAX) return texts;
  const more = texts.length - ANNOTATIONS_MAX;
  return [...texts.slice(0, ANNOTATIONS_MAX), `${more} more ${kind} annotations omitted`];
}

/** The same value where nothing is cut. */
function limitSeries(value: QueryValue, limit: number): QueryValue {
  if (limit === 0) return value;
  switch (value.type) {
    case 'vector':
      return value.samples.length > limit ? { ...value, samples: value.samples.slice(0, limit) } : value;
    case 'matrix':
      return value.rows.length > limit ? { ...value, rows: value.rows.slice(0, limit) } : value;
    case 'raw':
      return value.series.length > limit ? { ...value, series: value.series.slice(0, limit) } : value;
    default:
      return value;
  }
}

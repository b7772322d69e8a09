/**
 * VictoriaMetrics' native export -> SampleBatch: what its `/api/v1/export/native` gives out and `/api/v1/import/native` takes.
 *
 *     u64 min, u64 max (zigzag, big-endian): the time range asked for; samples outside of it are left out
 *     then, until the end, for each block of one series:
 *       u32 length, metric name and label pairs, each ended by 0x01 (0x00 '0' | '1' | '2' stand for the bytes 0, 1, 2)
 *       u32 length, block:
 *         varints: first timestamp (zigzag), first value (zigzag), rows, scale (zigzag)
 *         u8 kind of timestamps, u8 kind of values
 *         varint length + timestamps, varint length + values
 *
 * A value is its integer times 10^scale; three integers at the ends of the range are +Inf, -Inf and the staleness marker. Its makers call
 * the format their own business: this reads the layout of the versions that Debian has and refuses what it does not know, with the
 * block's number. Blocks before a bad one are stored.
 *
 * Integers beyond 2^53 are rare (values of more than 15 digits): a block that holds one is decoded again with BigInt.
 */
import zlib from 'node:zlib';
import type { IdentityHasher, TenantSeed } from '../../lib/identity-hash.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';

export interface NativeOptions {
  /** Completes the labels of each series (extra labels, say); false drops it. */
  finishLabels?: (labels: LabelSet) => boolean;
  maxBatchSamples?: number;
}

export class NativeFormatError extends Error {
  override name = 'NativeFormatError';
}

const PART_BYTES_MAX = 1 << 20;
/** VictoriaMetrics itself writes at most 8,192. */
const ROWS_MAX = 64 * 1024;
const VARINT_BYTES_MAX = 10;
const DEFAULT_BATCH_SAMPLES = 10_000;

/** How an array of integers is packed. */
const KIND = Object.freeze({
  zstdDelta2: 1,
  deltaConst: 2,
  const: 3,
  zstdDelta: 4,
  delta2: 5,
  delta: 6,
});

const INF = 2n ** 63n - 1n;
const NEGATIVE_INF = -(2n ** 63n);
const STALE = 2n ** 63n - 2n;
/** From here on a double cannot tell a special value from its neighbours. */
const SPECIAL_FROM = 2 ** 62;

const utf8 = new TextDecoder('utf-8', { fatal: true });

export class NativeParser {
  private readonly builder: BatchBuilder;
  private readonly options: NativeOptions;
  private readonly maxBatchSamples: number;
  private readonly labels = new LabelSet();
  private pending = new Uint8Array(64 * 1024);
  private length = 0;
  private hasRange = false;
  private minMs = 0;
  private maxMs = 0;
  private block = 0;
  private times = new Float64Array(8192);
  private values = new Float64Array(8192);

  constructor(hasher: IdentityHasher, seed: TenantSeed, options: NativeOptions = {}) {
    this.options = options;
    this.builder = new BatchBuilder(hasher, seed);
    this.builder.reset();
    this.maxBatchSamples = options.maxBatchSamples ?? DEFAULT_BATCH_SAMPLES;
  }

  *feed(chunk: Uint8Array): Generator<SampleBatch> {
    // In slices: what is pending then never exceeds two parts and a slice.
    for (let p = 0; p < chunk.length; p += PART_BYTES_MAX) {
      this.keep(chunk.subarray(p, Math.min(chunk.length, p + PART_BYTES_MAX)));
      try {
        yield* this.readWhole();
      } catch (error) {
        yield* this.rest();
        throw error;
      }
    }
  }

  *end(): Generator<SampleBatch> {
    yield* this.rest();
    if (!this.hasRange) throw new NativeFormatError('the body is no native export: it is shorter than a time range');
    if (this.length > 0) throw new NativeFormatError(`the body ends in the middle of block ${this.block + 1}`);
  }

  private *rest(): Generator<SampleBatch> {
    if (this.builder.seriesCount > 0) yield this.builder.finish();
    this.builder.reset();
  }

  private keep(slice: Uint8Array): void {
    const need = this.length + slice.length;
    if (need > this.pending.length) {
      const grown = new Uint8Array(Math.max(need, this.pending.length * 2));
      grown.set(this.pending.subarray(0, this.length));
      this.pending = grown;
    }
    this.pending.set(slice, this.length);
    this.length = need;
  }

  private *readWhole(): Generator<SampleBatch> {
    const view = new DataView(this.pending.buffer);
    let at = 0;
    if (!this.hasRange) {
      if (this.length < 16) return;
      this.minMs = zigzag64(view, 0);
      this.maxMs = zigzag64(view, 8);
      this.hasRange = true;
      at = 16;
    }
    for (;;) {
      const name = this.part(view, at, 'metric name');
      if (name < 0) break;
      const body = this.part(view, name, 'block');
      if (body < 0) break;
      this.block++;
      this.readBlock(at + 4, name, name + 4, body);
      at = body;
      if (this.builder.sampleCount < this.maxBatchSamples) continue;
      yield this.builder.finish();
      this.builder.reset();
    }
    this.pending.copyWithin(0, at, this.length);
    this.length -= at;
  }

  /** The end of the part whose length stands at `at`; -1 where it has not arrived. */
  private part(view: DataView, at: number, what: string): number {
    if (at + 4 > this.length) return -1;
    const size = view.getUint32(at);
    if (size > PART_BYTES_MAX) throw this.error(`its ${what} would have ${size} bytes, more than ${PART_BYTES_MAX}`, 1);
    return at + 4 + size > this.length ? -1 : at + 4 + size;
  }

  private readBlock(nameStart: number, nameEnd: number, start: number, end: number): void {
    this.readLabels(nameStart, nameEnd);
    const r = new VarintReader(this.pending, start, end, message => this.error(message));
    const firstTime = r.zigzag();
    const firstValue = r.zigzagBig();
    const rows = r.unsigned();
    const scale = r.zigzag();
    if (rows < 1 || rows > ROWS_MAX) throw this.error(`it would have ${rows} rows`);
    if (Math.abs(scale) > 400) throw this.error(`its scale is ${scale}`);
    const timesKind = r.byte();
    const valuesKind = r.byte();
    const times = this.unpacked(timesKind, r.bytes(), rows);
    const values = this.unpacked(valuesKind, r.bytes(), rows);
    if (!r.atEnd) throw this.error('bytes are left behind its values');
    this.makeRoom(rows);
    if (!decodeFast(timesKind, times, firstTime, rows, this.times, this.fail))
      throw this.error('its timestamps run away');
    const small = Number(firstValue);
    const fast =
      Number.isSafeInteger(small) && decodeFast(valuesKind, values, small, rows, this.values, this.fail)
        ? null
        : decodeBig(valuesKind, values, firstValue, rows, this.fail);
    this.addRows(rows, scale, fast);
  }

  private readonly fail = (message: string): NativeFormatError => this.error(message);

  private addRows(rows: number, scale: number, big: readonly bigint[] | null): void {
    for (let i = 0; i < rows; i++) {
      const time = this.times[i] as number;
      if (!(time >= 0 && Number.isSafeInteger(time))) throw this.error(`a timestamp is ${time}`);
    }
    const { finishLabels } = this.options;
    if (finishLabels !== undefined && !finishLabels(this.labels)) return;
    if (this.labels.tooLarge) throw this.error('its series has too many or too long labels');
    const duplicate = this.labels.sort();
    if (duplicate >= 0) throw this.error(`label ${JSON.stringify(this.labels.nameText(duplicate))} is given twice`);
    if (this.labels.valueOf('__name__') === '') throw this.error('its series has no name');
    this.builder.addSeriesSet(this.labels);
    for (let i = 0; i < rows; i++) {
      const time = this.times[i] as number;
      if (time < this.minMs || time > this.maxMs) continue;
      if (big === null) this.builder.addSample(time, scaled(this.values[i] as number, scale));
      else this.addBig(time, big[i] as bigint, scale);
    }
  }

  private addBig(time: number, value: bigint, scale: number): void {
    if (value === STALE) this.builder.addStale(time);
    else if (value === INF) this.builder.addSample(time, Number.POSITIVE_INFINITY);
    else if (value === NEGATIVE_INF) this.builder.addSample(time, Number.NEGATIVE_INFINITY);
    else this.builder.addSample(time, Number(`${value}e${scale}`));
  }

  private readLabels(start: number, end: number): void {
    const texts: string[] = [];
    for (let p = start; p < end; ) {
      const stop = this.pending.indexOf(0x01, p);
      if (stop < 0 || stop >= end) throw this.error('its metric name has no end');
      texts.push(this.text(p, stop));
      p = stop + 1;
    }
    if (texts.length % 2 !== 1) throw this.error('a label of it has no value');
    this.labels.clear();
    this.labels.addStrings('__name__', texts[0] as string);
    for (let i = 1; i < texts.length; i += 2) this.labels.addStrings(texts[i] as string, texts[i + 1] as string);
  }

  private text(start: number, end: number): string {
    try {
      return unescaped(utf8.decode(this.pending.subarray(start, end)));
    } catch {
      throw this.error('its metric name is not UTF-8');
    }
  }

  private unpacked(kind: number, bytes: Uint8Array, rows: number): Uint8Array {
    if (kind !== KIND.zstdDelta && kind !== KIND.zstdDelta2) return bytes;
    try {
      return zlib.zstdDecompressSync(bytes, { maxOutputLength: rows * VARINT_BYTES_MAX });
    } catch (error) {
      throw this.error(`its data cannot be unpacked: ${(error as Error).message}`);
    }
  }

  private makeRoom(rows: number): void {
    if (rows <= this.times.length) return;
    this.times = new Float64Array(rows);
    this.values = new Float64Array(rows);
  }

  private error(message: string, ahead = 0): NativeFormatError {
    return new NativeFormatError(`block ${this.block + ahead}: ${message}`);
  }
}

type Fail = (message: string) => Error;

/** False where an integer leaves the doubles' exact range: then `decodeBig`. */
function decodeFast(
  kind: number,
  bytes: Uint8Array,
  first: number,
  rows: number,
  out: Float64Array,
  fail: Fail,
): boolean {
  const r = new VarintReader(bytes, 0, bytes.length, fail);
  let value = first;
  let delta = 0;
  out[0] = first;
  if (kind === KIND.deltaConst) delta = r.zigzag();
  for (let i = 1; i < rows; i++) {
    if (kind === KIND.zstdDelta || kind === KIND.delta) delta = r.zigzag();
    else if (kind === KIND.zstdDelta2 || kind === KIND.delta2) delta += r.zigzag();
    value += delta;
    out[i] = value;
    if (!Number.isSafeInteger(value) || !Number.isSafeInteger(delta)) return false;
  }
  finish(kind, r, fail);
  return true;
}

function decodeBig(kind: number, bytes: Uint8Array, first: bigint, rows: number, fail: Fail): bigint[] {
  const r = new VarintReader(bytes, 0, bytes.length, fail);
  const out = [first];
  let value = first;
  let delta = 0n;
  if (kind === KIND.deltaConst) delta = r.zigzagBig();
  for (let i = 1; i < rows; i++) {
    if (kind === KIND.zstdDelta || kind === KIND.delta) delta = r.zigzagBig();
    else if (kind === KIND.zstdDelta2 || kind === KIND.delta2) delta = BigInt.asIntN(64, delta + r.zigzagBig());
    value = BigInt.asIntN(64, value + delta);
    out.push(value);
  }
  finish(kind, r, fail);
  return out;
}

function finish(kind: number, r: VarintReader, fail: Fail): void {
  if (kind < KIND.zstdDelta2 || kind > KIND.delta) throw fail(`it is packed in a way that is not known (${kind})`);
  if (!r.atEnd) throw fail('bytes are left behind its rows');
}

/** A zero character and '0', '1' or '2' stand for the characters 0, 1 and 2. */
function unescaped(text: string): string {
  if (!text.includes('\0')) return text;
  const [head = '', ...parts] = text.split('\0');
  return head + parts.map(part => String.fromCharCode(part.charCodeAt(0) - 0x30) + part.slice(1)).join('');
}

/** value * 10^scale, rounded once. */
function scaled(value: number, scale: number): number {
  // Fast path: both exact, so the operation rounds correctly.
  if (scale === 0) return value;
  if (scale < 0 && scale >= -22) return value / 10 ** -scale;
  return Number(`${value}e${scale}`);
}

function zigzag64(view: DataView, at: number): number {
  const raw = view.getBigUint64(at);
  return Number(BigInt.asIntN(64, (raw >> 1n) ^ -(raw & 1n)));
}

/** Varints of up to 64 bits from bytes[at, end). */
class VarintReader {
  private readonly source: Uint8Array;
  private at: number;
  private readonly end: number;
  private readonly fail: Fail;

  constructor(source: Uint8Array, start: number, end: number, fail: Fail) {
    this.source = source;
    this.at = start;
    this.end = end;
    this.fail = fail;
  }

  get atEnd(): boolean {
    return this.at === this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw this.fail('it ends too early');
    return this.source[this.at++] as number;
  }

  /** Rounded beyond 2^53. */
  unsigned(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const b = this.byte();
      value += (b & 0x7f) * factor;
      if (b < 0x80) return value;
      factor *= 128;
    }
    throw this.fail('a number has more than ten bytes');
  }

  /** Exact where it is a safe integer; beyond that some number that is none. */
  zigzag(): number {
    const raw = this.unsigned();
    if (raw >= SPECIAL_FROM) return Number.POSITIVE_INFINITY;
    return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
  }

  zigzagBig(): bigint {
    let raw = 0n;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const b = this.byte();
      raw |= BigInt(b & 0x7f) << BigInt(7 * i);
      if (b < 0x80) return BigInt.asIntN(64, (raw >> 1n) ^ -(raw & 1n));
    }
    throw this.fail('a number has more than ten bytes');
  }

  /** Length-delimited. */
  bytes(): Uint8Array {
    const size = this.unsigned();
    if (size > this.end - this.at) throw this.fail('a length runs past its end');
    this.at += size;
    return this.source.subarray(this.at - size, this.at);
  }
}

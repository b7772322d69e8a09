/**
 * Appender: takes batches apart: finds or makes each series, puts its samples where they belong, and writes what was taken
 * as records, one write per log.
 *
 * Fast path: series of a request mostly have neighbouring refs, so the next ref is tried before the hash table (its
 * hash lies on the cache line that is read next anyway), and an in-order sample goes straight into the tail.
 */

import type { Rejection } from '../../../contracts/sample-sink.ts';
import type { SeriesGate, SeriesRefusal } from '../../../contracts/series-gate.ts';
import { type HistogramSample, LABELS_OMITTED, type SampleBatch } from '../../../model/sample-batch.ts';
import { putStale } from '../../../model/stale.ts';
import { encodeHistogramRows, type HistogramRow, SampleStage } from '../wal/records.ts';
import type { Wal } from '../wal/wal.ts';
import type { Limbo } from './gc.ts';
import { encodeHistogram, isStaleHistogram, isStorable } from './histogram-codec.ts';
import type { Tenant } from './label-index.ts';
import { RefusedSeries } from './refused-series.ts';
import { Registrar } from './registrar.ts';
import type { SeriesLog } from './series-log.ts';
import {
  ALIVE,
  HAS_HISTOGRAM_TAIL,
  NO_PAGE,
  PAGE_MASK,
  PAGE_REFS,
  PAGE_SHIFT,
  type SeriesPage,
  TAIL_SAMPLES,
} from './series-table.ts';
import { DELTA_MAX, type HeadStore } from './store.ts';

export interface AppendCounts {
  /** Float samples stored, late ones and exact duplicates included. */
  samples: number;
  histograms: number;
  /** Of both: exact duplicates of a series' newest sample, not stored again. */
  duplicates: number;
  /** Of both: late, or a second value for a time. */
  outOfOrder: number;
  newSeries: number;
  /** Samples refused: impossible timestamps, labels in no canonical form, too many buckets. */
  invalid: number;
  /** Samples of series that the gate does not let in, by reason; null where there are none. */
  refused: Rejection[] | null;
  /** Series sent by their hash alone that are not here (any more): the sender must send their labels. */
  unknownSeries: number;
  /** Oldest time that has changed; Infinity where nothing has. ms */
  minT: number;
}

/** Is told what goes to the log, before the log has it: the outgoing queue (forward/forward-tap.ts). Must not throw. */
export interface HeadTap {
  wants(tenant: string): boolean;
  /** The frames written next speak of these refs. */
  explain(refs: Uint32Array, n: number): void;
  explainOne(ref: number): void;
  /** The ref has been given to another series. */
  renew(ref: number): void;
  /** Frames of wal/records.ts with `rows` rows in all: bytes[0, length). */
  write(bytes: Uint8Array, length: number, rows: number): void;
}

export class Appender {
  /** null: nothing goes out. */
  tap: HeadTap | null = null;
  /** The tap, where it wants the tenant of the running append. */
  private running: HeadTap | null = null;
  private stagedRows = 0;
  private readonly store: HeadStore;
  private readonly seriesLog: SeriesLog;
  private readonly wal: Wal;
  private readonly registrar: Registrar;
  private readonly gate: SeriesGate | null;
  private readonly refused = new RefusedSeries();
  private readonly stage = new SampleStage();
  private readonly oooStage = new SampleStage();
  private histograms: HistogramRow[] = [];
  private oooHistograms: HistogramRow[] = [];
  private oooHistogramFirstRow = -1;
  private out = new Uint8Array(1 << 16);
  private outLength = 0;
  /** The ref after the last one: most likely the next. */
  private nextRef = 0;
  private counts: AppendCounts = newCounts();
  private readonly marker = new Float64Array(1);

  constructor(store: HeadStore, seriesLog: SeriesLog, wal: Wal, limbo: Limbo, gate: SeriesGate | null) {
    this.store = store;
    this.seriesLog = seriesLog;
    this.wal = wal;
    this.registrar = new Registrar(store, limbo);
    this.gate = gate;
    putStale(this.marker, 0);
  }

  forgetPairs(): void {
    this.registrar.forget();
  }

  isRefused(hashes: Uint32Array, at: number): boolean {
    return this.refused.find(hashes, at) !== null;
  }

  /** Debts have been paid. Throws a StorageFullError where the logs cannot be written. */
  append(tenantId: string, batch: SampleBatch, rows: Uint32Array | null): AppendCounts {
    this.wal.prepare();
    this.store.segment = this.wal.segment;
    const counts = newCounts();
    this.counts = counts;
    this.running = this.tap?.wants(tenantId) === true ? this.tap : null;
    const tenant = this.tenant(tenantId);
    try {
      this.appendFloats(tenant, batch, rows);
      if (batch.histograms !== null) this.appendHistograms(tenant, batch, batch.histograms, rows);
    } finally {
      // Even after a bug half-way: what memory has taken must be in the log.
      this.commit();
    }
    return counts;
  }

  private tenant(id: string): Tenant {
    const known = this.store.index.tenant(id);
    if (known !== undefined) return known;
    const tenant = this.store.addTenant(id);
    this.seriesLog.addTenant(tenant);
    return tenant;
  }

  /**
   * The floats of the batch. Everything that the fast path touches is a local: a property read per sample would cost as
   * much as the rest of it.
   */
  private appendFloats(tenant: Tenant, batch: SampleBatch, rows: Uint32Array | null): void {
    const { store, stage, counts } = this;
    const { timestamps, values, startTimestamps, sampleStart, hashes } = batch;
    const { refs: stageRefs, timestamps: stageTimes, values: stageValues } = stage;
    const { table, inOrderMinT } = store;
    const stageEnd = stageRefs.length;
    const series = rows === null ? batch.seriesCount : rows.length;
    let n = stage.n;
    let guess = this.nextRef;
    let taken = 0;
    let minT = Infinity;
    let maxT = -1;
    // Samples of one scrape have one time: it is checked once.
    let checkedT = -1;
    let pageNumber = -1;
    let page = NO_PAGE;
    let { hash, lastT, flags, count, base, deltas, values: tail } = page;
    for (let k = 0; k < series; k++) {
      const i = rows === null ? k : (rows[k] as number);
      const from = sampleStart[i] as number;
      const to = sampleStart[i + 1] as number;
      if (from === to) continue;
      if (guess >>> PAGE_SHIFT !== pageNumber) {
        pageNumber = guess >>> PAGE_SHIFT;
        page = table.pages[pageNumber] ?? NO_PAGE;
        ({ hash, lastT, flags, count, base, deltas, values: tail } = page);
      }
      let ref = guess;
      let slot = ref & PAGE_MASK;
      const h = slot << 2;
      const at = i << 2;
      if (
        hash[h] !== hashes[at] ||
        hash[h + 1] !== hashes[at + 1] ||
        hash[h + 2] !== hashes[at + 2] ||
        hash[h + 3] !== hashes[at + 3] ||
        ((flags[slot] as number) & ALIVE) === 0
      ) {
        ref = this.findOrMake(tenant, batch, i, to - from);
        if (ref < 0) continue;
        slot = ref & PAGE_MASK;
        pageNumber = ref >>> PAGE_SHIFT;
        page = table.pages[pageNumber] as SeriesPage;
        ({ hash, lastT, flags, count, base, deltas, values: tail } = page);
      }
      guess = ref + 1;
      for (let row = from; row < to; row++) {
        const t = timestamps[row] as number;
        const start = startTimestamps === null ? 0 : (startTimestamps[row] as number);
        if (t !== checkedT || start !== 0) {
          if (!isTime(t) || !isTime(start)) {
            counts.invalid++;
            continue;
          }
          checkedT = t;
        }
        if (t <= (lastT[slot] as number) || t < inOrderMinT) {
          this.appendLate(ref, page, slot, t, values, row, start);
          continue;
        }
        const samples = count[slot] as number;
        const delta = t - (base[slot] as number);
        if (samples > 0 && samples < TAIL_SAMPLES && delta <= DELTA_MAX && start === 0 && page.starts === null) {
          // Fast path: the next slot of the tail.
          const to = samples * PAGE_REFS + slot;
          deltas[to] = delta;
          tail[to] = values[row] as number;
          count[slot] = samples + 1;
          lastT[slot] = t;
        } else {
          store.appendFloat(ref, page, t, values, row, start);
        }
        stageRefs[n] = ref;
        stageTimes[n] = t;
        stageValues[n] = values[row] as number;
        if (start !== 0) {
          stage.starts[n] = start;
          stage.hasStarts = true;
        }
        n++;
        taken++;
        if (t < minT) minT = t;
        if (t > maxT) maxT = t;
        if (n === stageEnd) {
          stage.n = n;
          this.encodeStage(stage);
          n = 0;
        }
      }
    }
    stage.n = n;
    this.nextRef = guess;
    counts.samples += taken;
    if (minT < counts.minT) counts.minT = minT;
    if (minT < store.lowT) store.lowT = minT;
    if (maxT > store.highT) store.highT = maxT;
  }

  /** The series' ref, made if need be; -1 where it is refused (and counted, with its `samples`). */
  private findOrMake(tenant: Tenant, batch: SampleBatch, i: number, samples: number): number {
    const ref = this.store.table.find(batch.hashes, i * 4);
    return ref >= 0 ? ref : this.register(tenant, batch, i, samples);
  }

  private register(tenant: Tenant, batch: SampleBatch, i: number, samples: number): number {
    const { counts, gate } = this;
    const { hashes } = batch;
    if (gate !== null) {
      this.refused.at(gate.epoch);
      const reason = this.refused.find(hashes, i * 4);
      if (reason !== null) return this.refuse(reason, samples, this.refused.text);
    }
    const start = batch.labelStart[i] as number;
    if (start === LABELS_OMITTED) {
      counts.unknownSeries++;
      return -1;
    }
    const end = batch.labelEnd[i] as number;
    const reason = gate === null ? null : gate.admit(tenant.id, batch.labelBytes, start, end);
    if (gate !== null && reason !== null) {
      // Words cost more than the refusal: they are found for the first of a batch, and for as many as are remembered.
      const text = this.refused.hasRoomForText || !this.isTold(reason) ? gate.explain() : '';
      this.refused.add(hashes, i * 4, reason, text);
      return this.refuse(reason, samples, text);
    }
    const ref = this.registrar.register(tenant, batch.labelBytes, start, end, hashes, i * 4, this.seriesLog);
    if (ref < 0) {
      gate?.withdraw();
      counts.invalid += samples;
      return -1;
    }
    counts.newSeries++;
    this.tap?.renew(ref);
    return ref;
  }

  /** Whether this batch has an example of such a refusal. */
  private isTold(reason: SeriesRefusal): boolean {
    return this.counts.refused?.some(r => r.reason === reason && r.example !== '') ?? false;
  }

  private refuse(reason: SeriesRefusal, samples: number, text: string): -1 {
    this.counts.refused ??= [];
    const { refused } = this.counts;
    const known = refused.find(r => r.reason === reason);
    if (known === undefined) refused.push({ reason, count: samples, example: text });
    else {
      known.count += samples;
      if (known.example === '') known.example = text;
    }
    return -1;
  }

  /** Not newer than the series' newest sample, or older than the head takes in order. */
  private appendLate(
    ref: number,
    page: SeriesPage,
    slot: number,
    t: number,
    values: Float64Array,
    row: number,
    start: number,
  ): void {
    const { counts, store, oooStage } = this;
    counts.samples++;
    if (t === page.lastT[slot] && t >= store.floorT && store.isNewest(ref, values, row, start)) {
      counts.duplicates++;
      return;
    }
    counts.outOfOrder++;
    if (t < counts.minT) counts.minT = t;
    if (oooStage.n === 0) oooStage.firstRow = store.ooo.end;
    store.appendOooFloat(ref, t, values, row, start);
    const n = oooStage.n;
    oooStage.refs[n] = ref;
    oooStage.timestamps[n] = t;
    oooStage.values[n] = values[row] as number;
    if (start !== 0) {
      oooStage.starts[n] = start;
      oooStage.hasStarts = true;
    }
    oooStage.n = n + 1;
    if (n + 1 === oooStage.refs.length) this.encodeStage(oooStage);
  }

  // --- histograms ---

  private appendHistograms(
    tenant: Tenant,
    batch: SampleBatch,
    samples: readonly HistogramSample[],
    rows: Uint32Array | null,
  ): void {
    const wanted = rows === null ? null : new Set(rows);
    for (const sample of samples) {
      if (wanted !== null && !wanted.has(sample.series)) continue;
      this.appendHistogram(tenant, batch, sample);
    }
  }

  private appendHistogram(tenant: Tenant, batch: SampleBatch, sample: HistogramSample): void {
    const { counts, store } = this;
    const t = sample.timestampMs;
    if (!isTime(t) || !isTime(sample.startTimestampMs) || !isStorable(sample.histogram)) {
      counts.invalid++;
      return;
    }
    const ref = this.findOrMake(tenant, batch, sample.series, 1);
    if (ref < 0) return;
    counts.histograms++;
    const page = store.page(ref);
    const slot = ref & PAGE_MASK;
    const inOrder = t > (page.lastT[slot] as number) && t >= store.inOrderMinT;
    if (isStaleHistogram(sample.histogram)) {
      this.appendMarker(ref, page, slot, sample, inOrder);
      return;
    }
    const bytes = encodeHistogram(sample);
    const row: HistogramRow = { ref, timestampMs: t, startMs: sample.startTimestampMs, bytes };
    if (inOrder) {
      if (t < counts.minT) counts.minT = t;
      // Floats of this series staged before must come before it in the log.
      this.encodeStage(this.stage);
      store.appendHistogram(row);
      this.histograms.push(row);
      return;
    }
    const open = ((page.flags[slot] as number) & HAS_HISTOGRAM_TAIL) !== 0;
    if (open && t === page.lastT[slot] && t >= store.floorT && store.isNewestHistogram(ref, bytes)) {
      counts.duplicates++;
      return;
    }
    counts.outOfOrder++;
    if (t < counts.minT) counts.minT = t;
    this.encodeStage(this.oooStage);
    if (this.oooHistograms.length === 0) this.oooHistogramFirstRow = store.ooo.end;
    store.appendOooHistogram(row);
    this.oooHistograms.push(row);
  }

  /** A stale histogram becomes a float marker. */
  private appendMarker(ref: number, page: SeriesPage, slot: number, sample: HistogramSample, inOrder: boolean): void {
    // Rows of histograms that came before it in this batch must come before it in the log.
    this.encodeHistogramRows();
    const { store, stage, counts } = this;
    const t = sample.timestampMs;
    if (!inOrder) {
      const samples = counts.samples;
      this.appendLate(ref, page, slot, t, this.marker, 0, sample.startTimestampMs);
      counts.samples = samples;
      return;
    }
    if (t < counts.minT) counts.minT = t;
    store.appendFloat(ref, page, t, this.marker, 0, sample.startTimestampMs);
    const n = stage.n;
    stage.refs[n] = ref;
    stage.timestamps[n] = t;
    stage.values[n] = this.marker[0] as number;
    if (sample.startTimestampMs !== 0) {
      stage.starts[n] = sample.startTimestampMs;
      stage.hasStarts = true;
    }
    stage.n = n + 1;
    if (n + 1 === stage.refs.length) this.encodeStage(stage);
  }

  // --- the log ---

  private encodeStage(stage: SampleStage): void {
    if (stage.n === 0) return;
    this.running?.explain(stage.refs, stage.n);
    this.stagedRows += stage.n;
    this.room(SampleStage.bytesMax(stage.n));
    this.outLength = stage.encode(this.out, this.outLength);
    stage.clear();
  }

  private encodeHistogramRows(): void {
    if (this.running !== null) {
      for (const row of this.histograms) this.running.explainOne(row.ref);
      for (const row of this.oooHistograms) this.running.explainOne(row.ref);
    }
    this.stagedRows += this.histograms.length + this.oooHistograms.length;
    if (this.histograms.length > 0) this.push(encodeHistogramRows(this.histograms, -1));
    if (this.oooHistograms.length > 0) {
      this.push(encodeHistogramRows(this.oooHistograms, this.oooHistogramFirstRow));
    }
    this.histograms = [];
    this.oooHistograms = [];
  }

  private push(frame: Uint8Array): void {
    this.room(frame.length);
    this.out.set(frame, this.outLength);
    this.outLength += frame.length;
  }

  private room(bytes: number): void {
    if (this.outLength + bytes <= this.out.length) return;
    const out = new Uint8Array(Math.max(this.outLength + bytes, this.out.length * 2));
    out.set(this.out.subarray(0, this.outLength));
    this.out = out;
  }

  private commit(): void {
    this.encodeStage(this.stage);
    this.encodeStage(this.oooStage);
    this.encodeHistogramRows();
    const length = this.outLength;
    this.outLength = 0;
    if (length > 0) this.running?.write(this.out, length, this.stagedRows);
    this.stagedRows = 0;
    if (this.seriesLog.pending) {
      try {
        this.seriesLog.commit();
        this.wal.syncFirst(this.seriesLog);
      } catch (error) {
        if (length > 0) this.wal.owe(this.out, length);
        throw error;
      }
    }
    if (length > 0) this.wal.append(this.out, length);
    if (this.out.length > 1 << 22) this.out = new Uint8Array(1 << 16);
  }
}

/** Timestamps are whole milliseconds from 0 to 2^53 - 1. */
function isTime(t: number): boolean {
  return t >= 0 && Number.isSafeInteger(t);
}

function newCounts(): AppendCounts {
  return {
    samples: 0,
    histograms: 0,
    duplicates: 0,
    outOfOrder: 0,
    newSeries: 0,
    invalid: 0,
    refused: null,
    unknownSeries: 0,
    minT: Infinity,
  };
}

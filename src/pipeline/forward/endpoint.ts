/**
 * Endpoint: one receiver of remote write: follows the outgoing queues of all shards, spreads their rows over lanes by series, and says how
 * far everything has been answered.
 *
 * Reading pauses while any lane holds as many rows as it may, so memory is bounded however long the receiver is away; the queue on
 * disk holds the rest. The number of lanes grows while reading has to wait for lanes that get answers, and shrinks when there is
 * little to do; it changes only when all lanes are empty, or a series' samples could overtake each other.
 */
import type { ForwardPosition, ForwardRows, ForwardSamples, ForwardSource } from '../../contracts/forward-source.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram } from '../../model/histogram.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { Batch, Ticket } from './batch.ts';
import type { DropReason, EndpointMetrics } from './forward-metrics.ts';
import { Lane } from './lane.ts';
import type { MetadataBook } from './metadata-book.ts';
import { type Outgoing, type OutSeries, OutSeriesTable, outSeries } from './out-series.ts';
import type { Sender } from './sender.ts';

export interface EndpointOptions extends Outgoing {
  capacity: number;
  minLanes: number;
  maxLanes: number;
  batchRows: number;
  deadlineMs: number;
  sendExemplars: boolean;
  sendNativeHistograms: boolean;
  /** null: none is sent. */
  metadata: { everyMs: number; batchRows: number } | null;
}

export interface EndpointDeps {
  clock: Clock;
  /** By shard. */
  sources: readonly ForwardSource[];
  sender: Sender;
  metrics: EndpointMetrics;
  metadata: MetadataBook;
}

/** How often the queue is looked at when it had nothing. ms */
const POLL_MS = 100;
/** Records read before others get a turn. */
const RECORDS_PER_TURN = 16;
const TUNE_EVERY_MS = 1000;
/** Rounds without waiting after which half of the lanes are let go. */
const QUIET_ROUNDS = 60;
/** Metadata goes out for the first time after this. ms */
const FIRST_METADATA_MS = 5000;

interface Followed {
  source: ForwardSource;
  table: OutSeriesTable;
  /** In the order of reading. */
  tickets: Ticket[];
  /** Behind the last record of which everything is answered. */
  answered: ForwardPosition;
}

export class Endpoint {
  private readonly options: EndpointOptions;
  private readonly deps: EndpointDeps;
  private readonly followed: Followed[];
  private lanes: Lane[] = [];
  private wantedLanes: number;
  private waited = 0;
  private quietRounds = 0;
  private answers = 0;
  private turn = 0;
  private stopped = false;
  private readonly timers = new Map<string, Timer>();

  constructor(options: EndpointOptions, deps: EndpointDeps) {
    this.options = options;
    this.deps = deps;
    this.wantedLanes = options.minLanes;
    this.followed = deps.sources.map(source => ({
      source,
      table: new OutSeriesTable(options),
      tickets: [],
      answered: { ...source.position },
    }));
    this.makeLanes();
  }

  start(): void {
    this.again('pump', 0, () => this.pump());
    this.again('tune', TUNE_EVERY_MS, () => this.tune());
    if (this.options.metadata !== null) this.again('metadata', FIRST_METADATA_MS, () => void this.sendMetadata());
  }

  stop(): void {
    this.stopped = true;
    for (const timer of this.timers.values()) timer.cancel();
    for (const lane of this.lanes) lane.stop();
    for (const { source } of this.followed) source.close();
  }

  /** By shard: everything before is answered. */
  answered(): ForwardPosition[] {
    return this.followed.map(f => ({ ...f.answered }));
  }

  /** By shard: everything before has been read. */
  read(): ForwardPosition[] {
    return this.followed.map(f => ({ ...f.source.position }));
  }

  get laneCount(): number {
    return this.lanes.length;
  }

  /** The records before `segment` are gone, `rows` of them unread. */
  lost(shard: number, segment: number, rows: number, reason: 'queue_full' | 'queue_age'): void {
    const followed = this.followed[shard] as Followed;
    this.deps.metrics.dropped(reason).inc(rows);
    if (followed.source.position.segment < segment) followed.source.skipTo(segment);
    if (followed.answered.segment < segment && followed.tickets.length === 0) {
      followed.answered = { ...followed.source.position };
    }
  }

  /** Rows read and not answered. */
  get pending(): number {
    return this.lanes.reduce((sum, lane) => sum + lane.rows, 0);
  }

  /** Sends everything read so far without waiting for more. */
  hurry(): void {
    for (const lane of this.lanes) lane.close();
  }

  private again(name: string, ms: number, work: () => void): void {
    if (this.stopped) return;
    this.timers.get(name)?.cancel();
    this.timers.set(name, this.deps.clock.after(ms, work));
  }

  private pump(): void {
    if (this.stopped) return;
    if (this.wantedLanes !== this.lanes.length) {
      if (this.pending > 0) {
        this.hurry();
        this.again('pump', POLL_MS / 10, () => this.pump());
        return;
      }
      this.makeLanes();
    }
    for (let records = 0; records < RECORDS_PER_TURN; records++) {
      if (this.lanes.some(lane => lane.rows >= this.options.capacity)) {
        this.waited++;
        this.again('pump', 10, () => this.pump());
        return;
      }
      if (this.readOne()) continue;
      this.again('pump', POLL_MS, () => this.pump());
      return;
    }
    this.again('pump', 0, () => this.pump());
  }

  /** A record of the next shard that has one; false where none has. */
  private readOne(): boolean {
    for (let tried = 0; tried < this.followed.length; tried++) {
      const followed = this.followed[this.turn++ % this.followed.length] as Followed;
      const ticket: Ticket = { segment: 0, offset: 0, pending: 1 };
      if (!followed.source.next(this.rowsInto(followed.table, ticket))) continue;
      ticket.segment = followed.source.position.segment;
      ticket.offset = followed.source.position.offset;
      followed.tickets.push(ticket);
      this.release(ticket);
      return true;
    }
    return false;
  }

  private rowsInto(table: OutSeriesTable, ticket: Ticket): ForwardRows {
    return {
      series: (ref, labels) => table.set(ref, labels),
      samples: samples => this.addSamples(table, ticket, samples),
      histogram: (ref, at, start, histogram) => this.addHistogram(table.get(ref), ticket, at, start, histogram),
      exemplar: (raw, timestampMs, value, labels) => this.addExemplar(ticket, raw, timestampMs, value, labels),
      metadata: (entry: MetadataEntry) => this.deps.metadata.put(entry),
    };
  }

  private addSamples(table: OutSeriesTable, ticket: Ticket, samples: ForwardSamples): void {
    const { refs, timestamps, values, starts, n } = samples;
    let highest = 0;
    let relabelled = 0;
    for (let i = 0; i < n; i++) {
      const series = table.get(refs[i] as number);
      if (series == null) {
        if (series === null) relabelled++;
        else this.drop('unexplained', 1);
        continue;
      }
      const t = timestamps[i] as number;
      if (t > highest) highest = t;
      const batch = this.laneOf(series).batchFor(ticket);
      batch.addSample(series, t, values, i, starts === null ? 0 : (starts[i] as number));
    }
    if (relabelled > 0) this.drop('relabelled', relabelled);
    const gauge = this.deps.metrics.highestQueued;
    if (highest / 1000 > gauge.value) gauge.set(highest / 1000);
  }

  private addHistogram(
    series: OutSeries | null | undefined,
    ticket: Ticket,
    timestampMs: number,
    startMs: number,
    histogram: FloatHistogram,
  ): void {
    const custom = histogram.schema === CUSTOM_BUCKETS_SCHEMA;
    if (!this.options.sendNativeHistograms) this.drop('histograms_off', 1);
    else if (series == null) this.drop(series === null ? 'relabelled' : 'unexplained', 1);
    else if (custom && !this.deps.sender.v2) this.drop('custom_buckets_in_1_0', 1);
    else this.laneOf(series).batchFor(ticket).histograms.push({ series, timestampMs, startMs, histogram });
  }

  private addExemplar(
    ticket: Ticket,
    raw: Uint8Array,
    timestampMs: number,
    value: number,
    labels: readonly string[],
  ): void {
    const series = this.options.sendExemplars ? outSeries(raw, this.options) : null;
    if (series === null) this.drop(this.options.sendExemplars ? 'relabelled' : 'exemplars_off', 1);
    else this.laneOf(series).batchFor(ticket).exemplars.push({ series, timestampMs, value, labels });
  }

  private drop(reason: DropReason, rows: number): void {
    this.deps.metrics.dropped(reason).inc(rows);
  }

  private laneOf(series: OutSeries): Lane {
    return this.lanes[series.hash % this.lanes.length] as Lane;
  }

  private makeLanes(): void {
    const { clock, sender } = this.deps;
    const { batchRows, deadlineMs } = this.options;
    for (const lane of this.lanes) lane.stop();
    this.lanes = Array.from(
      { length: this.wantedLanes },
      () =>
        new Lane({
          clock,
          batchRows,
          deadlineMs,
          send: batch => sender.send(batch),
          done: batch => this.done(batch),
        }),
    );
  }

  private done(batch: Batch): void {
    this.answers++;
    for (const ticket of batch.tickets) this.release(ticket);
  }

  private release(ticket: Ticket): void {
    ticket.pending--;
    if (ticket.pending > 0) return;
    for (const followed of this.followed) {
      let n = 0;
      while (followed.tickets[n]?.pending === 0) n++;
      if (n === 0) continue;
      const { segment, offset } = followed.tickets[n - 1] as Ticket;
      followed.answered = { segment, offset };
      followed.tickets.splice(0, n);
    }
  }

  private tune(): void {
    const { minLanes, maxLanes } = this.options;
    const { metrics } = this.deps;
    if (this.waited > 0 && this.answers > 0) {
      this.quietRounds = 0;
      this.wantedLanes = Math.min(maxLanes, this.lanes.length * 2);
    } else if (this.waited === 0 && ++this.quietRounds >= QUIET_ROUNDS) {
      this.quietRounds = 0;
      this.wantedLanes = Math.max(minLanes, Math.ceil(this.lanes.length / 2));
    }
    this.waited = 0;
    this.answers = 0;
    metrics.pending.set(this.pending);
    metrics.lanes.set(this.lanes.length);
    metrics.lanesMax.set(maxLanes);
    this.again('tune', TUNE_EVERY_MS, () => this.tune());
  }

  private async sendMetadata(): Promise<void> {
    const { metadata: rule } = this.options;
    if (rule === null) return;
    const all = this.deps.metadata.all();
    for (let i = 0; i < all.length && !this.stopped; i += rule.batchRows) {
      await this.deps.sender.sendMetadata(all.slice(i, i + rule.batchRows));
    }
    this.again('metadata', rule.everyMs, () => void this.sendMetadata());
  }
}

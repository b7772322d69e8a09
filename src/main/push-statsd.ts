/**
 * The StatsD door's other side: lines into the state, the state into the tsdb at every interval, the mapping file read at start and with
 * each configuration.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { parseDuration } from '../config/units.ts';
import type { SampleSink } from '../contracts/sample-sink.ts';
import { BatchBuilder } from '../ingest/batch-builder.ts';
import { Mapping, MappingError } from '../ingest/statsd/mapping.ts';
import { StatsdState } from '../ingest/statsd/state.ts';
import { type Clock, everyAligned, type Timer } from '../lib/clock.ts';
import type { IdentityHasher } from '../lib/identity-hash.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { TenantId } from '../model/tenant.ts';
import type { DoorTaker } from './push-doors.ts';

export interface StatsdSettings {
  tenant: TenantId;
  flushIntervalMs: number;
  seriesMax: number;
  ttlMs: number;
  observer: 'summary' | 'histogram';
  buckets: readonly number[];
  quantiles: readonly number[];
  /** ms */
  windowMs: number;
  /** '' = none. */
  mappingFile: string;
}

export interface StatsdFeederOptions {
  sink: SampleSink;
  hasher: IdentityHasher;
  clock: Clock;
  log: Logger;
  onTaken: (samples: number) => void;
  onDropped: (reason: string, count: number) => void;
}

const MAPPING_BYTES_MAX = 8 << 20;
const utf8 = new TextDecoder('utf-8');

/** Throws with the file's name and what is wrong in it. */
export function loadMapping(settings: StatsdSettings): Mapping {
  const { mappingFile, observer, buckets, quantiles, windowMs, ttlMs } = settings;
  const defaults = { observer: { type: observer, buckets, quantiles, windowMs }, ttlMs };
  if (mappingFile === '') return new Mapping(null, defaults, parseDuration);
  try {
    const text = readFileSync(mappingFile, 'utf8');
    if (text.length > MAPPING_BYTES_MAX) throw new MappingError(`is larger than ${MAPPING_BYTES_MAX} bytes`);
    return new Mapping(parse(text, { maxAliasCount: 100 }), defaults, parseDuration);
  } catch (error) {
    throw new MappingError(`push.statsd.mapping_file ${mappingFile}: ${(error as Error).message}`);
  }
}

export class StatsdFeeder implements DoorTaker {
  private readonly options: StatsdFeederOptions;
  private settings: StatsdSettings;
  private readonly state: StatsdState;
  private readonly builder: BatchBuilder;
  private timer: Timer | null = null;
  private flushing: Promise<void> = Promise.resolve();
  private failing = false;

  constructor(settings: StatsdSettings, mapping: Mapping, options: StatsdFeederOptions) {
    this.options = options;
    this.settings = settings;
    this.state = new StatsdState({ mapping, seriesMax: settings.seriesMax, onDropped: options.onDropped });
    this.builder = new BatchBuilder(options.hasher, options.hasher.tenantSeed(settings.tenant));
    this.schedule();
  }

  get seriesCount(): number {
    return this.state.seriesCount;
  }

  take(lines: Uint8Array): void {
    const nowMs = Math.round(this.options.clock.now());
    let taken = 0;
    for (const line of utf8.decode(lines).split('\n')) {
      const text = line.trim();
      if (text !== '') taken += this.state.take(text, nowMs);
    }
    if (taken > 0) this.options.onTaken(taken);
  }

  /** Aggregation keeps up with any rate that a door lets through. */
  room(): null {
    return null;
  }

  apply(settings: StatsdSettings, mapping: Mapping): void {
    this.settings = settings;
    this.state.setOptions({ mapping, seriesMax: settings.seriesMax, onDropped: this.options.onDropped });
    this.schedule();
  }

  /** The last flush: what came since the one before. */
  async stop(): Promise<void> {
    this.timer?.cancel();
    await this.flush(Math.round(this.options.clock.now()));
  }

  flush(timeMs: number): Promise<void> {
    // The builder's memory is the store's until the append settles.
    this.flushing = this.flushing.then(() => this.store(timeMs));
    return this.flushing;
  }

  private async store(timeMs: number): Promise<void> {
    try {
      this.builder.reset();
      this.state.flush(this.builder, timeMs);
      if (this.builder.seriesCount === 0) return;
      const result = await this.options.sink.append(this.settings.tenant, this.builder.finish());
      for (const { reason, count } of result.rejected) this.options.onDropped(reason, count);
      this.failing = false;
    } catch (error) {
      if (!this.failing) this.options.log.warn({ error: errorText(error) }, 'StatsD metrics cannot be stored');
      this.failing = true;
    }
  }

  private schedule(): void {
    this.timer?.cancel();
    this.timer = everyAligned(this.options.clock, this.settings.flushIntervalMs, 0, timeMs => this.flush(timeMs));
  }
}

/**
 * ShardAdmission: admission as one shard thread runs it: the gate in its store, the sinks in front of its exchange, the ledger in
 * its metrics, and once in a while a word on the board about its own memory.
 */
import { getHeapStatistics } from 'node:v8';
import type { SampleSink } from '../contracts/sample-sink.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import { AdmissionBoard } from '../pipeline/admission/board.ts';
import { AdmissionGate } from '../pipeline/admission/gate.ts';
import { IngestLedger } from '../pipeline/admission/ledger.ts';
import { type LimitsConfig, LimitsTable } from '../pipeline/admission/limits.ts';
import { Senders } from '../pipeline/admission/senders.ts';
import { admissionSink } from '../pipeline/admission/sink.ts';
import type { ShardOptions } from '../storage/tsdb/shard.ts';

/** Refused series are tried again this often at the latest. */
const EPOCH_EVERY_MS = 60_000;
const REPORT_EVERY_MS = 1000;

export class ShardAdmission {
  readonly limits: LimitsTable;
  readonly gate: AdmissionGate;
  readonly ledger: IngestLedger;
  readonly senders: Senders;
  readonly board: AdmissionBoard;
  private readonly clock: Clock;
  private timer: Timer | null = null;
  private nextEpochMs: number;

  constructor(memory: SharedArrayBuffer, limits: LimitsConfig, metrics: MetricsRegistry, clock: Clock) {
    this.clock = clock;
    this.board = new AdmissionBoard(memory);
    this.limits = new LimitsTable(limits);
    this.gate = new AdmissionGate(this.board, this.limits);
    this.ledger = new IngestLedger(metrics);
    this.senders = new Senders(() => clock.now());
    this.nextEpochMs = clock.monotonic() + EPOCH_EVERY_MS;
  }

  sink(sink: SampleSink, origin: 'pushed' | 'own'): SampleSink {
    const { board, limits, ledger, senders, clock } = this;
    return admissionSink({ sink, origin, board, limits, ledger, senders, now: () => clock.now() });
  }

  /** What a shard of `shards` keeps of the rarer things: its part of the tenant's. */
  rarePolicy(shards: number): NonNullable<ShardOptions['rare']> {
    const { limits } = this;
    return {
      exemplars: tenant => {
        const { exemplarsKept, exemplarsOneIn, exemplarsPerSecond } = limits.of(tenant);
        const kept = Math.ceil(exemplarsKept / shards);
        return { kept, oneIn: exemplarsOneIn, perSecond: Math.ceil(exemplarsPerSecond / shards) };
      },
      metadataMetrics: tenant => limits.of(tenant).metadataMetrics,
    };
  }

  replaceLimits(limits: LimitsConfig): void {
    this.limits.replace(limits);
    this.gate.nextEpoch();
  }

  /** @param headBytes what the shard's head holds, by its own accounting */
  start(shard: number, headBytes: () => number): void {
    const round = (): void => {
      const heap = getHeapStatistics();
      this.board.report(shard, heap.used_heap_size, heap.heap_size_limit, headBytes());
      if (this.clock.monotonic() >= this.nextEpochMs) {
        this.nextEpochMs = this.clock.monotonic() + EPOCH_EVERY_MS;
        this.gate.nextEpoch();
      }
      this.timer = this.clock.after(REPORT_EVERY_MS, round);
    };
    round();
  }

  stop(): void {
    this.timer?.cancel();
  }
}

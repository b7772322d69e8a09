/**
 * Upkeep: what a shard does beside serving: flushes the head, merges blocks, writes coarser levels, expires what is old,
 * forgets series that ended.
 *
 * One job at a time, in slices that yield to requests. A delete that comes while blocks are being merged waits for that one
 * job, so that nothing deleted comes back through an output that was read before.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { Mutex } from '../../lib/mutex.ts';
import { newUlid } from '../../lib/ulid.ts';
import { TimeSlice } from '../../lib/yield.ts';
import type { Labels } from '../../model/labels.ts';
import type { TenantId } from '../../model/tenant.ts';
import { downsampleBlock } from './block/downsample.ts';
import { mergeBlocks } from './block/merge-blocks.ts';
import type { BlockReader } from './block/reader.ts';
import type { BlockStore } from './block-store.ts';
import { flushHead } from './flush.ts';
import type { Head } from './head/head.ts';
import {
  DAY_MS,
  DOWNSAMPLE_WINDOW_MS,
  type DownsampleJob,
  downsampleKey,
  HOUR_MS,
  type MergeJob,
  type PlanBlock,
  planDownsample,
  planMerge,
  planRetention,
  RAW,
  windowStart,
} from './plan.ts';
import { MIXED, type StoragePolicies } from './policies.ts';

export interface UpkeepOptions {
  /** The shard's folder. */
  dir: string;
  head: Head;
  blocks: BlockStore;
  clock: Clock;
  log: Logger;
  policies: StoragePolicies;
  /** Cap over all blocks of the shard; 0 = none. */
  maxBytes: number;
  /** Told when what queries see of a tenant's past has changed. */
  expired(tenant: TenantId): void;
  /** Flushed blocks keep one sample per this interval; 0 = all. */
  dedupMs: number;
  dropExemplars(beforeMs: number): void;
}

interface Planned extends PlanBlock {
  block: BlockReader;
}

/** The head is flushed up to the last 2 h window that ended this long ago: late scrapes still find it in memory. */
const FLUSH_LAG_MS = HOUR_MS / 2;
const FLUSH_WINDOW_MS = 2 * HOUR_MS;
/** Sealed chunks of the head on disk from which on it is flushed without waiting for a window's end. */
const CHUNK_FILES_MAX = 2 * 1024 ** 3;
/** Series without a sample for this long leave the head's index. */
const STALE_SERIES_MS = DAY_MS;
const COLLECT_EVERY_MS = 10 * 60_000;

export class Upkeep {
  private readonly o: UpkeepOptions;
  private readonly mutex = new Mutex();
  private readonly refusedPath: string;
  /** Downsamplings that turned out no smaller than their source. */
  private readonly refused: Set<string>;
  private stopped = false;
  private collectedAt = 0;
  /** Late rows alone do not start a flush before their number asks for it. */
  private flushedTo: number;
  private running: Promise<void> | null = null;

  constructor(options: UpkeepOptions) {
    this.o = options;
    // What a start finds is flushed when the next window ends: until then a backfill from old to new goes on in order.
    this.flushedTo = flushableTo(options.clock.now());
    this.refusedPath = join(options.dir, 'not-downsampled.json');
    this.refused = new Set(readList(this.refusedPath));
  }

  /** Does what is due. A round that finds one under way joins it. */
  round(): Promise<void> {
    this.running ??= this.doRound().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  /** Runs work while no job runs, e.g. a delete. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run(work);
  }

  /** Waits for the job under way; later rounds do nothing. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.mutex.run(async () => {});
  }

  /** Brings all of the head into blocks and merges what is due. */
  async flushAll(): Promise<void> {
    await this.mutex.run(() => this.flush(this.presentT()));
    await this.settleBlocks();
  }

  /** Flushes the head, then hands over the block files while none can change. */
  snapshot(skipHead: boolean, take: (files: string[]) => Promise<void>): Promise<void> {
    return this.mutex.run(async () => {
      if (!skipHead) await this.flush(this.presentT());
      await take(this.o.blocks.all().map(b => b.path));
    });
  }

  /**
   * The newest sample, but for those stamped far in the future: a flush makes everything up to its time count as late from
   * then on.
   */
  private presentT(): number {
    return Math.min(this.o.head.maxT, this.o.clock.now() + HOUR_MS);
  }

  private async doRound(): Promise<void> {
    const now = this.o.clock.now();
    if (this.stopped) return;
    const { head } = this.o;
    const upTo = flushableTo(now);
    const full = head.needsOooFlush || head.chunkFileBytes > CHUNK_FILES_MAX;
    if (full || (upTo > this.flushedTo && head.minT <= upTo)) {
      await this.mutex.run(() => this.flush(upTo));
      this.flushedTo = upTo;
    }
    await this.settleBlocks();
    if (this.stopped) return;
    await this.mutex.run(async () => this.expire());
    if (now - this.collectedAt > COLLECT_EVERY_MS) {
      this.collectedAt = now;
      const removed = await this.collect(now - STALE_SERIES_MS);
      if (removed > 0) this.o.log.info({ series: removed }, 'series without new samples left the head');
    }
  }

  /** In slices of the head's own size: an explosion leaves as it came, by the million. */
  private async collect(olderThan: number): Promise<number> {
    let total = 0;
    const slice = new TimeSlice();
    while (!this.stopped) {
      const removed = this.o.head.gcSeries(olderThan);
      total += removed;
      if (removed === 0) break;
      await this.o.head.maintain();
      await slice.pause();
    }
    return total;
  }

  private async flush(maxT: number): Promise<void> {
    const began = performance.now();
    const { head, blocks, clock, dedupMs, policies } = this.o;
    const done = await flushHead(head, blocks, maxT, {
      nowMs: Math.round(clock.now()),
      dedupMs,
      groupOf: (tenant, labels) => policies.groupOfSeries(tenant, labels),
      // Groups may be kept for different times: merges find each one's grain.
      rawKeepMs: tenant => (policies.hasRules(tenant) ? 0 : policies.of(tenant).retention.rawMs),
    });
    if (done.blocks > 0) {
      this.o.log.info({ ...done, ms: Math.round(performance.now() - began) }, 'flushed the head to blocks');
    }
  }

  /** Merges and downsamples until nothing is due. */
  private async settleBlocks(): Promise<void> {
    for (;;) {
      if (this.stopped) return;
      const did = await this.mutex.run(() => this.oneJob());
      if (!did) return;
    }
  }

  private async oneJob(): Promise<boolean> {
    const now = this.o.clock.now();
    const { policies } = this.o;
    if (await this.splitOne()) return true;
    const merge = planMerge(this.planned(), now, scope => policies.of(scope).retention.rawMs);
    if (merge !== null) {
      await this.merge(merge);
      return true;
    }
    const refused = (key: string): boolean => this.refused.has(key);
    const downsample = planDownsample(this.planned(), now, scope => policies.of(scope).downsample, refused);
    if (downsample === null) return false;
    await this.downsample(downsample);
    return true;
  }

  private async merge(job: MergeJob<Planned>): Promise<void> {
    const began = performance.now();
    const inputs = job.blocks.map(p => p.block);
    if (!(await this.rewrite(inputs))) return;
    const ms = Math.round(performance.now() - began);
    const { log } = this.o;
    log.info({ tenant: job.tenant, inputs: inputs.length, hours: job.windowMs / HOUR_MS, ms }, 'merged blocks');
  }

  /** Cuts up a block that holds series of several groups: imported, or written under other rules. */
  private async splitOne(): Promise<boolean> {
    const { blocks, policies, log } = this.o;
    for (const block of blocks.all()) {
      const { tenant, ulid } = block.meta;
      const group = await this.quarantining([block], async () => policies.groupOfBlock(block));
      if (group !== null && group !== MIXED) continue;
      if (group === MIXED && (await this.rewrite([block], labels => policies.groupOfSeries(tenant, labels)))) {
        log.info({ tenant, block: ulid }, 'split a block by storage.rules');
      }
      return true;
    }
    return false;
  }

  /** Replaces blocks by one that holds all of theirs, or one per group. False where one of them was corrupt. */
  private async rewrite(inputs: readonly BlockReader[], groupOf?: (labels: Labels) => number): Promise<boolean> {
    const { blocks, clock } = this.o;
    const dir = blocks.tenantDir((inputs[0] as BlockReader).meta.tenant);
    const metas = await this.quarantining(inputs, () =>
      mergeBlocks(inputs, {
        dir,
        newUlid: () => newUlid(clock.now()),
        createdAtMs: Math.round(clock.now()),
        ...(groupOf === undefined ? {} : { groupOf }),
      }),
    );
    if (metas === null) return false;
    blocks.replace(
      inputs,
      metas.map(m => join(dir, `${m.ulid}.block`)),
    );
    return true;
  }

  private async downsample(job: DownsampleJob<Planned>): Promise<void> {
    const inputs = job.blocks.map(p => p.block);
    const { blocks, log } = this.o;
    const { tenant } = (inputs[0] as BlockReader).meta;
    const dir = blocks.tenantDir(tenant);
    const made = await this.quarantining(inputs, () =>
      downsampleBlock(inputs, job.toMs, {
        dir,
        ulid: newUlid(this.o.clock.now()),
        createdAtMs: Math.round(this.o.clock.now()),
      }),
    );
    if (made === null) return;
    const { meta } = made;
    const start = job.windowStart;
    const before = this.planned().filter(
      p =>
        p.tenant === job.tenant &&
        p.resolutionMs === job.toMs &&
        windowStart(p.minT, DOWNSAMPLE_WINDOW_MS) === start &&
        // Not one of a larger window, that holds more than is written here.
        windowStart(p.maxT, DOWNSAMPLE_WINDOW_MS) === start,
    );
    if (meta === null) {
      this.refused.add(downsampleKey(job.tenant, job.toMs, start));
      writeList(this.refusedPath, [...this.refused]);
      return;
    }
    const { rawMs, minuteMs } = this.o.policies.of(job.tenant).retention;
    // Where some of the finer data has gone already, what came late is all that was read: it joins the level, by a merge.
    const whole = this.o.clock.now() - start <= (job.fromMs === RAW ? rawMs : minuteMs);
    const replaced = whole ? before.map(p => p.block) : [];
    blocks.replace(replaced, [join(dir, `${meta.ulid}.block`)]);
    this.o.expired(tenant);
    log.info({ tenant: job.tenant, resolutionMs: job.toMs, samples: meta.floatSamples }, 'wrote a coarser level');
  }

  /** Rewrites every block that has tombstones without what they hide. */
  async rewriteDeleted(): Promise<void> {
    for (const block of this.o.blocks.all()) {
      await this.mutex.run(async () => {
        const { tenant, minT, maxT } = { tenant: block.meta.tenant, minT: block.minT, maxT: block.maxT };
        const current = this.planned().filter(p => p.block === block && block.tombstones.size > 0);
        if (current.length === 0) return;
        const job = { tenant, resolutionMs: block.meta.resolutionMs, windowStart: minT, windowMs: maxT - minT };
        await this.merge({ kind: 'merge', ...job, blocks: current });
      });
    }
  }

  /** Runs a job; a block that proves corrupt is moved aside, and the job is planned anew without it. */
  private async quarantining<T>(inputs: readonly BlockReader[], work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      const e = error as Error & { path?: string };
      const bad = inputs.find(b => e.name === 'CorruptBlockError' && b.path === e.path);
      if (bad === undefined) throw e;
      this.o.log.error({ error: e.message }, 'a corrupt block was moved to quarantine; the rest serves');
      this.o.blocks.quarantine(bad, e.message);
      this.o.expired(bad.meta.tenant);
      return null;
    }
  }

  private expire(): void {
    const { blocks, clock, log, policies } = this.o;
    const doomed = planRetention({
      blocks: this.planned(),
      nowMs: clock.now(),
      retentionOf: scope => policies.of(scope).retention,
      downsampleOf: scope => policies.of(scope).downsample,
      refused: key => this.refused.has(key),
      maxBytes: this.o.maxBytes,
    });
    if (doomed.length > 0) {
      blocks.replace(
        doomed.map(p => p.block),
        [],
      );
      for (const tenant of new Set(doomed.map(p => p.block.meta.tenant))) this.o.expired(tenant);
      log.info({ blocks: doomed.length }, 'blocks past their retention were removed');
    }
    const longest = policies.of('').retention.rawMs;
    this.o.dropExemplars(clock.now() - longest);
  }

  private planned(): Planned[] {
    const { blocks, policies } = this.o;
    return blocks.all().map(block => ({
      block,
      id: block.meta.ulid,
      tenant: policies.scope(block.meta.tenant, policies.groupOfBlock(block)),
      minT: block.minT,
      maxT: block.maxT,
      resolutionMs: block.meta.resolutionMs,
      bytes: block.bytes,
      arrivedMs: block.meta.arrivedMs,
    }));
  }
}

/** End of the last window that may be flushed, inclusive. */
function flushableTo(nowMs: number): number {
  return windowStart(nowMs - FLUSH_LAG_MS, FLUSH_WINDOW_MS) - 1;
}

function readList(path: string): string[] {
  if (!existsSync(path)) return [];
  try {
    const list: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(list) ? list.filter((x): x is string => typeof x === 'string') : [];
  } catch {
    // Only a memory of work not worth repeating: it is made again.
    return [];
  }
}

function writeList(path: string, list: readonly string[]): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(list));
  renameSync(`${path}.tmp`, path);
}

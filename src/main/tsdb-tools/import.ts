/**
 * `sightline tsdb import SOURCE`: a Prometheus data folder, a snapshot of one, or a single block, into one tenant.
 *
 * Blocks first, oldest name first, each on its own: one that cannot be read is reported and the next goes on. Then the
 * log, where SOURCE has one. What was finished is noted in a journal, so that running it twice changes nothing.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import {
  BlockFolder,
  findBlockFolders,
  type PrometheusMeta,
  readBlockMeta,
} from '../../ingest/prometheus-tsdb/block-folder.ts';
import { CorruptPrometheusError } from '../../ingest/prometheus-tsdb/byte-reader.ts';
import { findWalSegments } from '../../ingest/prometheus-tsdb/wal-files.ts';
import { systemClock } from '../../lib/clock.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { silentLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import { isValidTenant } from '../../model/tenant.ts';
import type { DataDir } from '../../storage/data-dir.ts';
import { changeFeedBytes, SharedChangeFeed } from '../../storage/tsdb/change-feed.ts';
import { TsdbShard } from '../../storage/tsdb/shard.ts';
import type { TsdbToolContext } from '../commands/tsdb.ts';
import { UsageError } from '../options.ts';
import { importBlock } from './import-block.ts';
import { ImportJournal } from './import-journal.ts';
import { ImportReport } from './import-report.ts';
import { importWal, walFingerprint } from './import-wal.ts';
import { shardPaths } from './shard-paths.ts';

/** Gives the number of damaged places found. */
export async function importPrometheus(context: TsdbToolContext, source: string): Promise<number> {
  if (!isValidTenant(context.tenant)) throw new UsageError(`${JSON.stringify(context.tenant)} is no valid tenant`);
  if (statSync(source, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new UsageError(`${source} is not a folder`);
  }
  const folders = findBlockFolders(source);
  const segments = folders[0] === resolve(source) ? [] : findWalSegments(source);
  if (folders.length === 0 && segments.length === 0) {
    throw new UsageError(`${source} has no Prometheus block and no wal folder; is it the right one?`);
  }
  return new Import(context, source).run(folders, segments);
}

class Import {
  private readonly context: TsdbToolContext;
  private readonly source: string;
  private readonly journal: ImportJournal;
  private readonly hasher: IdentityHasher;
  private readonly shardDirs: string[];
  private readonly total: ImportReport;
  private skipped = 0;
  private failed = 0;
  /** Where the in-order blocks end; 0 where one of them could not be read in full. */
  private blocksEnd = 0;
  private blocksWhole = true;

  constructor(context: TsdbToolContext, source: string) {
    this.context = context;
    this.source = source;
    const { dataDir } = context;
    this.journal = new ImportJournal(dataDir.folder('tsdb'));
    this.hasher = new IdentityHasher(dataDir.identitySecret);
    this.shardDirs = shardFolders(dataDir);
    this.total = new ImportReport(context.print);
  }

  async run(folders: readonly string[], segments: ReturnType<typeof findWalSegments>): Promise<number> {
    const { print } = this.context;
    for (const [i, folder] of folders.entries()) {
      await this.block(folder, `block ${i + 1} of ${folders.length}, ${basename(folder)}`);
    }
    if (segments.length > 0) await this.log(segments);
    else if (existsSync(join(this.source, 'chunks_head'))) print('there is no log: only blocks were imported');
    print(`imported ${this.total}`);
    if (this.skipped > 0) print(`${this.skipped} had been imported before (${this.journal.path})`);
    if (this.failed > 0) print(`${this.failed} could not be read at all; run it again when they are repaired`);
    return this.total.damaged;
  }

  private async block(folder: string, title: string): Promise<void> {
    const { print, tenant } = this.context;
    const report = new ImportReport(print);
    let meta: PrometheusMeta | null = null;
    try {
      meta = readBlockMeta(folder);
      if (!meta.fromOutOfOrder) this.blocksEnd = Math.max(this.blocksEnd, meta.maxT);
      const done = this.journal.get(tenant, meta.ulid);
      if (done !== undefined) {
        print(`${title}: imported before, ${done.at}`);
        if ((done.damaged ?? []).length > 0) this.blocksWhole = false;
        this.skipped++;
        return;
      }
      print(`${title}: ${day(meta.minT)} to ${day(meta.maxT)}, ${meta.series} series, ${meta.samples} samples`);
      const block = new BlockFolder(folder);
      try {
        await importBlock(
          block,
          {
            shardDirs: this.shardDirs,
            tenant,
            sourceUlid: meta.ulid,
            hasher: this.hasher,
            nowMs: Math.round(systemClock.now()),
            progress: (step, done, total) => print(`  ${step}: ${done}${total > 0 ? ` of ${total}` : ''}`),
          },
          report,
        );
      } finally {
        block.close();
      }
    } catch (error) {
      if (!(error instanceof CorruptPrometheusError)) throw error;
      print(`${title}: cannot be read, left out: ${error.message}`);
      this.failed++;
      this.total.damaged++;
      this.blocksWhole = false;
      return;
    }
    if (report.damaged > 0) this.blocksWhole = false;
    this.journal.put(tenant, meta.ulid, {
      source: resolve(folder),
      at: new Date(systemClock.now()).toISOString(),
      what: String(report),
      ...(report.findings.length > 0 ? { damaged: report.findings } : {}),
    });
    this.total.add(report);
    print(`  ${report}`);
  }

  private async log(segments: ReturnType<typeof findWalSegments>): Promise<void> {
    const { print, tenant } = this.context;
    const fingerprint = walFingerprint(segments);
    const name = `log of ${resolve(this.source)}`;
    const done = this.journal.get(tenant, name);
    if (done?.fingerprint === fingerprint) {
      print(`log: imported before, ${done.at}`);
      this.skipped++;
      return;
    }
    print(`log: ${segments.length} segments`);
    const report = new ImportReport(print);
    const shards: TsdbShard[] = [];
    try {
      for (const [i, dir] of this.shardDirs.entries()) shards.push(await openShard(dir, i, this.shardDirs.length));
      await importWal(
        segments,
        {
          shards,
          tenant,
          hasher: this.hasher,
          fromT: this.blocksWhole ? this.blocksEnd : 0,
          progress: (step, done, total) => print(`  ${step}: ${done} of ${total}`),
        },
        report,
      );
    } finally {
      for (const shard of shards) await shard.close();
    }
    this.journal.put(tenant, name, {
      source: resolve(this.source),
      at: new Date(systemClock.now()).toISOString(),
      what: String(report),
      fingerprint,
      ...(report.findings.length > 0 ? { damaged: report.findings } : {}),
    });
    this.total.add(report);
    print(`  ${report}`);
  }
}

function shardFolders(dataDir: DataDir): string[] {
  const dirs = shardPaths(dataDir);
  for (const dir of dirs) mkdirSync(dir, { recursive: true });
  return dirs;
}

/** A shard without background work, that keeps everything. */
function openShard(dir: string, shardIndex: number, count: number): Promise<TsdbShard> {
  const forever = Number.MAX_SAFE_INTEGER;
  return TsdbShard.open({
    dir,
    shardIndex,
    clock: systemClock,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    changes: new SharedChangeFeed(new SharedArrayBuffer(changeFeedBytes(count)), count),
    walSync: 'interval',
    walSyncIntervalMs: 1000,
    retention: { rawMs: forever, minuteMs: forever, hourMs: forever, maxBytes: 0 },
    downsample: { minuteAfterMs: null, hourAfterMs: null },
  });
}

function day(t: number): string {
  return new Date(Math.min(8.64e15, Math.max(-8.64e15, t))).toISOString().replace(/:\d\d\.\d+Z$/, 'Z');
}

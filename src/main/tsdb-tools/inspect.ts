/**
 * `sightline tsdb inspect`: what lies in the metrics storage: shards, tenants, blocks with ranges and sizes, the files of the head.
 * Looks only; may be run beside a server, whose files may come and go meanwhile.
 */
import { existsSync } from 'node:fs';
import { BlockCaches } from '../../storage/tsdb/block/cache.ts';
import type { BlockMeta } from '../../storage/tsdb/block/layout.ts';
import { BlockReader } from '../../storage/tsdb/block/reader.ts';
import type { TsdbToolContext } from '../commands/tsdb.ts';
import { type LogFacts, type LogKind, listBlocks, listLogs, readLog } from './shard-files.ts';
import { shardPaths } from './shard-paths.ts';

interface BlockFacts {
  meta: BlockMeta;
  bytes: number;
  /** Series that have something deleted. */
  tombstones: number;
}

interface Totals {
  blocks: number;
  samples: number;
  bytes: number;
}

export async function inspect({ dataDir, print }: TsdbToolContext): Promise<void> {
  print(`data folder ${dataDir.path}: ${dataDir.shards} shards`);
  const byTenant = new Map<string, Totals>();
  let logBytes = 0;
  for (const [i, shardDir] of shardPaths(dataDir).entries()) {
    if (!existsSync(shardDir)) continue;
    print('');
    print(`shard ${i}`);
    logBytes += inspectLogs(shardDir, print);
    inspectBlocks(shardDir, byTenant, print);
  }
  print('');
  let samples = 0;
  let bytes = 0;
  let blocks = 0;
  for (const [tenant, t] of [...byTenant].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    print(`tenant ${tenant}: ${t.blocks} blocks, ${t.samples} samples, ${size(t.bytes)}${perSample(t)}`);
    samples += t.samples;
    bytes += t.bytes;
    blocks += t.blocks;
  }
  print(`in all: ${blocks} blocks, ${samples} samples, ${size(bytes)}; logs ${size(logBytes)}`);
}

function inspectLogs(shardDir: string, print: (line: string) => void): number {
  const byKind = new Map<LogKind, LogFacts[]>();
  for (const log of listLogs(shardDir)) {
    const facts = readLog(log);
    if (facts === null) continue;
    const list = byKind.get(log.kind);
    if (list === undefined) byKind.set(log.kind, [facts]);
    else list.push(facts);
  }
  let total = 0;
  for (const [kind, files] of byKind) {
    const sum = (pick: (f: LogFacts) => number): number => files.reduce((n, f) => n + pick(f), 0);
    const bytes = sum(f => f.bytes);
    total += bytes;
    const rows = sum(f => f.rows);
    const damaged = files.filter(f => f.damage.length > 0).length;
    const range = rangeOf(Math.min(...files.map(f => f.minT)), Math.max(...files.map(f => f.maxT)));
    print(
      `  ${kind}${files.length === 1 ? '' : `s: ${files.length} files`}: ${contents(
        kind,
        rows,
        sum(f => f.dead),
      )}` +
        `${range === '' ? '' : `, ${range}`}, ${size(bytes)}${damaged > 0 ? `, ${damaged} DAMAGED (see verify)` : ''}`,
    );
  }
  return total;
}

function contents(kind: LogKind, rows: number, dead: number): string {
  switch (kind) {
    case 'series log':
      return `${rows - dead} series${dead > 0 ? ` (and ${dead} that have ended)` : ''}`;
    case 'chunk file':
      return `${rows} chunks`;
    case 'WAL segment':
      return `${rows} samples`;
    case 'exemplar segment':
      return `${rows} exemplars`;
    case 'metadata log':
      return `${rows} records`;
  }
}

function inspectBlocks(shardDir: string, byTenant: Map<string, Totals>, print: (line: string) => void): void {
  const rows: string[][] = [];
  const found = listBlocks(shardDir).map(({ path }) => ({ path, facts: readFacts(path) }));
  found.sort((a, b) => order(a.facts, b.facts));
  for (const { path, facts } of found) {
    if (facts === null) continue;
    if (typeof facts === 'string') {
      print(`  DAMAGED ${path}: ${facts}`);
      continue;
    }
    const { meta, bytes, tombstones } = facts;
    const samples = meta.floatSamples + meta.histogramSamples;
    rows.push([
      meta.ulid,
      meta.tenant,
      meta.resolutionMs === 0 ? 'raw' : meta.resolutionMs === 60_000 ? '1m' : `${meta.resolutionMs / 3_600_000}h`,
      rangeOf(meta.minT, meta.maxT),
      `level ${meta.level}`,
      `${meta.series} series`,
      `${samples} samples`,
      size(bytes),
      tombstones > 0 ? `${tombstones} series with deletions` : '',
    ]);
    const t = byTenant.get(meta.tenant) ?? { blocks: 0, samples: 0, bytes: 0 };
    t.blocks++;
    t.samples += samples;
    t.bytes += bytes;
    byTenant.set(meta.tenant, t);
  }
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map(r => (r[c] as string).length)));
  for (const row of rows)
    print(
      `  ${row
        .map((cell, c) => cell.padEnd(widths[c] as number))
        .join('  ')
        .trimEnd()}`,
    );
}

function order(a: BlockFacts | string | null, b: BlockFacts | string | null): number {
  if (a === null || b === null || typeof a === 'string' || typeof b === 'string') return 0;
  if (a.meta.tenant !== b.meta.tenant) return a.meta.tenant < b.meta.tenant ? -1 : 1;
  return a.meta.resolutionMs - b.meta.resolutionMs || a.meta.minT - b.meta.minT;
}

/** What is wrong, as text; null where the block is gone meanwhile. */
function readFacts(path: string): BlockFacts | string | null {
  try {
    const block = new BlockReader(path, new BlockCaches({ indexBytesMax: 1e6, dataBytesMax: 1e6 }));
    try {
      return { meta: block.meta, bytes: block.bytes, tombstones: block.tombstones.size };
    } finally {
      block.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if ((error as Error).name === 'CorruptBlockError') return (error as Error).message;
    throw error;
  }
}

function rangeOf(minT: number, maxT: number): string {
  return minT > maxT ? '' : `${time(minT)} to ${time(maxT)}`;
}

function time(t: number): string {
  return t >= 0 && t <= 8.64e15 ? new Date(t).toISOString().replace(/\.\d+Z$/, 'Z') : String(t);
}

function perSample(t: Totals): string {
  return t.samples === 0 ? '' : `, ${(t.bytes / t.samples).toFixed(2)} bytes a sample`;
}

function size(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`;
  if (bytes < 10_000_000) return `${Math.round(bytes / 1000)} kB`;
  return bytes < 10_000_000_000 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

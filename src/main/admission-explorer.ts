/**
 * The cardinality explorer over all shards: each is asked for its part, and the parts become one view. A series lives in one
 * shard, so counts add up; values of a label stand in several, so those are united.
 */
import { parseRelabelRules } from '../config/prometheus/relabel-text.ts';
import type {
  CardinalityExplorer,
  CardinalityPart,
  CardinalityScope,
  CardinalityView,
  RelabelSavings,
  SavingsPart,
  SenderCount,
} from '../contracts/cardinality.ts';
import { compileRelabel, type RelabelRule } from '../ingest/scrape/relabel.ts';
import { DistinctSketch } from '../lib/distinct-sketch.ts';
import { Mutex } from '../lib/mutex.ts';
import { type RpcHandlers, type RpcPort, Transfer } from '../lib/rpc.ts';
import { TimeSlice } from '../lib/yield.ts';
import type { TenantId } from '../model/tenant.ts';
import type { LimitsTable } from '../pipeline/admission/limits.ts';
import type { TsdbShard } from '../storage/tsdb/shard.ts';
import type { ShardAdmission } from './admission-shard.ts';

interface SavingsRequest {
  tenant: TenantId;
  rules: RelabelRule[];
  budgetMs: number;
}

/** What a shard thread answers. */
export function explorerHandlers(shard: TsdbShard, admission: ShardAdmission): RpcHandlers {
  const handlers = {
    explore: (a: { tenant: TenantId; scope: CardinalityScope }) => shard.head.explore(a.tenant, a.scope),
    savings: async (a: SavingsRequest) => {
      const began = performance.now();
      const isOver = (): boolean => performance.now() - began > a.budgetMs;
      const part = await shard.head.savings(a.tenant, compileRelabel(a.rules), isOver);
      return new Transfer(part, [part.identities.buffer as ArrayBuffer]);
    },
    senders: (a: { tenant: TenantId }) => admission.senders.list(a.tenant),
    seriesByTenant: () => [...shard.head.stats().seriesByTenant],
  };
  return handlers as unknown as RpcHandlers;
}

export function clusterExplorer(shards: readonly RpcPort[], limits: LimitsTable): CardinalityExplorer {
  // One walk over everything at a time is enough; whoever comes meanwhile waits.
  const turns = new Mutex();
  const all = <T>(method: string, args: unknown): Promise<T[]> =>
    Promise.all(shards.map(shard => shard.call<T>(method, args)));
  return {
    view: (tenant, scope) =>
      turns.run(async () => mergeViews(await all<CardinalityPart>('explore', { tenant, scope }), scope.limit)),
    savings: async (tenant, yaml, budgetMs) => {
      const rules = parseRelabelRules(yaml);
      return turns.run(async () => mergeSavings(await all<SavingsPart>('savings', { tenant, rules, budgetMs })));
    },
    senders: async tenant => mergeSenders(await all<SenderCount[]>('senders', { tenant })),
    tenants: async () => {
      const parts = await all<[TenantId, number][]>('seriesByTenant', null);
      const sums = summed(parts.flat().map(([name, series]) => ({ name, series })));
      return [...sums.values()]
        .map(({ name, series }) => ({ tenant: name, series, limit: limits.of(name).activeSeries }))
        .sort((a, b) => b.series - a.series);
    },
  };
}

export function mergeViews(parts: readonly CardinalityPart[], limit: number): CardinalityView {
  const sketches = new Map<string, { series: number; parts: CardinalityPart['labels'] }>();
  for (const label of parts.flatMap(p => p.labels)) {
    const known = sketches.get(label.name);
    if (known === undefined) sketches.set(label.name, { series: label.series, parts: [label] });
    else {
      known.series += label.series;
      known.parts.push(label);
    }
  }
  const labels = [...sketches].map(([name, { series, parts: own }]) => ({ name, series, values: united(own) }));
  return {
    series: parts.reduce((sum, p) => sum + p.series, 0),
    metrics: top(
      parts.flatMap(p => p.metrics),
      m => m.name,
      limit,
    ),
    labels: labels.sort((a, b) => b.values - a.values || (a.name < b.name ? -1 : 1)).slice(0, limit),
    pairs: top(
      parts.flatMap(p => p.pairs),
      p => `${p.label}\0${p.value}`,
      limit,
    ),
    values: top(
      parts.flatMap(p => p.values),
      v => v.value,
      limit,
    ),
    targets: top(
      parts.flatMap(p => p.targets),
      t => `${t.job}\0${t.instance}`,
      limit,
    ),
  };
}

/** One shard knows its own number exactly. */
function united(parts: CardinalityPart['labels']): number {
  if (parts.length === 1) return (parts[0] as CardinalityPart['labels'][number]).values;
  const sketch = new DistinctSketch();
  for (const { sketch: smallest } of parts) sketch.addAll(smallest);
  return Math.max(sketch.count(), ...parts.map(p => p.values));
}

export async function mergeSavings(parts: readonly SavingsPart[]): Promise<RelabelSavings> {
  const sum = (pick: (p: SavingsPart) => number): number => parts.reduce((total, p) => total + pick(p), 0);
  const before = sum(p => p.total);
  const looked = sum(p => p.looked);
  // What was looked at stands for the rest.
  const scale = looked === 0 ? 0 : Math.max(1, before / looked);
  const dropped = sum(p => p.dropped);
  const kept = looked - dropped;
  const distinct = Math.min(kept, await countDistinct(parts));
  const metrics = new Map<string, SavingsPart['metrics'][number]>();
  for (const row of parts.flatMap(p => p.metrics)) {
    const known = metrics.get(row.name);
    if (known === undefined) metrics.set(row.name, { ...row });
    else {
      known.before += row.before;
      known.dropped += row.dropped;
      known.changed += row.changed;
    }
  }
  const scaled = (n: number): number => Math.round(n * scale);
  return {
    before,
    after: scaled(distinct),
    saved: before - scaled(distinct),
    dropped: scaled(dropped),
    changed: scaled(sum(p => p.changed)),
    merged: scaled(kept - distinct),
    complete: looked >= before,
    looked,
    metrics: [...metrics.values()]
      .sort((a, b) => b.dropped + b.changed - a.dropped - a.changed)
      .slice(0, 50)
      .map(m => ({ name: m.name, before: scaled(m.before), dropped: scaled(m.dropped), changed: scaled(m.changed) })),
  };
}

async function countDistinct(parts: readonly SavingsPart[]): Promise<number> {
  const mask = parts.reduce((all, p) => all | p.mask, 0);
  const found = new Set<number>();
  const slice = new TimeSlice();
  for (const { identities } of parts) {
    for (let i = 0; i < identities.length; i += 2) {
      if (i % 1024 === 0 && slice.due()) await slice.pause();
      const a = identities[i] as number;
      // 53 of the 64 bits: a million series have one chance in 20,000 of a pair that is taken for one.
      if ((a & mask) === 0) found.add((a & 0x1fffff) * 2 ** 32 + (identities[i + 1] as number));
    }
  }
  return found.size * (mask + 1);
}

function mergeSenders(parts: readonly SenderCount[][]): SenderCount[] {
  const bySender = new Map<string, SenderCount>();
  for (const { sender, thisHour, lastDay } of parts.flat()) {
    const known = bySender.get(sender);
    if (known === undefined) bySender.set(sender, { sender, thisHour, lastDay });
    else {
      known.thisHour += thisHour;
      known.lastDay += lastDay;
    }
  }
  return [...bySender.values()].sort((a, b) => b.lastDay - a.lastDay);
}

function summed<T extends { series: number }>(rows: readonly T[], keyOf?: (row: T) => string): Map<string, T> {
  const key = keyOf ?? (row => (row as unknown as { name: string }).name);
  const byKey = new Map<string, T>();
  for (const row of rows) {
    const known = byKey.get(key(row));
    if (known === undefined) byKey.set(key(row), { ...row });
    else known.series += row.series;
  }
  return byKey;
}

function top<T extends { series: number }>(rows: readonly T[], keyOf: (row: T) => string, limit: number): T[] {
  const sums = [...summed(rows, keyOf)];
  return sums
    .sort(([a, x], [b, y]) => y.series - x.series || (a < b ? -1 : 1))
    .slice(0, limit)
    .map(([, row]) => row);
}

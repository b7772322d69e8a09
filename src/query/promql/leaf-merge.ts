/**
 * Several shards as one LeafSource: the plan goes to each, partial results are merged.
 *
 * Series live in exactly one shard, so plain rows are laid end to end; partial aggregates are merged group by group with
 * their compensations. A shard that meets native histograms under sum or avg declines to aggregate; then the others
 * are asked again for plain rows, and the engine aggregates them all.
 */
import {
  type LeafNote,
  type LeafPlan,
  type LeafResult,
  type LeafRow,
  type LeafSource,
  QueryLimitError,
  type RawSeries,
} from '../../contracts/leaf-source.ts';
import { labelsKey } from '../../model/labels.ts';
import { mergePartial } from './leaf-aggregate.ts';

/** Merges the parts of one plan. They must all have aggregated, or all declined. Takes the parts' arrays over. */
export function mergeLeafResults(plan: LeafPlan, parts: readonly LeafResult[]): LeafResult {
  const declined = parts.some(p => p.declined === true);
  if (declined && parts.some(p => p.declined !== true && p.rows.length > 0)) {
    throw new Error('BUG: merging aggregated with declined leaf results');
  }
  const aggregate = declined ? null : plan.aggregate;
  return {
    rows: aggregate === null ? parts.flatMap(p => p.rows) : mergeGroups(aggregate.op, parts),
    warnings: mergeNotes(parts.map(p => p.warnings)),
    infos: mergeNotes(parts.map(p => p.infos)),
    samplesRead: parts.reduce((n, p) => n + p.samplesRead, 0),
    peakSamples: parts.reduce((n, p) => n + p.peakSamples, 0),
    ...(plan.countSteps === true ? { samplesPerStep: sumSteps(parts) } : {}),
    ...(declined ? { declined } : {}),
  };
}

function sumSteps(parts: readonly LeafResult[]): Float64Array {
  const sums = new Float64Array(Math.max(0, ...parts.map(p => p.samplesPerStep?.length ?? 0)));
  for (const { samplesPerStep } of parts) {
    samplesPerStep?.forEach((n, i) => {
      sums[i] = (sums[i] as number) + n;
    });
  }
  return sums;
}

function mergeGroups(op: NonNullable<LeafPlan['aggregate']>['op'], parts: readonly LeafResult[]): LeafRow[] {
  const byKey = new Map<string, LeafRow>();
  for (const part of parts) {
    for (const row of part.rows) {
      const key = labelsKey(row.labels);
      const have = byKey.get(key);
      if (have === undefined) byKey.set(key, row);
      else mergePartial(op, have, row);
    }
  }
  return [...byKey.values()];
}

function mergeNotes(lists: readonly (readonly LeafNote[])[]): LeafNote[] {
  const seen = new Set<string>();
  const out: LeafNote[] = [];
  for (const list of lists) {
    for (const note of list) {
      const key = `${note.of ?? ''}\n${note.message}`;
      if (seen.has(key)) continue;
      seen.add(key);
      out.push(note);
    }
  }
  return out;
}

/**
 * @param own index of the shard that is evaluated on this thread, if any: the others are asked before it, so that they work
 * at the same time.
 */
export function createShardedLeafSource(shards: readonly LeafSource[], own = -1): LeafSource {
  const askAll = <T>(ask: (shard: LeafSource) => Promise<T>): Promise<T[]> => {
    const asked = shards.map((shard, i) => (i === own ? null : ask(shard)));
    return Promise.all(asked.map((answer, i) => answer ?? ask(shards[i] as LeafSource)));
  };
  return {
    async evalLeaf(tenant, plan, signal) {
      let parts = await askAll(s => s.evalLeaf(tenant, plan, signal));
      if (parts.some(p => p.declined === true)) {
        const plain: LeafPlan = { ...plan, aggregate: null };
        parts = await Promise.all(
          parts.map(async (p, i) =>
            p.declined === true
              ? p
              : { ...(await (shards[i] as LeafSource).evalLeaf(tenant, plain, signal)), declined: true },
          ),
        );
      }
      const merged = mergeLeafResults(plan, parts);
      if (merged.peakSamples > plan.maxSamples) throw tooManySamples(plan.maxSamples);
      return merged;
    },
    async selectRaw(tenant, request, signal) {
      const parts = await askAll(s => s.selectRaw(tenant, request, signal));
      const all: RawSeries[] = parts.flat();
      let samples = 0;
      for (const s of all) samples += s.timestamps.length + s.histogramTimestamps.length;
      if (samples > request.maxSamples) throw tooManySamples(request.maxSamples);
      return all;
    },
  };
}

export function tooManySamples(limit: number): QueryLimitError {
  return new QueryLimitError(
    `query processing would load too many samples into memory in query execution: more than ${limit}; narrow the selectors or the time range`,
  );
}

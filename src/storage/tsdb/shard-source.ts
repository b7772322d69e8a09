/**
 * ShardSource: the SampleSource of one shard: head and blocks as one.
 *
 * Per query it picks, stretch by stretch, the resolution to read (choose.ts), selects in each part, and joins the parts by
 * identity hash. Blocks are pinned by their store until the set is closed.
 */
import type {
  ExemplarSeries,
  LabelRequest,
  LabelResult,
  SampleSource,
  SelectRequest,
  SeriesSet,
} from '../../contracts/sample-source.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { compareStrings, type Labels, labelsKey } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import { columnFor } from './block/aggregates.ts';
import type { BlockReader } from './block/reader.ts';
import type { BlockStore } from './block-store.ts';
import { chooseBlocks, wantedResolution } from './choose.ts';
import { chooseBySeries, type ReadBySeries, type SelectIn } from './choose-by-series.ts';
import type { Head } from './head/head.ts';
import { compileMatchers } from './matchers.ts';
import type { CompiledMatcher, Part, PartSet } from './part.ts';
import { RAW } from './plan.ts';
import { MergedSeriesSet, type PartRead } from './series-set.ts';

/** What a default look-back reads when a query gives no window: 5 min. */
const INSTANT_WINDOW_MS = 300_000;

/** Where exemplars are asked for. */
export interface ExemplarIndex {
  query(
    tenant: TenantId,
    matcherSets: readonly (readonly CompiledMatcher[])[],
    minT: number,
    maxT: number,
    limit: number,
  ): ExemplarSeries[];
}

/** Where metric metadata is asked for. */
export interface MetadataIndex {
  list(tenant: TenantId, metric: string | null, limit: number): MetadataEntry[];
}

export interface SourceParts {
  head: Head;
  blocks: BlockStore;
  exemplars: ExemplarIndex;
  metadata: MetadataIndex;
  /** Whether of two blocks of one stretch one may have series that the other lacks (choose-by-series.ts). */
  unevenLevels(blocks: readonly BlockExtent[]): boolean;
  /** Keeps one sample per this interval (dedup.ts); 0 = all. ms. */
  dedupMs: number;
}

export class ShardSource implements SampleSource {
  private readonly parts: SourceParts;

  constructor(parts: SourceParts) {
    this.parts = parts;
  }

  async select(tenant: TenantId, request: SelectRequest, signal?: AbortSignal): Promise<SeriesSet> {
    signal?.throwIfAborted();
    const { minT, maxT, hints } = request;
    const matchers = compileMatchers(request.matchers);
    const { head, blocks } = this.parts;
    const window = hints.rangeMs > 0 ? hints.rangeMs : Math.max(INSTANT_WINDOW_MS, hints.stepMs);
    const wanted = wantedResolution(hints.stepMs, window);
    const overlapping = blocks.of(tenant).filter(b => b.maxT >= minT && b.minT <= maxT);
    const extents = overlapping.map(extentOf);
    const bySeries = this.parts.unevenLevels(extents);
    // Head and blocks are pinned in one go: a flush or merge that ends during a pause below changes nothing for this query.
    const headSet = head.select(tenant, matchers, minT, maxT);
    const pins = overlapping.map(pin);
    const column = columnFor(hints.func);
    const reads: PartRead[] = [];
    const release = (): void => {
      headSet.close();
      for (const { set } of reads) set.close();
      for (const unpin of pins) unpin();
    };
    let coarsest = RAW;
    const selectIn = ({ block }: BlockExtent, from: number, to: number): PartSet =>
      block.select(tenant, matchers, from, to, column);
    try {
      const slice = new TimeSlice();
      const choose = bySeries ? chooseBySeries : chooseByTime;
      for (const { block, read } of choose(extents, minT, maxT, wanted, selectIn)) {
        reads.push(read);
        coarsest = Math.max(coarsest, block.resolutionMs);
        if (slice.due()) await slice.pause(signal);
      }
    } catch (error) {
      release();
      throw error;
    }
    const infos =
      coarsest > wanted
        ? [`answered in part from ${resolutionText(coarsest)} resolution: finer data is past its retention`]
        : [];
    const filled = [...reads, { set: headSet, minT, maxT }].filter(r => r.set.count > 0);
    return new MergedSeriesSet(filled, infos, release, this.parts.dedupMs);
  }

  async labelNames(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult> {
    return this.collect(tenant, request, signal, (part, matchers) =>
      part.labelNames(tenant, matchers, request.minT, request.maxT),
    );
  }

  async labelValues(tenant: TenantId, name: string, request: LabelRequest, signal?: AbortSignal): Promise<LabelResult> {
    return this.collect(tenant, request, signal, (part, matchers) =>
      part.labelValues(tenant, name, matchers, request.minT, request.maxT),
    );
  }

  async series(
    tenant: TenantId,
    request: LabelRequest,
    signal?: AbortSignal,
  ): Promise<{ series: Labels[]; truncated: boolean }> {
    const found = new Map<string, Labels>();
    const slice = new TimeSlice();
    const { parts, release } = this.pinned(tenant, request);
    try {
      for (const matchers of this.matcherSets(request)) {
        const { minT, maxT } = request;
        const sets = parts.map(part => part.select(tenant, matchers, minT, maxT));
        const close = (): void => {
          for (const set of sets) set.close();
        };
        const merged = new MergedSeriesSet(
          sets.map(set => ({ set, minT, maxT })),
          [],
          close,
        );
        try {
          for (let i = 0; i < merged.count; i++) {
            const labels = merged.labels(i);
            found.set(labelsKey(labels), labels);
            // One more than asked for tells that there are more.
            if (request.limit > 0 && found.size > request.limit) break;
            if (slice.due()) await slice.pause(signal);
          }
        } finally {
          merged.close();
        }
      }
    } finally {
      release();
    }
    const series = [...found.values()];
    const truncated = request.limit > 0 && series.length > request.limit;
    return { series: truncated ? series.slice(0, request.limit) : series, truncated };
  }

  async exemplars(tenant: TenantId, request: LabelRequest, signal?: AbortSignal): Promise<ExemplarSeries[]> {
    signal?.throwIfAborted();
    return this.parts.exemplars.query(tenant, this.matcherSets(request), request.minT, request.maxT, request.limit);
  }

  async metadata(tenant: TenantId, metric: string | null, limit: number): Promise<MetadataEntry[]> {
    return this.parts.metadata.list(tenant, metric, limit);
  }

  private async collect(
    tenant: TenantId,
    request: LabelRequest,
    signal: AbortSignal | undefined,
    ask: (part: Part, matchers: readonly CompiledMatcher[]) => Set<string>,
  ): Promise<LabelResult> {
    const values = new Set<string>();
    const slice = new TimeSlice();
    const { parts, release } = this.pinned(tenant, request);
    try {
      for (const matchers of this.matcherSets(request)) {
        for (const part of parts) {
          for (const value of ask(part, matchers)) values.add(value);
          if (slice.due()) await slice.pause(signal);
        }
      }
    } finally {
      release();
    }
    const sorted = [...values].sort(compareStrings);
    const truncated = request.limit > 0 && sorted.length > request.limit;
    return { values: truncated ? sorted.slice(0, request.limit) : sorted, truncated };
  }

  private matcherSets(request: LabelRequest): CompiledMatcher[][] {
    if (request.matcherSets.length === 0) return [[]];
    return request.matcherSets.map(compileMatchers);
  }

  /** Head and overlapping blocks; the blocks stay until `release`. */
  private pinned(tenant: TenantId, request: LabelRequest): { parts: Part[]; release(): void } {
    const blocks = this.parts.blocks.of(tenant).filter(b => b.maxT >= request.minT && b.minT <= request.maxT);
    const pins = blocks.map(pin);
    return {
      parts: [...blocks, this.parts.head],
      release: () => {
        for (const unpin of pins) unpin();
      },
    };
  }
}

/** What chooseBlocks wants to know of a block. */
export interface BlockExtent {
  block: BlockReader;
  minT: number;
  maxT: number;
  resolutionMs: number;
}

/** Every block of a stretch has the same series, or none that another lacks. */
function* chooseByTime(
  extents: readonly BlockExtent[],
  minT: number,
  maxT: number,
  wantedMs: number,
  selectIn: SelectIn<BlockExtent>,
): Generator<ReadBySeries<BlockExtent>> {
  const { choices } = chooseBlocks(extents, minT, maxT, wantedMs);
  choices.sort((a, b) => a.block.minT - b.block.minT || a.minT - b.minT);
  for (const { block, minT: from, maxT: to } of choices) {
    yield { block, read: { set: selectIn(block, from, to), minT: from, maxT: to } };
  }
}

function extentOf(block: BlockReader): BlockExtent {
  return { block, minT: block.minT, maxT: block.maxT, resolutionMs: block.meta.resolutionMs };
}

/** Keeps a block readable until the returned function is called. */
function pin(block: BlockReader): () => void {
  block.retain();
  return () => block.release();
}

function resolutionText(ms: number): string {
  return ms >= 3_600_000 ? `${ms / 3_600_000} h` : `${ms / 60_000} min`;
}

/**
 * RawStream over what there is: a SampleSource on this thread, read series by series with turns for others between; or a LeafSource,
 * which answers all at once
 * and is asked for pieces of time that fit its sample limit.
 */
import { type LeafSource, QueryLimitError, type RawSeries } from '../../contracts/leaf-source.ts';
import type { RawRequest, RawStream } from '../../contracts/raw-stream.ts';
import { newSampleBuffer, type SampleBuffer, type SampleSource } from '../../contracts/sample-source.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { compareLabels } from '../../model/labels.ts';
import type { TenantId } from '../../model/tenant.ts';

/** Samples per batch, about: 1 MB. */
const BATCH_SAMPLES = 65_536;
/** Samples asked of a LeafSource at once where a series may come in pieces: 32 MB. */
const PIECE_SAMPLES = 2_000_000;
/** Where whole series are asked for without a bound, a LeafSource still wants one: about 1 GB. */
const WHOLE_SAMPLES_MAX = 50_000_000;
/** No sample lies outside. */
const MIN_T = 0;
const MAX_T = 2 ** 52;

export function rawStreamOfSampleSource(source: SampleSource): RawStream {
  return { read: (tenant, request, signal) => readSource(source, tenant, request, signal) };
}

export function rawStreamOfLeafSource(source: LeafSource, pieceSamples = PIECE_SAMPLES): RawStream {
  return {
    async *read(tenant, request, signal) {
      if (!request.sorted && !request.whole) {
        const bounded = { ...request, minT: Math.max(request.minT, MIN_T), maxT: Math.min(request.maxT, MAX_T) };
        const left = { samples: request.maxSamples === 0 ? Number.POSITIVE_INFINITY : request.maxSamples };
        yield* readPieces(source, tenant, bounded, pieceSamples, left, signal);
        return;
      }
      const maxSamples = request.maxSamples === 0 ? WHOLE_SAMPLES_MAX : request.maxSamples;
      const all = await select(source, tenant, request, maxSamples, signal);
      if (request.sorted) all.sort((a, b) => compareLabels(a.labels, b.labels));
      yield* batches(all);
    },
  };
}

function select(
  source: LeafSource,
  tenant: TenantId,
  { matchers, minT, maxT }: RawRequest,
  maxSamples: number,
  signal: AbortSignal | undefined,
): Promise<RawSeries[]> {
  const raw = { matchers, minT, maxT, stepMs: 0, rangeMs: 0, func: '', maxSamples, keepStale: true };
  return source.selectRaw(tenant, raw, signal);
}

/**
 * Reads a range in one go where it fits, else each half by itself, the earlier first. What an attempt that did not fit has read is lost:
 * about as much again as the answer.
 */
async function* readPieces(
  source: LeafSource,
  tenant: TenantId,
  request: RawRequest,
  pieceSamples: number,
  left: { samples: number },
  signal: AbortSignal | undefined,
): AsyncGenerator<RawSeries[]> {
  const { minT, maxT } = request;
  if (minT > maxT) return;
  let piece: RawSeries[] | null = null;
  try {
    piece = await select(source, tenant, request, Math.min(pieceSamples, left.samples), signal);
  } catch (error) {
    const tooMany = error instanceof Error && error.name === 'QueryLimitError';
    if (!tooMany || minT === maxT || left.samples < pieceSamples) throw error;
  }
  if (piece !== null) {
    for (const series of piece) left.samples -= samplesOf(series);
    yield* batches(piece);
    return;
  }
  const middle = Math.floor((minT + maxT) / 2);
  yield* readPieces(source, tenant, { ...request, maxT: middle }, pieceSamples, left, signal);
  yield* readPieces(source, tenant, { ...request, minT: middle + 1 }, pieceSamples, left, signal);
}

export function samplesOf(series: RawSeries): number {
  return series.timestamps.length + series.histograms.length;
}

function* batches(all: RawSeries[]): Generator<RawSeries[]> {
  let batch: RawSeries[] = [];
  let samples = 0;
  for (const series of all) {
    batch.push(series);
    samples += samplesOf(series);
    if (samples < BATCH_SAMPLES) continue;
    yield batch;
    batch = [];
    samples = 0;
  }
  if (batch.length > 0) yield batch;
}

async function* readSource(
  source: SampleSource,
  tenant: TenantId,
  request: RawRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<RawSeries[]> {
  const { matchers, minT, maxT, maxSamples } = request;
  const set = await source.select(tenant, { matchers, minT, maxT, hints: { stepMs: 0, rangeMs: 0, func: '' } }, signal);
  try {
    const order = Array.from({ length: set.count }, (_, i) => i);
    if (request.sorted) order.sort((a, b) => compareLabels(set.labels(a), set.labels(b)));
    const buffer = newSampleBuffer();
    const slice = new TimeSlice();
    let batch: RawSeries[] = [];
    let batchSamples = 0;
    let samples = 0;
    for (const i of order) {
      set.read(i, buffer);
      const n = buffer.length + buffer.histogramLength;
      if (n === 0) continue;
      samples += n;
      if (maxSamples > 0 && samples > maxSamples) {
        throw new QueryLimitError(
          `exceeded sample limit (${maxSamples}): ask for a shorter time range or fewer series (more label matchers)`,
        );
      }
      batch.push({ labels: set.labels(i), ...copyOf(buffer) });
      batchSamples += n;
      if (batchSamples >= BATCH_SAMPLES) {
        yield batch;
        batch = [];
        batchSamples = 0;
      }
      if (slice.due()) await slice.pause(signal);
    }
    if (batch.length > 0) yield batch;
  } finally {
    set.close();
  }
}

function copyOf(b: SampleBuffer): Omit<RawSeries, 'labels'> {
  return {
    timestamps: b.timestamps.slice(0, b.length),
    values: b.values.slice(0, b.length),
    startTimestamps: b.startTimestamps?.slice(0, b.length) ?? null,
    histogramTimestamps: b.histogramTimestamps.slice(0, b.histogramLength),
    histograms: b.histograms.slice(0, b.histogramLength),
    histogramStartTimestamps: b.histogramStartTimestamps?.slice(0, b.histogramLength) ?? null,
  };
}

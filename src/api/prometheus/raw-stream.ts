/**
 * RawStream over what there is: a SampleSource on this thread, read series by series with turns for others between; or a LeafSource,
 * which answers all at once and is bounded by its sample limit.
 */
import { type LeafSource, QueryLimitError, type RawSeries } from '../../contracts/leaf-source.ts';
import type { RawRequest, RawStream } from '../../contracts/raw-stream.ts';
import { newSampleBuffer, type SampleBuffer, type SampleSource } from '../../contracts/sample-source.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { compareLabels } from '../../model/labels.ts';
import type { TenantId } from '../../model/tenant.ts';

/** Samples per batch, about: 1 MB. */
const BATCH_SAMPLES = 65_536;
/** Where no bound is asked for, a LeafSource still wants one. */
const UNBOUNDED = 2 ** 31;

export function rawStreamOfSampleSource(source: SampleSource): RawStream {
  return { read: (tenant, request, signal) => readSource(source, tenant, request, signal) };
}

export function rawStreamOfLeafSource(source: LeafSource): RawStream {
  return {
    async *read(tenant, request, signal) {
      const { matchers, minT, maxT } = request;
      const maxSamples = request.maxSamples === 0 ? UNBOUNDED : request.maxSamples;
      const hints = { stepMs: 0, rangeMs: 0, func: '' };
      const all = await source.selectRaw(tenant, { matchers, minT, maxT, ...hints, maxSamples }, signal);
      if (request.sorted) all.sort((a, b) => compareLabels(a.labels, b.labels));
      yield* batches(all);
    },
  };
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

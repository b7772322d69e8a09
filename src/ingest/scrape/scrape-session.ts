/**
 * ScrapeSession: what a shard worker knows of one target, and how each of its scrapes is read and stored.
 *
 * A scrape is all or nothing: what was read, the markers of series that are gone, and the report (`up` and its companions) go
 * into one batch. Where it fails at any point, the batch is the markers of everything the scrape before had, and a report
 * with up = 0. Series whose timestamps are the target's own are not marked stale unless the job asks for it: nobody but the
 * target knows when they end.
 */
import type { ScrapeBody, ScrapeOutcome, ScrapeResult, ScrapeSpec } from '../../contracts/scrape-store.ts';
import { HASH_WORDS, type TenantSeed } from '../../lib/identity-hash.ts';
import { errorText } from '../../lib/log.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { type Labels, METRIC_NAME, withLabel } from '../../model/labels.ts';
import type { MetadataEntry, SampleBatch } from '../../model/sample-batch.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import { type HistogramOptions, schemaOfFactor } from '../exposition/histogram-options.ts';
import { ProtobufExpositionReader } from '../exposition/protobuf-reader.ts';
import { SeriesCache } from '../exposition/series-cache.ts';
import { ExpositionReader, newCounts, type ReadCounts, type ReadOptions } from '../exposition/to-batch.ts';
import { type BodyFormat, formatOf } from './negotiate.ts';
import type { Relabel } from './relabel.ts';
import { labelFinisher, ScrapeLimitError } from './sample-labels.ts';
import { BODY_BYTES_MAX, BodyLimitError, releaseBody, unpackBody } from './unpack.ts';

/** Series of one scrape, whatever the configuration says. */
const SERIES_MAX = 2_000_000;
/** Samples read before other work gets a turn; some milliseconds. */
const SLICE_SAMPLES = 4000;
/** Types and help texts are handed on in the first scrape, whenever new series came, and every so many scrapes. */
const METADATA_EVERY = 40;
const METADATA_MAX = 5000;

export interface SessionDeps {
  seed: TenantSeed;
  /** The job's metric_relabel_configs. */
  relabel: Relabel;
  /** Monotonic ms. */
  monotonic(): number;
  /** An empty one, for a moment. */
  newBuilder(): BatchBuilder;
  /** Lends a builder for one scrape and stores what it holds; rejects where it cannot be stored. */
  withBuilder(fill: (builder: BatchBuilder) => Promise<void>): Promise<void>;
}

type Reader = ExpositionReader | ProtobufExpositionReader;

export class ScrapeSession {
  private readonly spec: ScrapeSpec;
  private readonly deps: SessionDeps;
  private readonly cache: SeriesCache;
  private readonly finish: ReadOptions['finishLabels'];
  private readonly histograms: HistogramOptions;
  private readonly report: ReportSeries;
  private readonly readers = new Map<BodyFormat, Reader>();
  /** Identities of the last scrape's series that had timestamps of their own. */
  private ownTimes = new Set<string>();
  private added = 0;
  private scrapes = 0;
  private hadNewSeries = true;
  private stored = false;

  constructor(spec: ScrapeSpec, deps: SessionDeps) {
    this.spec = spec;
    this.deps = deps;
    this.cache = new SeriesCache(deps.seed, SERIES_MAX);
    this.cache.dropsEnded = true;
    const { settings } = spec;
    const finish = labelFinisher(settings, spec.labels, deps.relabel);
    this.finish = set => {
      const kept = finish(set);
      if (kept) this.added++;
      return kept;
    };
    const factor = settings.nativeHistogramMinBucketFactor;
    this.histograms = {
      native: settings.scrapeNativeHistograms,
      keepClassic: settings.alwaysScrapeClassicHistograms,
      convertClassic: settings.convertClassicHistograms,
      bucketsMax: settings.nativeHistogramBucketLimit,
      schemaMax: factor > 0 ? schemaOfFactor(factor) : 8,
    };
    this.report = new ReportSeries(spec.labels, this.cache, deps.newBuilder());
  }

  async scrape(result: ScrapeResult): Promise<ScrapeOutcome> {
    const began = this.deps.monotonic();
    let { error, tooLarge } = result;
    let counts = newCounts();
    let metadata: MetadataEntry[] | null = null;
    let bodyBytes = 0;
    let body: Uint8Array | null = null;
    try {
      if (result.body !== null) {
        body = await this.unpack(result.body);
        bodyBytes = body.length;
        if (body !== result.body.bytes) releaseBody(result.body.bytes, false);
      }
    } catch (thrown) {
      error = errorText(thrown);
      tooLarge = thrown instanceof BodyLimitError;
    }
    let storeError = '';
    try {
      await this.deps.withBuilder(async builder => {
        builder.useLabelsOf(this.cache);
        this.cache.begin();
        this.added = 0;
        if (body !== null && result.body !== null) {
          counts = newCounts();
          try {
            const format = formatOf(result.body.contentType, this.spec.settings.fallbackScrapeProtocol);
            metadata = await this.read(body, format, builder, result.timestampMs, counts);
          } catch (thrown) {
            error = errorText(thrown);
            metadata = null;
          }
        }
        if (error !== '') {
          builder.reset();
          builder.useLabelsOf(this.cache);
          this.cache.fail(entry => this.addMarker(builder, entry, result.timestampMs));
          this.ownTimes = new Set();
        }
        const seconds = (result.fetchMs + this.deps.monotonic() - began) / 1000;
        const size = tooLarge ? -1 : error === '' ? bodyBytes : 0;
        this.addReport(builder, result.timestampMs, error === '', counts, seconds, size);
      });
      this.stored = true;
    } catch (thrown) {
      storeError = errorText(thrown);
    }
    if (body !== null) releaseBody(body, body !== result.body?.bytes);
    this.cache.forgetSought();
    return { error, scraped: counts.scraped, added: error === '' ? counts.added : 0, storeError, metadata };
  }

  get memoryBytes(): number {
    return this.cache.memoryBytes;
  }

  /** The target is gone: marks all its series stale. */
  async end(timestampMs: number): Promise<void> {
    if (!this.stored) return;
    await this.deps.withBuilder(async builder => {
      builder.useLabelsOf(this.cache);
      this.cache.begin();
      this.cache.fail(entry => this.addMarker(builder, entry, timestampMs));
      for (let i = 0; i < this.reportCount; i++) {
        this.report.addTo(builder, i);
        builder.addStale(timestampMs);
      }
    });
  }

  private unpack(body: ScrapeBody): Promise<Uint8Array> {
    const { bodySizeLimit } = this.spec.settings;
    const limit = bodySizeLimit > 0 ? Math.min(bodySizeLimit, BODY_BYTES_MAX) : BODY_BYTES_MAX;
    return unpackBody(body.bytes, body.contentEncoding, limit);
  }

  private readerFor(format: BodyFormat): Reader {
    let reader = this.readers.get(format);
    if (reader === undefined) {
      reader =
        format === 'protobuf' ? new ProtobufExpositionReader(this.cache) : new ExpositionReader(format, this.cache);
      this.readers.set(format, reader);
    }
    return reader;
  }

  private async read(
    body: Uint8Array,
    format: BodyFormat,
    builder: BatchBuilder,
    timestampMs: number,
    counts: ReadCounts,
  ): Promise<MetadataEntry[] | null> {
    const { settings } = this.spec;
    const withMetadata = this.hadNewSeries || this.scrapes % METADATA_EVERY === 0;
    const options: ReadOptions = {
      timestampMs,
      honorTimestamps: settings.honorTimestamps,
      finishLabels: this.finish,
      keepEmptyLabels: settings.honorLabels,
      createdAsStart: false,
      metadata: withMetadata,
      histograms: this.histograms,
    };
    const reader = this.readerFor(format);
    const slice = new TimeSlice();
    reader.begin(builder);
    let place = { at: 0, line: 1 };
    let over = false;
    while (place.at < body.length) {
      const before = place.at;
      const limit = builder.sampleCount + builder.histogramCount + SLICE_SAMPLES;
      place = reader.readPart(body, place.at, body.length, place.line, builder, options, counts, limit);
      if (settings.sampleLimit > 0 && counts.added > settings.sampleLimit) {
        // Counted to the end, so that the report tells by how much, and kept no longer.
        over = true;
        builder.reset();
        reader.begin(builder);
      }
      if (builder.seriesCount > SERIES_MAX) throw new ScrapeLimitError(`more than ${SERIES_MAX} series in one scrape`);
      if (place.at === before) break;
      if (slice.due()) await slice.pause();
    }
    reader.finish(builder, options, counts);
    if (over || (settings.sampleLimit > 0 && counts.added > settings.sampleLimit)) {
      throw new ScrapeLimitError(
        `sample_limit exceeded: ${counts.added} samples after relabelling, the limit is ${settings.sampleLimit}`,
      );
    }
    this.scrapes++;
    this.hadNewSeries = counts.newSeries > 0;
    this.endGone(builder, timestampMs);
    return withMetadata ? (builder.finish().metadata ?? []).slice(0, METADATA_MAX) : null;
  }

  /** Markers for what the scrape before had and this one has not. */
  private endGone(builder: BatchBuilder, timestampMs: number): void {
    const own = ownTimestamps(builder.finish(), timestampMs);
    this.cache.forEachGone(entry => this.addMarker(builder, entry, timestampMs));
    this.ownTimes = own;
  }

  private addMarker(builder: BatchBuilder, entry: number, timestampMs: number): void {
    const { cache } = this;
    const at = cache.hashOffset(entry);
    const keep = this.spec.settings.trackTimestampsStaleness;
    if (!keep && this.ownTimes.size > 0 && this.ownTimes.has(identity(cache.hashes, at))) return;
    builder.addSeriesAt(cache.labelStart(entry), cache.labelEnd(entry), cache.hashes, at);
    builder.addStale(timestampMs);
  }

  private get reportCount(): number {
    return this.spec.settings.extraScrapeMetrics ? REPORT_NAMES.length : REPORT_USUAL;
  }

  private addReport(
    builder: BatchBuilder,
    timestampMs: number,
    ok: boolean,
    counts: ReadCounts,
    seconds: number,
    bodyBytes: number,
  ): void {
    const values = [
      ok ? 1 : 0,
      seconds,
      counts.scraped,
      counts.added,
      this.added,
      this.spec.timeoutMs / 1000,
      this.spec.settings.sampleLimit,
      bodyBytes,
    ];
    for (let i = 0; i < this.reportCount; i++) {
      this.report.addTo(builder, i);
      builder.addSample(timestampMs, values[i] as number);
    }
  }
}

const REPORT_NAMES = [
  'up',
  'scrape_duration_seconds',
  'scrape_samples_scraped',
  'scrape_samples_post_metric_relabeling',
  'scrape_series_added',
  'scrape_timeout_seconds',
  'scrape_sample_limit',
  'scrape_body_size_bytes',
] as const;

/** Those that every target has. */
const REPORT_USUAL = 5;

/** The labels and hashes of a target's report series, made once. */
class ReportSeries {
  private readonly hashes = new Uint32Array(REPORT_NAMES.length * HASH_WORDS);
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  constructor(targetLabels: Labels, cache: SeriesCache, builder: BatchBuilder) {
    for (const name of REPORT_NAMES) builder.addSeries(withLabel(targetLabels, METRIC_NAME, name));
    const batch = builder.finish();
    for (let i = 0; i < REPORT_NAMES.length; i++) {
      const start = batch.labelStart[i] as number;
      const end = batch.labelEnd[i] as number;
      this.starts.push(cache.pin(batch.labelBytes, start, end));
      this.ends.push((this.starts[i] as number) + end - start);
    }
    this.hashes.set(batch.hashes.subarray(0, this.hashes.length));
  }

  addTo(builder: BatchBuilder, i: number): void {
    builder.addSeriesAt(this.starts[i] as number, this.ends[i] as number, this.hashes, i * HASH_WORDS);
  }
}

function identity(hashes: Uint32Array, at: number): string {
  return `${hashes[at]} ${hashes[at + 1]} ${hashes[at + 2]} ${hashes[at + 3]}`;
}

/** Identities of the rows with a timestamp other than the scrape's: usually none, and then one pass over a column. */
function ownTimestamps(batch: SampleBatch, timestampMs: number): Set<string> {
  const out = new Set<string>();
  for (let i = 0; i < batch.seriesCount; i++) {
    const k = batch.sampleStart[i] as number;
    if (k < (batch.sampleStart[i + 1] as number) && batch.timestamps[k] !== timestampMs)
      out.add(identity(batch.hashes, i * 4));
  }
  for (const { series, timestampMs: own } of batch.histograms ?? []) {
    if (own !== timestampMs) out.add(identity(batch.hashes, series * 4));
  }
  return out;
}

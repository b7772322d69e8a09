/**
 * ScrapeLoop: scrapes one target, over and over.
 *
 * A scrape is all or nothing: what was read, the markers of series that are gone, and the report (`up` and its companions) go
 * into one batch. Where it fails at any point, the batch is the markers of everything the scrape before had, and a report
 * with up = 0. Series whose timestamps are the target's own are not marked stale unless the job asks for it: nobody but the
 * target knows when they end.
 */
import { type Clock, everyAligned, type Timer } from '../../lib/clock.ts';
import type { TenantSeed } from '../../lib/identity-hash.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import { TimeSlice } from '../../lib/yield.ts';
import type { Labels } from '../../model/labels.ts';
import { METRIC_NAME, withLabel } from '../../model/labels.ts';
import type { MetadataEntry, SampleBatch } from '../../model/sample-batch.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import { SeriesCache } from '../exposition/series-cache.ts';
import type { ExpositionFormat } from '../exposition/series-text.ts';
import { ExpositionReader, newCounts, type ReadCounts, type ReadOptions } from '../exposition/to-batch.ts';
import { authHeaders, type ScrapeFetcher } from './http-fetcher.ts';
import { acceptHeader, formatOf } from './negotiate.ts';
import { labelFinisher, ScrapeLimitError } from './sample-labels.ts';
import type { ScrapeJob } from './scrape-job.ts';
import type { Target } from './target.ts';

/** Samples read before other work gets a turn; some milliseconds. */
const SLICE_SAMPLES = 4000;
/** Series a target's cache may remember. */
const CACHE_ENTRIES_MAX = 1_000_000;
/** Types and help texts are handed on in the first scrape, whenever new series came, and every so many scrapes. */
const METADATA_EVERY = 40;
const METADATA_MAX = 5000;

export interface LoopDeps {
  clock: Clock;
  log: Logger;
  fetcher: ScrapeFetcher;
  seed: TenantSeed;
  /** Lends a builder for one scrape and stores what it holds; rejects where it cannot be stored. */
  withBuilder(fill: (builder: BatchBuilder) => Promise<void>): Promise<void>;
  onScrape(result: { failed: boolean; seconds: number; samples: number; late: boolean }): void;
}

export interface LoopStatus {
  lastError: string;
  lastScrapeMs: number;
  lastScrapeDurationMs: number;
  health: 'up' | 'down' | 'unknown';
  metadata: readonly MetadataEntry[];
}

interface Fetched {
  body: Uint8Array;
  format: ExpositionFormat;
}

export class ScrapeLoop {
  readonly target: Target;
  readonly job: ScrapeJob;
  readonly status: LoopStatus = {
    lastError: '',
    lastScrapeMs: 0,
    lastScrapeDurationMs: 0,
    health: 'unknown',
    metadata: [],
  };
  /** Why every scrape fails without being tried (over the job's target limit), or ''. */
  blocked = '';
  private readonly deps: LoopDeps;
  private readonly cache: SeriesCache;
  private readonly finish: ReadOptions['finishLabels'];
  private readonly report: ReadonlyMap<string, Labels>;
  private reader: ExpositionReader | null = null;
  private readerFormat: ExpositionFormat = 'text';
  /** Identities of the last scrape's series that had timestamps of their own. */
  private ownTimes = new Set<string>();
  private added = 0;
  private scrapes = 0;
  private hadNewSeries = true;
  private timer: Timer | null = null;
  private running: AbortController | null = null;
  private ended = false;
  private settled: Promise<void> = Promise.resolve();
  private lastTimestampMs = 0;

  constructor(job: ScrapeJob, target: Target, deps: LoopDeps) {
    this.job = job;
    this.target = target;
    this.deps = deps;
    this.cache = new SeriesCache(deps.seed, CACHE_ENTRIES_MAX);
    const finish = labelFinisher(job, target.labels);
    this.finish = set => {
      const kept = finish(set);
      if (kept) this.added++;
      return kept;
    };
    this.report = new Map(REPORT_NAMES.map(name => [name, withLabel(target.labels, METRIC_NAME, name)]));
  }

  start(): void {
    const { intervalMs, phase } = this.target;
    const offset = Math.floor(phase * intervalMs);
    this.timer = everyAligned(this.deps.clock, intervalMs, offset, timestampMs => this.scrape(timestampMs));
  }

  /** Ends the loop; with `gone`, marks all its series stale (the target is gone, not the process). */
  async stop(gone: boolean): Promise<void> {
    this.timer?.cancel();
    this.timer = null;
    this.ended = true;
    this.running?.abort(new Error('the target is no longer scraped'));
    await this.settled;
    if (!gone || this.lastTimestampMs === 0) return;
    const timestampMs = Math.max(Math.round(this.deps.clock.now()), this.lastTimestampMs + 1);
    try {
      await this.deps.withBuilder(async builder => {
        this.cache.begin();
        this.cache.fail(entry => this.addMarker(builder, entry, timestampMs));
        for (const name of this.reportNames()) {
          builder.addSeries(this.report.get(name) as Labels);
          builder.addStale(timestampMs);
        }
      });
    } catch (error) {
      this.deps.log.warn({ url: this.target.url, error: errorText(error) }, 'the end of a target could not be stored');
    }
  }

  /** One scrape; never rejects. */
  scrape(timestampMs: number): Promise<void> {
    this.settled = this.once(timestampMs).catch(error => {
      this.deps.log.error({ url: this.target.url, error: errorText(error) }, 'a scrape failed in an unforeseen way');
    });
    return this.settled;
  }

  private async once(timestampMs: number): Promise<void> {
    const { clock, log } = this.deps;
    const began = clock.monotonic();
    let error = this.blocked;
    let fetched: Fetched | null = null;
    try {
      if (error === '') fetched = await this.fetch();
    } catch (thrown) {
      error = errorText(thrown);
    }
    this.running = null;
    // `stop` writes the markers.
    if (this.ended) return;
    let counts = newCounts();
    try {
      await this.deps.withBuilder(async builder => {
        this.cache.begin();
        this.added = 0;
        if (fetched !== null) {
          try {
            counts = await this.read(fetched, builder, timestampMs);
          } catch (thrown) {
            error = errorText(thrown);
            counts = newCounts();
          }
        }
        if (error !== '') {
          builder.reset();
          this.added = 0;
          this.cache.fail(entry => this.addMarker(builder, entry, timestampMs));
        }
        const seconds = (clock.monotonic() - began) / 1000;
        this.addReport(builder, timestampMs, error === '', counts, seconds, fetched?.body.length ?? 0);
      });
    } catch (thrown) {
      // The store refuses: the same for all targets, which whoever lends the builder has logged.
      log.debug({ url: this.target.url, error: errorText(thrown) }, 'a scrape could not be stored');
    }
    this.lastTimestampMs = timestampMs;
    this.note(timestampMs, clock.monotonic() - began, error, counts);
  }

  private note(timestampMs: number, tookMs: number, error: string, counts: ReadCounts): void {
    const { status } = this;
    if (error !== '' && error !== status.lastError)
      this.deps.log.debug({ url: this.target.url, error }, 'a scrape failed');
    status.lastError = error;
    status.lastScrapeMs = timestampMs;
    status.lastScrapeDurationMs = tookMs;
    status.health = error === '' ? 'up' : 'down';
    this.deps.onScrape({
      failed: error !== '',
      seconds: tookMs / 1000,
      samples: counts.added,
      late: tookMs > this.target.intervalMs,
    });
  }

  private async fetch(): Promise<Fetched> {
    const { job, target } = this;
    const abort = new AbortController();
    this.running = abort;
    const timer = this.deps.clock.after(target.timeoutMs, () => {
      abort.abort(new Error(`timed out after ${target.timeoutMs / 1000} s (scrape_timeout)`));
    });
    try {
      const { body, contentType } = await this.deps.fetcher.fetch({
        url: target.url,
        headers: {
          ...authHeaders(job.httpClient, job.baseDir),
          accept: acceptHeader(job.scrapeProtocols, job.nameValidation),
          'accept-encoding': job.enableCompression ? 'gzip' : 'identity',
          'x-prometheus-scrape-timeout-seconds': String(target.timeoutMs / 1000),
        },
        bodyBytesMax: job.bodySizeLimit,
        followRedirects: job.httpClient.follow_redirects ?? true,
        signal: abort.signal,
      });
      return { body, format: formatOf(contentType, job.fallbackScrapeProtocol) };
    } catch (error) {
      // The reason of an abort says more than "aborted".
      throw abort.signal.aborted ? (abort.signal.reason as Error) : error;
    } finally {
      timer.cancel();
    }
  }

  private async read(fetched: Fetched, builder: BatchBuilder, timestampMs: number): Promise<ReadCounts> {
    const { body, format } = fetched;
    if (this.reader === null || this.readerFormat !== format) {
      this.reader = new ExpositionReader(format, this.cache);
      this.readerFormat = format;
    }
    const metadata = this.hadNewSeries || this.scrapes % METADATA_EVERY === 0;
    const options: ReadOptions = {
      timestampMs,
      honorTimestamps: this.job.honorTimestamps,
      finishLabels: this.finish,
      keepEmptyLabels: this.job.honorLabels,
      createdAsStart: false,
      metadata,
    };
    const counts = newCounts();
    const slice = new TimeSlice();
    this.reader.forgetRow();
    let place = { at: 0, line: 1 };
    while (place.at < body.length) {
      const before = place.at;
      const limit = builder.sampleCount + SLICE_SAMPLES;
      place = this.reader.readPart(body, place.at, body.length, place.line, builder, options, counts, limit);
      this.checkSampleLimit(counts);
      if (place.at === before) break;
      if (slice.due()) await slice.pause();
    }
    this.reader.endFamily(builder, options);
    this.scrapes++;
    this.hadNewSeries = counts.newSeries > 0;
    this.endGone(builder, timestampMs);
    if (metadata) this.status.metadata = (builder.finish().metadata ?? []).slice(0, METADATA_MAX);
    return counts;
  }

  private checkSampleLimit(counts: ReadCounts): void {
    const { sampleLimit } = this.job;
    if (sampleLimit > 0 && counts.added > sampleLimit) {
      throw new ScrapeLimitError(`sample_limit exceeded: more than ${sampleLimit} samples after relabelling`);
    }
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
    if (!this.job.trackTimestampsStaleness && this.ownTimes.size > 0 && this.ownTimes.has(identity(cache.hashes, at)))
      return;
    builder.addSeriesHashed(cache.labelBytes, cache.labelStart(entry), cache.labelEnd(entry), cache.hashes, at);
    builder.addStale(timestampMs);
  }

  private reportNames(): readonly string[] {
    return this.job.extraScrapeMetrics ? REPORT_NAMES : REPORT_NAMES.slice(0, 5);
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
      this.target.timeoutMs / 1000,
      this.job.sampleLimit,
      ok ? bodyBytes : 0,
    ];
    const names = this.reportNames();
    for (let i = 0; i < names.length; i++) {
      builder.addSeries(this.report.get(names[i] as string) as Labels);
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
  return out;
}

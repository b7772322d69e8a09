/**
 * ScrapeLoop: scrapes one target, over and over: in its rhythm, within its time. What comes back is read and stored elsewhere
 * (contracts/scrape-store.ts), so that the thread that fetches never waits for a large body to be parsed.
 */
import type { ScrapeOutcome, ScrapeReadSettings, ScrapeResult, ScrapeStore } from '../../contracts/scrape-store.ts';
import { type Clock, everyAligned, type Timer } from '../../lib/clock.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import { isTooLarge, type ScrapeFetcher, type ScrapeResponse } from './http-fetcher.ts';
import { acceptHeader } from './negotiate.ts';
import type { ScrapeJob } from './scrape-job.ts';
import type { Target } from './target.ts';

export interface LoopDeps {
  clock: Clock;
  log: Logger;
  fetcher: ScrapeFetcher;
  store: ScrapeStore;
  tenant: TenantId;
  onScrape(result: ScrapeEnd): void;
}

/** How a scrape ended, for whoever counts them. */
export interface ScrapeEnd {
  failed: boolean;
  seconds: number;
  samples: number;
  late: boolean;
  /** '' where it was stored. */
  storeError: string;
}

export interface LoopStatus {
  lastError: string;
  lastScrapeMs: number;
  lastScrapeDurationMs: number;
  health: 'up' | 'down' | 'unknown';
  metadata: readonly MetadataEntry[];
}

let nextId = 1;

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
  private readonly id = nextId++;
  private readonly deps: LoopDeps;
  private opened = false;
  private timer: Timer | null = null;
  private running: AbortController | null = null;
  private ended = false;
  private settled: Promise<void> = Promise.resolve();
  private lastTimestampMs = 0;

  constructor(job: ScrapeJob, target: Target, deps: LoopDeps) {
    this.job = job;
    this.target = target;
    this.deps = deps;
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
    if (!this.opened) return;
    const goneAtMs = gone ? Math.max(Math.round(this.deps.clock.now()), this.lastTimestampMs + 1) : 0;
    try {
      await this.deps.store.close(this.id, goneAtMs);
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
    const { clock, store, tenant } = this.deps;
    const began = clock.monotonic();
    let response: ScrapeResponse | null = null;
    let error = this.blocked;
    let tooLarge = false;
    try {
      if (error === '') response = await this.fetch();
    } catch (thrown) {
      error = errorText(thrown);
      tooLarge = isTooLarge(thrown);
    }
    this.running = null;
    // `stop` writes the markers.
    if (this.ended) {
      response?.release();
      return;
    }
    if (!this.opened) {
      const { labels, timeoutMs } = this.target;
      store.open(this.id, { tenant, labels, timeoutMs, settings: readSettings(this.job) });
      this.opened = true;
    }
    const body = response === null ? null : response.body;
    const result: ScrapeResult = { timestampMs, fetchMs: clock.monotonic() - began, body, error, tooLarge };
    let outcome: ScrapeOutcome;
    try {
      outcome = await store.scrape(this.id, result);
    } catch (thrown) {
      outcome = { error, scraped: 0, added: 0, storeError: errorText(thrown), metadata: null };
    } finally {
      response?.release();
    }
    this.lastTimestampMs = timestampMs;
    this.note(timestampMs, clock.monotonic() - began, outcome);
  }

  private note(timestampMs: number, tookMs: number, outcome: ScrapeOutcome): void {
    const { status } = this;
    const { error } = outcome;
    if (error !== '' && error !== status.lastError)
      this.deps.log.debug({ url: this.target.url, error }, 'a scrape failed');
    status.lastError = error;
    status.lastScrapeMs = timestampMs;
    status.lastScrapeDurationMs = tookMs;
    status.health = error === '' ? 'up' : 'down';
    if (outcome.metadata !== null) status.metadata = outcome.metadata;
    this.deps.onScrape({
      failed: error !== '',
      seconds: tookMs / 1000,
      samples: outcome.added,
      late: tookMs > this.target.intervalMs,
      storeError: outcome.storeError,
    });
  }

  private async fetch(): Promise<ScrapeResponse> {
    const { job, target } = this;
    const abort = new AbortController();
    this.running = abort;
    const timer = this.deps.clock.after(target.timeoutMs, () => {
      abort.abort(new Error(`timed out after ${target.timeoutMs / 1000} s (scrape_timeout)`));
    });
    try {
      return await this.deps.fetcher.fetch({
        url: target.url,
        headers: {
          accept: acceptHeader(job.scrapeProtocols, job.nameEscaping),
          'accept-encoding': job.enableCompression ? 'gzip' : 'identity',
          'x-prometheus-scrape-timeout-seconds': String(target.timeoutMs / 1000),
        },
        bodyBytesMax: job.bodySizeLimit,
        settings: job.httpClient,
        baseDir: job.baseDir,
        signal: abort.signal,
      });
    } catch (error) {
      // The reason of an abort says more than "aborted".
      throw abort.signal.aborted ? (abort.signal.reason as Error) : error;
    } finally {
      timer.cancel();
    }
  }
}

function readSettings(job: ScrapeJob): ScrapeReadSettings {
  return {
    honorLabels: job.honorLabels,
    honorTimestamps: job.honorTimestamps,
    trackTimestampsStaleness: job.trackTimestampsStaleness,
    extraScrapeMetrics: job.extraScrapeMetrics,
    fallbackScrapeProtocol: job.fallbackScrapeProtocol,
    nameValidation: job.nameValidation,
    scrapeNativeHistograms: job.scrapeNativeHistograms,
    alwaysScrapeClassicHistograms: job.alwaysScrapeClassicHistograms,
    convertClassicHistograms: job.convertClassicHistograms,
    nativeHistogramBucketLimit: job.nativeHistogramBucketLimit,
    nativeHistogramMinBucketFactor: job.nativeHistogramMinBucketFactor,
    bodySizeLimit: job.bodySizeLimit,
    sampleLimit: job.sampleLimit,
    labelLimit: job.labelLimit,
    labelNameLengthLimit: job.labelNameLengthLimit,
    labelValueLengthLimit: job.labelValueLengthLimit,
    metricRelabelConfigs: job.metricRelabelConfigs,
  };
}

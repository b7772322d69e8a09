/**
 * Sender: brings one batch to an endpoint: encodes, posts, tries again until it is taken, refused for good or too old.
 *
 * Which protocol is spoken is the endpoint's: a receiver that answers 2.0 with 415 gets 1.0 from then on.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import { snappyCompress } from '../../lib/snappy.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { Batch } from './batch.ts';
import { type EncodedRequest, RequestEncoder } from './encode.ts';
import type { EndpointMetrics } from './forward-metrics.ts';
import type { MetadataBook } from './metadata-book.ts';
import { Backoff, retryAfterMs, type Verdict, verdictOf } from './retry.ts';

export interface PostAnswer {
  status: number;
  /** In lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The beginning of it. */
  text: string;
}

/** One POST to the endpoint, with its credentials and time limit. Rejects where no answer came. */
export type Post = (body: Uint8Array, headers: Record<string, string>, signal: AbortSignal) => Promise<PostAnswer>;

export interface SenderOptions {
  minBackoffMs: number;
  maxBackoffMs: number;
  retryOn429: boolean;
  /** 0 = none. */
  sampleAgeLimitMs: number;
  v2: boolean;
}

export interface SenderDeps {
  post: Post;
  clock: Clock;
  random: () => number;
  metrics: EndpointMetrics;
  metadata: MetadataBook;
  log: Logger;
  signal: AbortSignal;
}

/** A failing receiver is told of once in this time. ms */
const LOG_EVERY_MS = 60_000;

const V1_HEADERS = { 'content-type': 'application/x-protobuf', 'x-prometheus-remote-write-version': '0.1.0' };
const V2_HEADERS = {
  'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request',
  'x-prometheus-remote-write-version': '2.0.0',
};

export class Sender {
  /** What is spoken now. */
  v2: boolean;
  /** How the last request ended, for the status page. */
  lastError = '';
  private readonly options: SenderOptions;
  private readonly deps: SenderDeps;
  private readonly encoder = new RequestEncoder();
  private loggedAt = -Infinity;

  constructor(options: SenderOptions, deps: SenderDeps) {
    this.options = options;
    this.deps = deps;
    this.v2 = options.v2;
  }

  /** Resolves true when the batch is done with, one way or the other; false where the signal ended it before. */
  async send(batch: Batch): Promise<boolean> {
    const { metrics, clock } = this.deps;
    let sendable = batch.rows;
    const done = await this.untilTaken(sendable, () => {
      const minT = this.minT();
      const request = this.v2 ? this.encoder.v2(batch, minT, this.deps.metadata) : this.encoder.v1(batch, minT);
      const rows = request.samples + request.histograms + request.exemplars;
      if (rows < sendable) metrics.dropped('too_old').inc(sendable - rows);
      sendable = rows;
      return rows === 0 ? null : request;
    });
    if (done) {
      let newest = 0;
      for (let i = 0; i < batch.samples; i++) newest = Math.max(newest, batch.timestamps[i] as number);
      if (newest / 1000 > metrics.highestSent.value) metrics.highestSent.set(newest / 1000);
      metrics.duration.observe((clock.monotonic() - batch.madeAt) / 1000);
    }
    return done;
  }

  /** 1.0 only: 2.0 carries metadata with the series. */
  async sendMetadata(entries: readonly MetadataEntry[]): Promise<void> {
    const taken = await this.untilTaken(0, () =>
      this.v2 ? null : { message: this.encoder.metadataV1(entries), samples: 0, histograms: 0, exemplars: 0 },
    );
    if (taken) this.deps.metrics.metadata.inc(entries.length);
  }

  private minT(): number {
    const { sampleAgeLimitMs } = this.options;
    return sampleAgeLimitMs === 0 ? 0 : this.deps.clock.now() - sampleAgeLimitMs;
  }

  private async untilTaken(rows: number, encode: () => EncodedRequest | null): Promise<boolean> {
    const { signal, metrics } = this.deps;
    const backoff = new Backoff(this.options.minBackoffMs, this.options.maxBackoffMs, this.deps.random);
    for (;;) {
      const request = encode();
      if (request === null) return true;
      const counts = { samples: request.samples, histograms: request.histograms, exemplars: request.exemplars };
      const v2 = this.v2;
      const outcome = await this.once(snappyCompress(request.message), counts, v2);
      if (signal.aborted) return outcome.verdict === 'sent';
      if (outcome.verdict === 'sent' || outcome.verdict === 'refused') return true;
      metrics.retried.inc(rows);
      if (outcome.verdict === 'fall back') {
        if (this.v2) this.deps.log.warn('the receiver does not take remote write 2.0 (415): going on with 1.0');
        this.v2 = false;
        continue;
      }
      await this.pause(backoff.next(outcome.afterMs));
      if (signal.aborted) return false;
    }
  }

  private async once(
    body: Uint8Array,
    counts: Omit<EncodedRequest, 'message'>,
    v2: boolean,
  ): Promise<{ verdict: Verdict; afterMs: number }> {
    const { metrics, signal, clock, post } = this.deps;
    let answer: PostAnswer;
    try {
      answer = await post(body, { ...(v2 ? V2_HEADERS : V1_HEADERS), 'content-encoding': 'snappy' }, signal);
    } catch (error) {
      if (signal.aborted) return { verdict: 'retry', afterMs: 0 };
      metrics.requests('error').inc();
      this.complain('no answer from the receiver; trying again', errorText(error));
      return { verdict: 'retry', afterMs: 0 };
    }
    metrics.requests(String(answer.status)).inc();
    const verdict = verdictOf(answer.status, v2, this.options.retryOn429);
    if (verdict === 'sent' || verdict === 'refused') this.count(verdict, counts, body.length, answer, v2);
    else if (verdict === 'retry') {
      this.complain('the receiver cannot take samples now; trying again', `${answer.status} ${answer.text}`);
    }
    return { verdict, afterMs: retryAfterMs(header(answer, 'retry-after'), clock.now()) };
  }

  private count(
    verdict: Verdict,
    counts: Omit<EncodedRequest, 'message'>,
    bytes: number,
    answer: PostAnswer,
    v2: boolean,
  ): void {
    const { metrics } = this.deps;
    const total = counts.samples + counts.histograms + counts.exemplars;
    const taken = v2 ? writtenOf(answer, counts) : verdict === 'sent' ? counts : NOTHING;
    metrics.samples.inc(taken.samples);
    metrics.histograms.inc(taken.histograms);
    metrics.exemplars.inc(taken.exemplars);
    const missing = total - taken.samples - taken.histograms - taken.exemplars;
    if (missing > 0) metrics.failed.inc(missing);
    if (verdict === 'sent') {
      metrics.bytes.inc(bytes);
      this.lastError = '';
      if (missing > 0) {
        this.complain(
          'the receiver says that it has not stored everything, though it took the request',
          `${missing} rows`,
        );
      }
    } else this.complain('the receiver refused samples; they are not sent again', `${answer.status} ${answer.text}`);
  }

  private complain(what: string, why: string): void {
    const now = this.deps.clock.monotonic();
    this.lastError = `${what}: ${why}`;
    if (now - this.loggedAt < LOG_EVERY_MS) return;
    this.loggedAt = now;
    this.deps.log.warn({ why }, what);
  }

  private pause(ms: number): Promise<void> {
    const { clock, signal } = this.deps;
    return new Promise(done => {
      const end = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', end);
        done();
      };
      const timer = clock.after(ms, end);
      signal.addEventListener('abort', end);
    });
  }
}

const NOTHING = { samples: 0, histograms: 0, exemplars: 0 };

function header(answer: PostAnswer, name: string): string {
  const value = answer.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? '';
}

/** 2.0: what the receiver says it has stored; no header says nothing was. */
function writtenOf(answer: PostAnswer, sent: typeof NOTHING): typeof NOTHING {
  const read = (what: string, most: number): number => {
    const n = Number(header(answer, `x-prometheus-remote-write-${what}-written`));
    return Number.isInteger(n) && n > 0 ? Math.min(n, most) : 0;
  };
  return {
    samples: read('samples', sent.samples),
    histograms: read('histograms', sent.histograms),
    exemplars: read('exemplars', sent.exemplars),
  };
}

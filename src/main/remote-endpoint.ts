/** Puts one endpoint of outgoing remote write together from its configuration: queue, relabelling, HTTP client, sender. */
import { isDeepStrictEqual } from 'node:util';
import type { RemoteWriteConfig } from '../config/prometheus/model.ts';
import type { ForwardPosition } from '../contracts/forward-source.ts';
import { compileRelabel } from '../ingest/scrape/relabel.ts';
import type { Clock } from '../lib/clock.ts';
import { HttpClient } from '../lib/http-client/http-client.ts';
import type { Logger } from '../lib/log.ts';
import { Endpoint } from '../pipeline/forward/endpoint.ts';
import type { EndpointMetrics, ForwardMetrics } from '../pipeline/forward/forward-metrics.ts';
import { MetadataBook } from '../pipeline/forward/metadata-book.ts';
import { type Post, Sender } from '../pipeline/forward/sender.ts';
import { ForwardReader } from '../storage/tsdb/forward/forward-reader.ts';
import { nodeFiles } from '../storage/tsdb/wal/files.ts';
import type { RemoteEndpointStatus } from './remote-protocol.ts';

export interface RemoteEndpointDeps {
  /** Queue folders by shard. */
  dirs: readonly string[];
  userAgent: string;
  clock: Clock;
  log: Logger;
  metrics: ForwardMetrics;
}

/** What is read of an answer. */
const ANSWER_BYTES_MAX = 2048;

/** One endpoint that runs. */
export class RemoteEndpoint {
  readonly key: string;
  readonly endpoint: Endpoint;
  private readonly config: RemoteWriteConfig;
  private readonly externalLabels: ReadonlyMap<string, string>;
  private readonly sender: Sender;
  private readonly metrics: EndpointMetrics;
  private readonly client: HttpClient;
  private readonly ended = new AbortController();
  private readonly dropped: ReadonlyMap<string, { readonly value: number }>;
  queueBytes = 0;

  constructor(
    key: string,
    config: RemoteWriteConfig,
    externalLabels: ReadonlyMap<string, string>,
    positions: readonly (ForwardPosition | null)[],
    deps: RemoteEndpointDeps,
  ) {
    this.key = key;
    this.config = config;
    this.externalLabels = externalLabels;
    const shownUrl = withoutPassword(config.url);
    const name = nameOf(config);
    const counted = new Map<string, { readonly value: number }>();
    const metrics = deps.metrics.of(name, shownUrl);
    this.metrics = {
      ...metrics,
      dropped(reason) {
        const counter = metrics.dropped(reason);
        counted.set(reason, counter);
        return counter;
      },
    };
    this.dropped = counted;
    this.client = new HttpClient(config.httpClient, {
      baseDir: config.baseDir,
      userAgent: deps.userAgent,
      clock: deps.clock,
      environment: process.env,
    });
    const metadata = new MetadataBook();
    const { queue } = config;
    this.sender = new Sender(
      {
        minBackoffMs: queue.minBackoffMs,
        maxBackoffMs: queue.maxBackoffMs,
        retryOn429: queue.retryOnHttp429,
        sampleAgeLimitMs: queue.sampleAgeLimitMs,
        v2: config.protobufMessage === 'io.prometheus.write.v2.Request',
      },
      {
        post: postTo(config, this.client),
        clock: deps.clock,
        random: Math.random,
        metrics: this.metrics,
        metadata,
        log: deps.log.child({ remote: name, url: shownUrl }),
        signal: this.ended.signal,
      },
    );
    this.endpoint = new Endpoint(
      {
        relabel: config.writeRelabelConfigs.length === 0 ? null : compileRelabel(config.writeRelabelConfigs),
        externalLabels,
        capacity: Math.max(queue.capacity, queue.maxSamplesPerSend),
        minLanes: queue.minShards,
        maxLanes: queue.maxShards,
        batchRows: queue.maxSamplesPerSend,
        deadlineMs: queue.batchSendDeadlineMs,
        sendExemplars: config.sendExemplars,
        sendNativeHistograms: config.sendNativeHistograms,
        metadata: config.metadata.send
          ? { everyMs: config.metadata.sendIntervalMs, batchRows: config.metadata.maxSamplesPerSend }
          : null,
      },
      {
        clock: deps.clock,
        sources: deps.dirs.map((dir, shard) => new ForwardReader(nodeFiles, dir, positions[shard] ?? null)),
        sender: this.sender,
        metrics: this.metrics,
        metadata,
      },
    );
  }

  is(config: RemoteWriteConfig, externalLabels: ReadonlyMap<string, string>): boolean {
    return isDeepStrictEqual([config, externalLabels], [this.config, this.externalLabels]);
  }

  stop(): void {
    this.endpoint.stop();
    this.ended.abort();
    this.client.close();
  }

  status(): RemoteEndpointStatus {
    const { metrics } = this;
    return {
      name: nameOf(this.config),
      url: withoutPassword(this.config.url),
      protocol: this.sender.v2 ? '2.0' : '1.0',
      shards: this.endpoint.laneCount,
      pendingSamples: this.endpoint.pending,
      queueBytes: this.queueBytes,
      sentSamples: metrics.samples.value + metrics.histograms.value,
      failedSamples: metrics.failed.value,
      droppedSamples: Object.fromEntries([...this.dropped].map(([reason, counter]) => [reason, counter.value])),
      highestSentTimestampMs: Math.round(metrics.highestSent.value * 1000),
      lastError: this.sender.lastError,
    };
  }

  noteQueue(bytes: number): void {
    this.queueBytes = bytes;
    this.metrics.queueBytes.set(bytes);
  }
}

/** Names endpoints across restarts and reloads: two with one URL are told apart by their order. */
export function keysOf(configs: readonly RemoteWriteConfig[]): string[] {
  const seen = new Map<string, number>();
  return configs.map(config => {
    const base = config.name === '' ? withoutPassword(config.url) : config.name;
    const n = seen.get(base) ?? 0;
    seen.set(base, n + 1);
    return n === 0 ? base : `${base} #${n + 1}`;
  });
}

function nameOf(config: RemoteWriteConfig): string {
  return config.name === '' ? withoutPassword(config.url) : config.name;
}

export function withoutPassword(text: string): string {
  if (!URL.canParse(text)) return text;
  const url = new URL(text);
  if (url.password === '') return text;
  url.password = 'xxxxx';
  return url.href;
}

function postTo(config: RemoteWriteConfig, client: HttpClient): Post {
  const own = Object.fromEntries([...config.headers].map(([name, value]) => [name.toLowerCase(), value]));
  return async (body, headers, signal) => {
    const timeout = AbortSignal.timeout(config.remoteTimeoutMs);
    const answer = await client.stream({
      method: 'POST',
      url: config.url,
      headers: { ...own, ...headers },
      body,
      signal: AbortSignal.any([signal, timeout]),
    });
    return { status: answer.status, headers: answer.headers, text: await beginningOf(answer) };
  };
}

/** A receiver's long story is cut, and one that breaks off changes nothing about its status. */
async function beginningOf(answer: { body: AsyncIterable<Uint8Array>; close(): void }): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body) {
      parts.push(chunk);
      size += chunk.length;
      if (size >= ANSWER_BYTES_MAX) {
        answer.close();
        break;
      }
    }
  } catch {
    // What there is will do.
  }
  return Buffer.concat(parts).toString('utf8', 0, ANSWER_BYTES_MAX).trim();
}

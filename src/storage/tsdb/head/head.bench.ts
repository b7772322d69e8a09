/**
 * Benchmark of the head: append, memory, replay. `node head.bench.ts [series ...] [--rounds=N]`, default 100000 and 1000000.
 *
 * Requests of 2,000 series, one sample each, 12 labels of about 340 bytes, one timestamp per round, 15 s apart, values as
 * counters and gauges. Prints ns per sample (all rounds after the first, seals and page writes included), memory per series
 * (RSS delta and own accounting) and the time to open the folder again without a close.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { IdentityHasher } from '../../../lib/identity-hash.ts';
import { encodeLabels } from '../../../model/labels.ts';
import type { SampleBatch } from '../../../model/sample-batch.ts';
import { compileMatcher } from '../matchers.ts';
import { Head } from './head.ts';

const PER_REQUEST = 2000;
const STEP_MS = 15_000;
const T0 = 1_700_000_000_000;

function labelsOf(i: number): string[] {
  const pod = Math.floor(i / 100);
  return [
    '__name__',
    `http_request_duration_seconds_bucket_${i % 50}`,
    'cluster',
    'production-eu-west-1a',
    'container',
    `checkout-service-${pod % 97}`,
    'endpoint',
    '/api/v2/orders/{id}/confirm',
    'env',
    'production',
    'instance',
    `10.${(pod >> 16) & 255}.${(pod >> 8) & 255}.${pod & 255}:9090`,
    'job',
    'kubernetes-pods',
    'le',
    String((i % 100) / 50),
    'method',
    i % 2 === 0 ? 'GET' : 'POST',
    'namespace',
    `team-${pod % 31}`,
    'pod',
    `checkout-service-7d9f8b6c5-${pod.toString(36).padStart(6, 'x')}`,
    'status',
    String(200 + (i % 5)),
  ];
}

class Load {
  readonly series: number;
  private readonly hashes: Uint32Array;
  private readonly sampleStart = Uint32Array.from({ length: PER_REQUEST + 1 }, (_, i) => i);
  private readonly timestamps = new Float64Array(PER_REQUEST);
  private readonly values = new Float64Array(PER_REQUEST);
  private readonly labelStart = new Uint32Array(PER_REQUEST);
  private readonly labelEnd = new Uint32Array(PER_REQUEST);
  private labelBytes = new Uint8Array(0);
  labelBytesTotal = 0;

  constructor(series: number) {
    this.series = series;
    this.hashes = new Uint32Array(series * 4);
  }

  get requests(): number {
    return Math.ceil(this.series / PER_REQUEST);
  }

  /** Labels and hashes of a request: needed before its first round. */
  prepare(request: number, hasher: IdentityHasher): void {
    const seed = hasher.tenantSeed('default');
    const parts: Uint8Array[] = [];
    let at = 0;
    for (let k = 0; k < PER_REQUEST; k++) {
      const bytes = encodeLabels(labelsOf(request * PER_REQUEST + k));
      this.labelStart[k] = at;
      at += bytes.length;
      this.labelEnd[k] = at;
      parts.push(bytes);
    }
    this.labelBytes = new Uint8Array(at);
    this.labelBytesTotal += at;
    at = 0;
    for (let k = 0; k < PER_REQUEST; k++) {
      this.labelBytes.set(parts[k] as Uint8Array, at);
      at += (parts[k] as Uint8Array).length;
      const i = request * PER_REQUEST + k;
      hasher.hash(seed, this.labelBytes, this.labelStart[k] as number, this.labelEnd[k] as number, this.hashes, i * 4);
    }
  }

  batch(request: number, round: number): SampleBatch {
    const t = T0 + round * STEP_MS;
    for (let k = 0; k < PER_REQUEST; k++) {
      this.timestamps[k] = t;
      this.values[k] = k % 2 === 0 ? round * (k % 13) + k : ((round * 7919 + k * 31) % 1000) / 10;
    }
    return {
      seriesCount: PER_REQUEST,
      labelBytes: this.labelBytes,
      labelStart: this.labelStart,
      labelEnd: this.labelEnd,
      hashes: this.hashes.subarray(request * PER_REQUEST * 4, (request + 1) * PER_REQUEST * 4),
      sampleStart: this.sampleStart,
      timestamps: this.timestamps,
      values: this.values,
      startTimestamps: null,
      histograms: null,
      exemplars: null,
      metadata: null,
    };
  }
}

async function run(series: number, rounds: number): Promise<void> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'head-bench-'));
  const hasher = new IdentityHasher(new Uint8Array(16).fill(7));
  const load = new Load(series);
  const before = rss();
  let head = new Head({ dir });
  let registering = 0;
  for (let r = 0; r < load.requests; r++) {
    load.prepare(r, hasher);
    const batch = load.batch(r, 0);
    const t = process.hrtime.bigint();
    head.append('default', batch);
    registering += Number(process.hrtime.bigint() - t);
  }
  let ns = 0;
  let longest = 0;
  for (let round = 1; round < rounds; round++) {
    for (let r = 0; r < load.requests; r++) {
      const batch = load.batch(r, round);
      const t = process.hrtime.bigint();
      head.append('default', batch);
      const took = Number(process.hrtime.bigint() - t);
      ns += took;
      if (took > longest) longest = took;
    }
    if (round % 4 === 0) await head.maintain();
  }
  await head.maintain();
  const stats = head.stats();
  const memory = Object.values(stats.memory).reduce((a, b) => a + b, 0);
  console.log(`--- ${series} series, ${rounds} rounds, labels ${(load.labelBytesTotal / series).toFixed(0)} B`);
  console.log(`register       ${(registering / series).toFixed(0)} ns/series`);
  console.log(
    `append         ${(ns / (series * (rounds - 1))).toFixed(1)} ns/sample, longest request ${(longest / 1e6).toFixed(1)} ms`,
  );
  console.log(
    `memory         RSS delta ${((rss() - before) / series).toFixed(0)} B/series, own accounting ${(memory / series).toFixed(0)}`,
  );
  console.log(
    `               ${Object.entries(stats.memory)
      .map(([k, v]) => `${k} ${(v / series).toFixed(0)}`)
      .join(', ')}`,
  );
  console.log(
    `disk           WAL ${(stats.walBytes / 1e6).toFixed(0)} MB in ${stats.walSegments} segments, chunk files ${(stats.chunkFileBytes / 1e6).toFixed(0)} MB (${(stats.chunkFileBytes / (series * (rounds - 1))).toFixed(2)} B/sample), series.log ${(stats.seriesLogBytes / 1e6).toFixed(0)} MB`,
  );
  select(head, rounds);
  head.abandon();
  head = undefined as unknown as Head;
  globalThis.gc?.();
  const t = performance.now();
  head = new Head({ dir });
  console.log(`replay         ${((performance.now() - t) / 1000).toFixed(2)} s: ${JSON.stringify(head.report)}`);
  await head.close();
  fs.rmSync(dir, { recursive: true });
}

function select(head: Head, rounds: number): void {
  const matchers = [{ name: '__name__', op: '=' as const, value: 'http_request_duration_seconds_bucket_7' }].map(
    compileMatcher,
  );
  for (let k = 0; k < 3; k++) {
    const a = performance.now();
    const set = head.select('default', matchers, 0, Infinity);
    const b = performance.now();
    const buffer = newSampleBuffer();
    let samples = 0;
    for (let i = 0; i < set.count; i++) {
      buffer.length = 0;
      set.read(i, T0, T0 + rounds * STEP_MS, buffer);
      samples += buffer.length;
    }
    const c = performance.now();
    for (let i = 0; i < set.count; i++) set.labels(i);
    const d = performance.now();
    set.close();
    if (k === 2)
      console.log(
        `select         ${set.count} series ${(b - a).toFixed(1)} ms, read ${samples} samples ${(c - b).toFixed(1)} ms (${(samples / (c - b) / 1000).toFixed(0)} M/s), labels ${(d - c).toFixed(1)} ms`,
      );
  }
}

function rss(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

const sizes = process.argv
  .slice(2)
  .filter(a => !a.startsWith('--'))
  .map(Number);
const rounds = Number(process.argv.find(a => a.startsWith('--rounds='))?.slice(9) ?? 50);
for (const size of sizes.length > 0 ? sizes : [100_000, 1_000_000]) await run(size, rounds);

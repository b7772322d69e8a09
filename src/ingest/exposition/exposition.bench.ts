/**
 * How fast a text exposition becomes a batch: 5,000 series with 8 labels, once as a first scrape (every label read) and
 * once as a steady one (every series known to the cache). Run: `node src/ingest/exposition/exposition.bench.ts`.
 */
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { SeriesCache } from './series-cache.ts';
import { ExpositionReader, type ReadOptions } from './to-batch.ts';

const SERIES = 5000;
let text = '# HELP http_request_duration_seconds Latency.\n# TYPE http_request_duration_seconds histogram\n';
for (let i = 0; i < SERIES; i++) {
  text += `http_request_duration_seconds_bucket{handler="/api/v1/query_${i % 50}",method="GET",code="200",zone="eu-west-1a",`;
  text += `pod="frontend-7d9f-${(i * 7919).toString(36)}",le="${(i % 25) / 5}"} ${i * 3.25}\n`;
}
const bytes = Buffer.from(text);
const hasher = new IdentityHasher(new Uint8Array(32).fill(5));
const seed = hasher.tenantSeed('default');
const builder = new BatchBuilder(hasher, seed);
const options: ReadOptions = {
  timestampMs: 1_750_000_000_000,
  honorTimestamps: true,
  finishLabels: set => {
    set.addStrings('instance', '10.0.0.1:9100');
    set.addStrings('job', 'frontend');
    return true;
  },
  createdAsStart: true,
  metadata: true,
};

function measure(name: string, cache: SeriesCache | null): void {
  const reader = new ExpositionReader('text', cache);
  for (let round = 0; round < 3; round++) {
    const cpu = process.cpuUsage();
    const until = performance.now() + 1000;
    let samples = 0;
    while (performance.now() < until) {
      cache?.begin();
      builder.reset();
      samples += reader.read(bytes, builder, options).added;
    }
    const used = process.cpuUsage(cpu);
    const ns = ((used.user + used.system) * 1000) / samples;
    console.log(`${name}: ${ns.toFixed(0)} ns a sample, ${(1000 / ns).toFixed(2)} M samples per CPU-second`);
  }
}

measure('first scrape', null);
measure('steady scrape', new SeriesCache(seed, 100_000));

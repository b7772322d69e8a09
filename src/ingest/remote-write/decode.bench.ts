/**
 * How fast a remote-write 1.0 body becomes a hashed SampleBatch: 2,000 series of 12 labels (about 340 bytes), one sample
 * each, snappy. Run: `node src/ingest/remote-write/decode.bench.ts [wasm|js]`.
 */
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { createJsKernel, createKernel } from '../../lib/kernel/kernel.ts';
import { snappyCompress } from '../../lib/snappy.ts';
import { decodeWriteRequest } from './decode.ts';
import { encodeWriteRequest, type WriteSeries } from './encode.ts';

const SERIES = 2000;
const REQUESTS = 50;

function makeSeries(request: number, i: number): WriteSeries {
  const pod = `checkout-service-${(request * 7919 + i * 31).toString(16)}-${(i * 2654435761).toString(36)}`;
  return {
    labels: [
      ...['__name__', `http_server_request_duration_seconds_bucket_${i % 40}`],
      ...['cluster', 'production-eu-west-1', 'container', 'checkout-service', 'endpoint', 'http-metrics'],
      ...['environment', 'production', 'instance', `10.${request % 250}.${i % 250}.17:9090`],
      ...['job', 'monitoring/checkout-service', 'le', `${(i % 20) / 10}`, 'method', 'POST'],
      ...['namespace', 'payments-and-billing', 'pod', pod, 'status_code', '200'],
    ],
    timestamps: [1_750_000_000_000 + request * 15_000],
    values: Float64Array.of(i * 1.5 + request),
  };
}

const hasher = new IdentityHasher(new Uint8Array(32).fill(9));
const seed = hasher.tenantSeed('default');
const bodies: Uint8Array[] = [];
let messageBytes = 0;
for (let r = 0; r < REQUESTS; r++) {
  const message = encodeWriteRequest(Array.from({ length: SERIES }, (_, i) => makeSeries(r, i)));
  messageBytes += message.length;
  bodies.push(snappyCompress(message));
}
const bodyBytes = bodies.reduce((n, b) => n + b.length, 0);
console.log(
  `${(messageBytes / REQUESTS / SERIES).toFixed(0)} B/series, compressed ${(bodyBytes / REQUESTS / SERIES).toFixed(0)}`,
);

const kernel = process.argv[2] === 'js' ? createJsKernel() : createKernel();
const seconds = kernel.backendName === 'js' ? 2 : 4;
let sink = 0;
for (let round = 0; round < 4; round++) {
  const cpu = process.cpuUsage();
  const until = performance.now() + (seconds * 1000) / 4;
  let samples = 0;
  while (performance.now() < until) {
    for (const body of bodies) {
      const { batch } = decodeWriteRequest(body, 'snappy', seed, kernel);
      samples += batch.seriesCount;
      sink ^= batch.hashes[3] as number;
    }
  }
  const used = process.cpuUsage(cpu);
  const rate = samples / ((used.user + used.system) / 1e6);
  console.log(
    `${kernel.backendName}: ${(rate / 1e6).toFixed(2)} M samples per CPU-second (${(1e9 / rate).toFixed(0)} ns each)`,
  );
}
if (kernel.memoryBytes === 0) console.log(sink);

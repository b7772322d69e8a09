/**
 * Micro benchmark of the chunk codec: samples/s and bytes/sample by shape. Run: node src/storage/tsdb/chunk/chunk.bench.ts
 * Seeded; a checksum over the decoded samples keeps the work alive.
 */
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { decodeFloatChunk, encodeFloatChunk, maxFloatChunkSize } from './float-chunk.ts';
import { counterShape, decimalGauge, doubleGauge, seeded } from './shapes.ts';

const SERIES = 200;
const ROUNDS = 20;

function run(name: string, rows: number, jitterMs: number, shape: (r: () => number) => () => number): void {
  const r = seeded(42);
  const chunks = Math.max(1, Math.floor(480 / rows));
  const t = new Float64Array(rows * chunks);
  const out = new Uint8Array(SERIES * chunks * maxFloatChunkSize(rows));
  const columns: Float64Array[] = [];
  for (let s = 0; s < SERIES; s++) {
    const next = shape(r);
    columns.push(Float64Array.from({ length: rows * chunks }, () => next()));
  }
  for (let i = 0; i < t.length; i++) t[i] = 1_763_800_000_000 + i * 15_000 + Math.floor(r() * jitterMs);
  const samples = SERIES * t.length;
  let end = 0;
  let encodeMs = Number.POSITIVE_INFINITY;
  for (let k = 0; k < ROUNDS; k++) {
    const began = performance.now();
    end = 0;
    for (const column of columns) {
      for (let c = 0; c < chunks; c++) end = encodeFloatChunk(t, column, c * rows, (c + 1) * rows, null, out, end);
    }
    encodeMs = Math.min(encodeMs, performance.now() - began);
  }
  const into = newSampleBuffer(rows);
  let decodeMs = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let k = 0; k < ROUNDS * 5; k++) {
    const began = performance.now();
    for (let at = 0; at < end; ) {
      into.length = 0;
      at = decodeFloatChunk(out, at, into);
      sum += into.values[into.length - 1] as number;
    }
    decodeMs = Math.min(decodeMs, performance.now() - began);
  }
  console.log(
    `${name.padEnd(16)} ${String(rows).padStart(4)} rows, jitter ${String(jitterMs).padStart(2)} ms: ` +
      `${(end / samples).toFixed(2)} B/sample, encode ${(samples / encodeMs / 1000).toFixed(0)} M/s, ` +
      `decode ${(samples / decodeMs / 1000).toFixed(0)} M/s (${sum.toExponential(2)})`,
  );
}

for (const rows of [16, 120, 480]) {
  for (const jitter of [0, 20]) {
    run('counter', rows, jitter, counterShape);
    run('gauge, decimal', rows, jitter, decimalGauge);
    run('gauge, double', rows, jitter, doubleGauge);
    run('bucket', rows, jitter, r => {
      // A bucket of a classic histogram: mostly quiet, now and then a few more.
      let c = Math.floor(r() * 1e5);
      const rate = r() * 2;
      return () => {
        c += r() < 0.6 ? 0 : Math.floor(r() * 4 * rate);
        return c;
      };
    });
  }
}

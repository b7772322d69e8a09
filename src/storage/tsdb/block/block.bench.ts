/**
 * Bytes per sample at rest and read speed of blocks: 1,000 series x 24 h at 15 s by shape. Run: node src/storage/tsdb/block/block.bench.ts
 * Seeded. Sizes include the index; blocks as a merge writes them, with FLUSHED=1 as a flush does. Every answer is summed, so that nothing is optimised away.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { counterShape, decimalGauge, doubleGauge, seeded } from '../chunk/shapes.ts';
import { BlockCaches } from './cache.ts';
import { FAST, THOROUGH } from './frames.ts';
import { SECTION, SECTION_NAMES, type Section } from './layout.ts';
import { BlockReader } from './reader.ts';
import { BlockWriter } from './writer.ts';

type Shape = (r: () => number) => () => number;

const HOUR = 3_600_000;
const START = 1_763_769_600_000;
const SERIES = Number(process.env.SERIES ?? 1000);
const INTERVAL = Number(process.env.INTERVAL_MS ?? 15_000);
const HOURS = Number(process.env.HOURS ?? 24);
const TARGETS = 20;

const shapes: Record<string, Shape> = {
  constant: r => {
    const v = Math.floor(r() * 100);
    return () => v;
  },
  counter: counterShape,
  // Whole steps of a constant rate with an occasional slip.
  'steady counter': r => {
    let c = Math.floor(r() * 1e6);
    const step = 1 + Math.floor(r() * 100);
    return () => {
      c += r() < 0.9 ? step : step + Math.floor(r() * 3) - 1;
      return c;
    };
  },
  // CPU seconds: hundredths, of which a share of the interval is used.
  'cpu seconds': r => {
    let c = r() * 1e5;
    const share = r() ** 3;
    return () => {
      c += 15 * Math.min(1, share * (0.5 + r()));
      return Math.round(c * 100) / 100;
    };
  },
  bytes: r => {
    let c = Math.floor(r() * 1e11);
    const rate = r() ** 4 * 1e7;
    return () => {
      c += Math.floor(rate * (0.5 + r()));
      return c;
    };
  },
  memory: r => {
    let pages = Math.floor(r() * 4e6);
    return () => {
      pages += Math.floor((r() - 0.5) * 200);
      return pages * 4096;
    };
  },
  'gauge, decimal': decimalGauge,
  'gauge, double': doubleGauge,
  bucket: r => {
    let c = Math.floor(r() * 1e5);
    const rate = r() ** 3 * 3;
    return () => {
      for (let k = 0; k < 4; k++) c += r() < rate / 4 ? 1 : 0;
      return c;
    };
  },
  'mostly quiet': r => {
    let c = Math.floor(r() * 1000);
    return () => {
      if (r() < 0.01) c++;
      return c;
    };
  },
};

async function run(name: string, shape: Shape, jitterMs: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'block-bench-'));
  const r = seeded(7);
  const n = Math.floor((HOURS * HOUR) / INTERVAL);
  const times = Array.from({ length: TARGETS }, () => {
    const phase = Math.floor(r() * INTERVAL);
    return Float64Array.from({ length: n }, (_, i) => START + phase + i * INTERVAL + Math.floor(r() * jitterMs));
  });
  const buffer = newSampleBuffer(n);
  buffer.length = n;
  const data = Array.from({ length: SERIES }, () => {
    const next = shape(r);
    return Float64Array.from({ length: n }, () => next());
  });
  const hash = new Uint32Array(4);
  const writer = new BlockWriter(dir, {
    ulid: 'B',
    tenant: 't',
    createdAtMs: 0,
    arrivedMs: 0,
    compression: process.env.FLUSHED === undefined ? THOROUGH : FAST,
  });
  let began = performance.now();
  for (let s = 0; s < SERIES; s++) {
    hash.set([s, r() * 2 ** 32, r() * 2 ** 32, r() * 2 ** 32]);
    buffer.timestamps = times[s % TARGETS] as Float64Array;
    buffer.values = data[s] as Float64Array;
    const labels = [
      '__name__',
      `bench_metric_${Math.floor(s / 100)}`,
      'cpu',
      `${s % 8}`,
      'instance',
      `10.0.0.${s % TARGETS}:9100`,
      'job',
      'node',
      'mode',
      ['user', 'system', 'idle', 'iowait'][s % 4] as string,
    ];
    if (s > 0 && s % 100 === 0) hash[0] = s;
    labels[1] = `bench_metric_${String(Math.floor(s / 100)).padStart(5, '0')}`;
    writer.addSeries(hash, labels, buffer);
  }
  await writer.finish();
  const writeMs = performance.now() - began;
  const reader = new BlockReader(writer.path, new BlockCaches({ indexBytesMax: 64e6, dataBytesMax: 8e6 }));
  const samples = SERIES * n;
  const into = newSampleBuffer(n);
  let best = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let k = 0; k < 7; k++) {
    const set = reader.select('t', [], START, START + HOURS * HOUR);
    began = performance.now();
    for (let i = 0; i < set.count; i++) {
      into.length = 0;
      set.read(i, START, START + 2 * HOURS * HOUR, into);
      sum += into.values[into.length - 1] as number;
      if (into.length !== n) throw new Error(`BUG: ${into.length} rows`);
    }
    best = Math.min(best, performance.now() - began);
    set.close();
  }
  const parts = Object.values(SECTION)
    .map(s => `${SECTION_NAMES[s]} ${(reader.file.storedBytes(s as Section) / samples).toFixed(3)}`)
    .slice(0, 7)
    .join(' ');
  console.log(
    `${name.padEnd(15)} jitter ${jitterMs}: ${(reader.bytes / samples).toFixed(3)} B/sample (${parts}; data before zstd ` +
      `${(reader.file.rawBytes(SECTION.data) / samples).toFixed(3)}), write ${(samples / writeMs / 1000).toFixed(1)} M/s, ` +
      `read ${(samples / best / 1000).toFixed(0)} M/s ${sum === 0 ? '' : ''}`,
  );
  reader.close();
  rmSync(dir, { recursive: true });
}

const only = process.argv[2];
for (const [name, shape] of Object.entries(shapes)) {
  if (only !== undefined && !name.includes(only)) continue;
  await run(name, shape, 0);
  if (name === 'counter' || name === 'gauge, decimal') await run(name, shape, 20);
}

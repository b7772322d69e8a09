import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemorySource } from '../../../test/support/memory-source.ts';
import type { RawSeries } from '../../contracts/leaf-source.ts';
import type { RawRequest, RawStream } from '../../contracts/raw-stream.ts';
import { compareLabels } from '../../model/labels.ts';
import { createLocalLeafSource } from '../../query/promql/leaf.ts';
import { rawStreamOfLeafSource, rawStreamOfSampleSource } from './raw-stream.ts';

const source = new MemorySource();
for (let i = 0; i < 5; i++) {
  const samples = Array.from({ length: 200 }, (_, k) => ({ t: 1_700_000_000_000 + k * 1000 + i, value: k }));
  source.append('t', ['__name__', 'm', 'i', String((i * 3) % 5)], samples);
}

const ALL: RawRequest = {
  matchers: [{ name: '__name__', op: '=', value: 'm' }],
  minT: Number.MIN_SAFE_INTEGER,
  maxT: Number.MAX_SAFE_INTEGER,
  sorted: false,
  whole: true,
  maxSamples: 0,
};

async function readAll(stream: RawStream, request: RawRequest): Promise<RawSeries[]> {
  const out: RawSeries[] = [];
  for await (const batch of stream.read('t', request)) out.push(...batch);
  return out;
}

function points(all: RawSeries[]): string[] {
  return all.flatMap(s => [...s.timestamps].map((t, k) => `${s.labels.join()}@${t}=${s.values[k]}`)).sort();
}

const streams: [string, RawStream][] = [
  ['a sample source', rawStreamOfSampleSource(source)],
  ['a leaf source', rawStreamOfLeafSource(createLocalLeafSource(source))],
];

for (const [name, stream] of streams) {
  test(`${name}: whole, sorted, bounded in time and samples`, async () => {
    const all = await readAll(stream, { ...ALL, sorted: true });
    assert.equal(all.length, 5);
    for (let i = 1; i < 5; i++) assert.ok(compareLabels(all[i - 1]!.labels, all[i]!.labels) < 0);
    assert.ok(all.every(s => s.timestamps.length === 200));
    const some = await readAll(stream, { ...ALL, minT: 1_700_000_000_000, maxT: 1_700_000_001_000 });
    assert.equal(points(some).length, 6);
    await assert.rejects(readAll(stream, { ...ALL, maxSamples: 999 }), { name: 'QueryLimitError' });
    assert.equal(points(await readAll(stream, { ...ALL, maxSamples: 1000 })).length, 1000);
  });
}

test('a leaf source in pieces gives the same points, each series in the order of time, in bounded pieces', async () => {
  const stream = rawStreamOfLeafSource(createLocalLeafSource(source), 64);
  const pieces = await readAll(stream, { ...ALL, whole: false });
  const whole = await readAll(rawStreamOfSampleSource(source), ALL);
  assert.ok(pieces.length > 50);
  assert.deepEqual(points(pieces), points(whole));
  const last = new Map<string, number>();
  for (const s of pieces) {
    const key = s.labels.join();
    assert.ok((s.timestamps[0] as number) > (last.get(key) ?? 0));
    last.set(key, s.timestamps[s.timestamps.length - 1] as number);
  }
  // Five samples at once are more than three: no piece is small enough.
  const dense = new MemorySource();
  for (let i = 0; i < 5; i++) dense.append('t', ['__name__', 'm', 'i', String(i)], [{ t: 5, value: 1 }]);
  await assert.rejects(readAll(rawStreamOfLeafSource(createLocalLeafSource(dense), 3), { ...ALL, whole: false }), {
    name: 'QueryLimitError',
  });
});

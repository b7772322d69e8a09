import assert from 'node:assert/strict';
import { test } from 'node:test';
import { growSampleBuffer, newSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import type { Labels } from '../../model/labels.ts';
import type { PartSet } from './part.ts';
import { MergedSeriesSet } from './series-set.ts';

/** A part of series n -> [t, v][]; the hash of series n is (n, 0, 0, 7n). */
function part(series: Record<number, [number, number][]>): PartSet {
  const ids = Object.keys(series).map(Number);
  return {
    count: ids.length,
    hashes: new Uint32Array(ids.flatMap(n => [n, 0, 0, 7 * n])),
    labels: (i: number): Labels => ['__name__', `m${ids[i]}`],
    read(i: number, minT: number, maxT: number, into: SampleBuffer) {
      for (const [t, v] of series[ids[i] as number] ?? []) {
        if (t < minT || t > maxT) continue;
        growSampleBuffer(into, into.length + 1);
        into.timestamps[into.length] = t;
        into.values[into.length++] = v;
      }
    },
    close() {},
  };
}

function dump(set: MergedSeriesSet): Record<string, string> {
  const out: Record<string, string> = {};
  const buffer = newSampleBuffer(1);
  for (let i = 0; i < set.count; i++) {
    set.read(i, buffer);
    const rows = Array.from(buffer.timestamps.subarray(0, buffer.length), (t, k) => `${t}=${buffer.values[k]}`);
    out[set.labels(i)[1] as string] = rows.join(' ');
  }
  return out;
}

const all = { minT: 0, maxT: 1000 };

test('series are joined across parts and read in order of time', () => {
  const a = part({ 1: [[1, 10]], 2: [[1, 20]] });
  const b = part({ 2: [[5, 25]], 3: [[5, 35]] });
  const c = part({ 1: [[9, 19]], 2: [[8, 28]] });
  let released = 0;
  const set = new MergedSeriesSet(
    [a, b, c].map(p => ({ set: p, ...all })),
    [],
    () => {
      released++;
    },
  );
  assert.deepEqual(dump(set), { m1: '1=10 9=19', m2: '1=20 5=25 8=28', m3: '5=35' });
  set.close();
  set.close();
  assert.equal(released, 1);
});

test('overlapping parts are merged, equal timestamps settle to one', () => {
  const a = part({
    1: [
      [1, 1],
      [5, 5],
      [9, 9],
    ],
  });
  const b = part({
    1: [
      [3, 3],
      [5, 6],
      [9, 9],
      [11, 11],
    ],
  });
  assert.deepEqual(
    dump(
      new MergedSeriesSet(
        [a, b].map(p => ({ set: p, ...all })),
        [],
        () => {},
      ),
    ),
    {
      m1: '1=1 3=3 5=6 9=9 11=11',
    },
  );
});

test('each part is read within its own bounds', () => {
  const a = part({
    1: [
      [1, 1],
      [5, 5],
    ],
  });
  const b = part({
    1: [
      [1, 100],
      [5, 500],
      [6, 6],
    ],
  });
  const set = new MergedSeriesSet(
    [
      { set: a, minT: 0, maxT: 5 },
      { set: b, minT: 6, maxT: 1000 },
    ],
    [],
    () => {},
  );
  assert.deepEqual(dump(set), { m1: '1=1 5=5 6=6' });
});

test('one part passes through; none is empty', () => {
  assert.deepEqual(dump(new MergedSeriesSet([{ set: part({ 4: [[1, 2]] }), ...all }], [], () => {})), { m4: '1=2' });
  assert.deepEqual(dump(new MergedSeriesSet([], [], () => {})), {});
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DistinctSketch, hashText } from './distinct-sketch.ts';

test('exact for few, within some percent for many, also put together', () => {
  for (const [n, tolerance] of [
    [0, 0],
    [1, 0],
    [1000, 0],
    [50_000, 0.1],
    [300_000, 0.1],
  ] as const) {
    const parts = [new DistinctSketch(), new DistinctSketch(), new DistinctSketch()];
    for (let i = 0; i < n; i++) {
      const hash = hashText(`value-${i}`);
      (parts[i % 3] as DistinctSketch).add(hash);
      (parts[(i + 1) % 3] as DistinctSketch).add(hash);
    }
    const all = new DistinctSketch();
    for (const part of parts) all.addAll(part.smallest());
    assert.ok(Math.abs(all.count() - n) <= n * tolerance, `${all.count()} for ${n}`);
  }
});

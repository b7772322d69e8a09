/** Thinning of exemplars: one per series and minute is sure, of the others one in so many, the same for every sender; limits apply. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { IdentityHasher } from '../../../lib/identity-hash.ts';
import { encodeLabels, labelsFromRecord } from '../../../model/labels.ts';
import type { ExemplarSample, SampleBatch } from '../../../model/sample-batch.ts';
import { type ExemplarPolicy, ExemplarStore } from './exemplar-store.ts';

const MINUTE_MS = 60_000;
const START = 1_700_000_000_000 - (1_700_000_000_000 % MINUTE_MS);
const hasher = new IdentityHasher(new Uint8Array(32).fill(5));

/** One exemplar for each (series, time). */
function batchOf(rows: readonly [series: number, timestampMs: number][]): SampleBatch {
  const bytes: Uint8Array[] = [];
  const n = Math.max(...rows.map(r => r[0])) + 1;
  const hashes = new Uint32Array(n * 4);
  const labelStart = new Uint32Array(n);
  const labelEnd = new Uint32Array(n);
  let at = 0;
  for (let i = 0; i < n; i++) {
    const own = encodeLabels(labelsFromRecord({ __name__: 'm', i: String(i) }));
    bytes.push(own);
    labelStart[i] = at;
    at += own.length;
    labelEnd[i] = at;
    hasher.hash(hasher.tenantSeed('t'), own, 0, own.length, hashes, i * 4);
  }
  const exemplars: ExemplarSample[] = rows.map(([series, timestampMs]) => ({
    series,
    timestampMs,
    value: timestampMs % 1000,
    labels: ['trace_id', `${series}-${timestampMs}`],
  }));
  return {
    seriesCount: n,
    labelBytes: Buffer.concat(bytes),
    labelStart,
    labelEnd,
    hashes,
    sampleStart: new Uint32Array(n + 1),
    timestamps: new Float64Array(0),
    values: new Float64Array(0),
    startTimestamps: null,
    histograms: null,
    exemplars,
    metadata: null,
  };
}

function withStore(policy: ExemplarPolicy, work: (store: ExemplarStore, again: () => ExemplarStore) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-exemplars-'));
  let nowMs = START;
  const open = (): ExemplarStore => {
    return new ExemplarStore(
      dir,
      { perTenant: 1000 },
      undefined,
      () => nowMs,
      () => policy,
    );
  };
  let store = open();
  try {
    work(store, () => {
      store.close();
      nowMs += 1000;
      store = open();
      return store;
    });
  } finally {
    store.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function times(store: ExemplarStore, series: number): number[] {
  const all = store.query('t', [], 0, Number.MAX_SAFE_INTEGER, 0);
  const own = all.find(s => s.labels.includes(String(series)));
  return own?.exemplars.map(e => e.timestampMs) ?? [];
}

test('the first of each series and minute is kept, and about one in a thousand of the rest', () => {
  withStore({ kept: 0, oneIn: 1000, perSecond: 0 }, (store, again) => {
    const rows: [number, number][] = [];
    // 5 series, 40 minutes, 10 a second.
    for (let t = 0; t < 40 * MINUTE_MS; t += 100) for (let s = 0; s < 5; s++) rows.push([s, START + t]);
    assert.equal(store.append('t', batchOf(rows), null), rows.length, 'all are accepted');
    const sure = 5 * 40;
    const extra = store.rowCount - sure;
    assert.ok(extra > 60 && extra < 180, `${extra} besides the sure ones, of ${rows.length}`);
    for (let s = 0; s < 5; s++) {
      const minutes = new Set(times(store, s).map(t => Math.floor(t / MINUTE_MS)));
      assert.equal(minutes.size, 40);
    }
    assert.equal(store.thinned, rows.length - store.rowCount);
    // A second sender of the same series, or a retry, after a restart too: nothing more is kept.
    const kept = store.rowCount;
    const reopened = again();
    assert.equal(reopened.rowCount, kept);
    const tail = rows.slice(-1000);
    assert.equal(reopened.append('t', batchOf(tail), null), tail.length);
    assert.equal(reopened.rowCount, kept);
  });
});

test('what the policy keeps beyond the usual is there after a restart', () => {
  withStore({ kept: 2500, oneIn: 1, perSecond: 0 }, (store, again) => {
    const rows = Array.from({ length: 2400 }, (_, i): [number, number] => [i % 3, START + i]);
    store.append('t', batchOf(rows), null);
    assert.equal(store.rowCount, 2400);
    assert.equal(again().rowCount, 2400);
  });
});

test('one in one keeps all; a rate bounds what comes, and a number what stays', () => {
  const rows = Array.from({ length: 300 }, (_, i): [number, number] => [i % 3, START + i]);
  withStore({ kept: 0, oneIn: 1, perSecond: 0 }, store => {
    store.append('t', batchOf(rows), null);
    assert.equal(store.rowCount, 300);
  });
  withStore({ kept: 0, oneIn: 1, perSecond: 100 }, (store, again) => {
    store.append('t', batchOf(rows), null);
    assert.equal(store.rowCount, 100);
    assert.equal(store.limited, 200);
    const later = again();
    later.append('t', batchOf(rows.slice(100, 150)), null);
    assert.equal(later.rowCount, 150);
  });
  const policy = { kept: 0, oneIn: 1, perSecond: 0 };
  withStore(policy, store => {
    store.append('t', batchOf(rows), null);
    policy.kept = 50;
    store.append('t', batchOf([[0, START + 1000]]), null);
    assert.equal(store.rowCount, 50);
    assert.deepEqual(times(store, 0).at(-1), START + 1000);
    policy.kept = 200;
    store.append('t', batchOf(rows.map(([s, t]): [number, number] => [s, t + 5000])), null);
    assert.equal(store.rowCount, 200);
  });
});

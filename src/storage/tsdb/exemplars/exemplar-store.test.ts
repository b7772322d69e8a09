import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StorageFullError } from '../../../contracts/sample-sink.ts';
import { BatchBuilder } from '../../../ingest/batch-builder.ts';
import { IdentityHasher } from '../../../lib/identity-hash.ts';
import type { Labels } from '../../../model/labels.ts';
import type { Matcher } from '../../../model/matcher.ts';
import type { SampleBatch } from '../../../model/sample-batch.ts';
import { compileMatchers } from '../matchers.ts';
import { nodeFiles } from '../wal/files.ts';
import { ExemplarStore } from './exemplar-store.ts';

const hasher = new IdentityHasher(new Uint8Array(16).fill(8));
const T = 1_700_000_000_000;

interface Row {
  labels: Labels;
  time: number;
  value: number;
  exemplar: string[];
}

const row = (name: string, time: number, value = 1, trace = `t${time}`, job = 'a'): Row => ({
  labels: ['__name__', name, 'job', job],
  time,
  value,
  exemplar: ['trace_id', trace],
});

function batchOf(tenant: string, rows: readonly Row[]): SampleBatch {
  const builder = new BatchBuilder(hasher, hasher.tenantSeed(tenant));
  builder.reset();
  for (const r of rows) {
    builder.addSeries(r.labels);
    builder.addExemplar(r.time, r.value, r.exemplar);
  }
  return builder.finish();
}

const is = (name: string, value: string): Matcher => ({ name, op: '=', value });

function query(
  store: ExemplarStore,
  tenant: string,
  matchers: Matcher[] = [],
  minT = 0,
  maxT = 2 * T,
  limit = 0,
): string[] {
  const out: string[] = [];
  for (const s of store.query(tenant, [compileMatchers(matchers)], minT, maxT, limit)) {
    for (const e of s.exemplars)
      out.push(`${s.labels.join(' ')} ${e.timestampMs - T} ${e.value} ${e.labels.join('=')}`);
  }
  return out.sort();
}

function withDir(run: (dir: string) => void): void {
  const dir = fs.mkdtempSync(join(tmpdir(), 'sightline-exemplars-'));
  try {
    run(dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

test('exemplars are found by matcher and time, by tenant, also after a restart', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir);
    const rows = [row('m', T + 5), row('m', T + 3, Number.POSITIVE_INFINITY), row('n', T + 4, -0.5, 'é漢', 'b')];
    assert.equal(store.append('x', batchOf('x', rows), null), 3);
    assert.equal(store.append('y', batchOf('y', [row('m', T)]), null), 1);
    for (const s of [store, new ExemplarStore(dir)]) {
      assert.deepEqual(query(s, 'x', [is('__name__', 'm')]), [
        '__name__ m job a 3 Infinity trace_id=t1700000000003',
        '__name__ m job a 5 1 trace_id=t1700000000005',
      ]);
      assert.deepEqual(query(s, 'x', [{ name: 'job', op: '=~', value: 'b|c' }]), [
        '__name__ n job b 4 -0.5 trace_id=é漢',
      ]);
      assert.equal(query(s, 'x', [], T + 4, T + 4).length, 1);
      assert.equal(query(s, 'x', [], 0, 2 * T, 2).length, 2);
      assert.equal(query(s, 'y').length, 1);
      assert.equal(query(s, 'z').length, 0);
      assert.equal(s.query('x', [], 0, 2 * T, 0).length, 2);
      const times = s.query('x', [compileMatchers([is('__name__', 'm')])], 0, 2 * T, 0)[0]?.exemplars;
      assert.deepEqual(
        times?.map(e => e.timestampMs - T),
        [3, 5],
      );
      assert.deepEqual(s.damage, []);
      s.close();
    }
  });
});

test('only chosen series are stored, equal exemplars once', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir);
    const batch = batchOf('x', [row('a', T), row('b', T), row('c', T), row('b', T)]);
    assert.equal(store.append('x', batch, Uint32Array.of(1, 2, 3)), 3);
    assert.equal(store.rowCount, 2);
    assert.equal(store.append('x', batch, null), 4);
    assert.equal(store.rowCount, 3);
    // Another value, time or label is another exemplar.
    store.append('x', batchOf('x', [row('b', T, 2), row('b', T + 1), row('b', T, 1, 'other')]), null);
    assert.equal(store.rowCount, 6);
    store.close();
    const again = new ExemplarStore(dir);
    assert.equal(again.append('x', batch, null), 4);
    assert.equal(again.rowCount, 6);
    // Over the bounds: not stored, not counted.
    const huge = batchOf('x', [row('b', T, 1, 'x'.repeat(5000))]);
    assert.equal(again.append('x', huge, null), 0);
    again.close();
  });
});

test('old exemplars and their segments go', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir, { segmentBytes: 2000 });
    for (let i = 0; i < 200; i++) store.append('x', batchOf('x', [row(`m${i % 5}`, T + i)]), null);
    const files = (): number => fs.readdirSync(dir).length;
    const before = files();
    assert.ok(before > 5, `${before} segments`);
    store.expire(T + 150);
    assert.ok(files() < before / 2, `${files()} of ${before}`);
    assert.equal(query(store, 'x').length, 50);
    store.expire(T + 1000);
    assert.equal(query(store, 'x').length, 0);
    assert.ok(files() <= 1);
    store.append('x', batchOf('x', [row('m0', T + 2000)]), null);
    assert.equal(query(store, 'x').length, 1);
    store.close();
    // Rows that share a segment with younger ones come back with a restart, until they are expired again.
    const again = new ExemplarStore(dir);
    again.expire(T + 1000);
    assert.equal(query(again, 'x').length, 1);
    again.close();
  });
});

test('limits: the oldest of a tenant, and of the largest tenant, give way', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir, { perTenant: 100, total: 150, segmentBytes: 4000 });
    for (let i = 0; i < 300; i++) store.append('big', batchOf('big', [row(`m${i}`, T + i)]), null);
    assert.equal(store.rowCount, 100);
    assert.deepEqual(query(store, 'big', [is('__name__', 'm299')]).length, 1);
    assert.deepEqual(query(store, 'big', [is('__name__', 'm199')]).length, 0);
    for (let i = 0; i < 90; i++) store.append('small', batchOf('small', [row('s', T + i)]), null);
    assert.ok(store.rowCount <= 150, `${store.rowCount}`);
    assert.equal(query(store, 'small', [], T + 80, T + 89).length, 10);
    store.close();
    assert.ok(new ExemplarStore(dir, { perTenant: 100, total: 150 }).rowCount <= 200);
  });
});

test('torn tails and damage cost themselves only', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir);
    for (let i = 0; i < 6; i++) store.append('x', batchOf('x', [row('m', T + i), row(`n${i}`, T + i)]), null);
    store.close();
    const path = join(dir, '00000001.exemplars');
    const whole = fs.readFileSync(path);
    for (let cut = 0; cut < whole.length; cut += 7) {
      const copy = fs.mkdtempSync(join(dir, 'cut-'));
      fs.writeFileSync(join(copy, '00000001.exemplars'), whole.subarray(0, cut));
      const torn = new ExemplarStore(copy);
      const rows = query(torn, 'x').length;
      assert.ok(rows <= 12 && rows >= Math.floor(((cut - 400) / whole.length) * 12), `${rows} rows at ${cut}`);
      assert.equal(torn.append('x', batchOf('x', [row('later', T + 100)]), null), 1);
      torn.close();
      const again = new ExemplarStore(copy);
      assert.equal(query(again, 'x', [is('__name__', 'later')]).length, 1, `cut at ${cut}`);
      assert.equal(query(again, 'x').length, rows + 1);
      again.close();
    }
    // Any flipped byte (seed 9): the store opens and every row it gives is one that was stored.
    const stored = new Set(query(new ExemplarStore(dir), 'x'));
    assert.equal(stored.size, 12);
    let a = 9;
    for (let i = 0; i < 300; i++) {
      a = (Math.imul(a, 1664525) + 1013904223) >>> 0;
      const damaged = Buffer.from(whole);
      damaged[a % damaged.length] = (damaged[a % damaged.length] as number) ^ (1 << (a >>> 29));
      const copy = fs.mkdtempSync(join(dir, 'flip-'));
      fs.writeFileSync(join(copy, '00000001.exemplars'), damaged);
      const s = new ExemplarStore(copy);
      const rows = query(s, 'x');
      for (const r of rows) assert.ok(stored.has(r), r);
      s.close();
      // A byte of padding costs nothing; one of a frame that frame, and what leans on a series defined there.
      assert.ok(rows.length >= 10 || s.damage.length > 0, `${rows.length} rows`);
      fs.rmSync(copy, { recursive: true });
    }
  });
});

test('a row that the disk no longer holds as written is left out of answers', () => {
  withDir(dir => {
    const store = new ExemplarStore(dir);
    store.append('x', batchOf('x', [row('m', T, 1, 'first-trace'), row('m', T + 1, 1, 'second-trace')]), null);
    const path = join(dir, '00000001.exemplars');
    const bytes = fs.readFileSync(path);
    fs.writeFileSync(path, Buffer.from(bytes.toString('latin1').replace('first-trace', 'wrong-trace'), 'latin1'));
    assert.deepEqual(query(store, 'x'), ['__name__ m job a 1 1 trace_id=second-trace']);
    store.close();
  });
});

test('a full disk refuses; what was refused is stored once the disk has room', () => {
  withDir(dir => {
    let full = false;
    const files = {
      ...nodeFiles,
      write: (...args: Parameters<typeof nodeFiles.write>): number => {
        if (full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        return nodeFiles.write(...args);
      },
    };
    const store = new ExemplarStore(dir, {}, files);
    full = true;
    assert.throws(() => store.append('x', batchOf('x', [row('m', T)]), null), StorageFullError);
    full = false;
    assert.equal(store.append('x', batchOf('x', [row('m', T)]), null), 1);
    full = true;
    assert.throws(() => store.append('x', batchOf('x', [row('m', T + 1)]), null), StorageFullError);
    assert.throws(() => store.append('x', batchOf('x', [row('m', T + 1)]), null), StorageFullError);
    full = false;
    assert.equal(store.append('x', batchOf('x', [row('m', T + 1)]), null), 1);
    assert.equal(query(store, 'x').length, 2);
    store.close();
    assert.equal(query(new ExemplarStore(dir), 'x').length, 2);
  });
});

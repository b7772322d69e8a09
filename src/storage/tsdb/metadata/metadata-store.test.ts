import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StorageFullError } from '../../../contracts/sample-sink.ts';
import type { MetadataEntry } from '../../../model/sample-batch.ts';
import { nodeFiles } from '../wal/files.ts';
import { MetadataStore } from './metadata-store.ts';

const entry = (metric: string, help = 'Help.', type = 'counter', unit = ''): MetadataEntry => ({
  metric,
  type,
  help,
  unit,
});

function withDir(run: (dir: string) => void): void {
  const dir = fs.mkdtempSync(join(tmpdir(), 'sightline-metadata-'));
  try {
    run(dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

test('metadata comes back after a restart, by tenant, latest variant first', () => {
  withDir(dir => {
    const store = new MetadataStore(dir);
    store.put('a', [entry('m1'), entry('m2', 'Zwei\n"quoted" é', 'gauge', 'seconds')]);
    store.put('b', [entry('m1', 'of b')]);
    store.put('a', [entry('m1', 'newer')]);
    for (const again of [store, new MetadataStore(dir)]) {
      assert.deepEqual(again.list('a', null, 0), [
        entry('m1', 'newer'),
        entry('m1'),
        entry('m2', 'Zwei\n"quoted" é', 'gauge', 'seconds'),
      ]);
      assert.deepEqual(again.list('b', 'm1', 0), [entry('m1', 'of b')]);
      assert.deepEqual(again.list('a', null, 1).length, 2);
      assert.deepEqual(again.list('c', null, 0), []);
      assert.deepEqual(again.damage, []);
      again.close();
    }
  });
});

test('a tenant’s own number of metrics holds after a restart too', () => {
  withDir(dir => {
    const open = (): MetadataStore =>
      new MetadataStore(dir, { metricsPerTenant: 2 }, nodeFiles, tenant => (tenant === 'a' ? 5 : 0));
    const store = open();
    for (const tenant of ['a', 'b']) for (let i = 0; i < 7; i++) store.put(tenant, [entry(`m${i}`)]);
    for (const s of [store, open()]) {
      assert.equal(s.list('a', null, 0).length, 5);
      assert.equal(s.list('b', null, 0).length, 2);
      s.close();
    }
  });
});

test('what is known is not written again', () => {
  withDir(dir => {
    const store = new MetadataStore(dir);
    const size = (): number => fs.statSync(join(dir, 'metadata.log')).size;
    store.put('a', [entry('m'), entry('m', 'other'), entry('m', 'third')]);
    const before = size();
    for (let i = 0; i < 10; i++) store.put('a', [entry('m', 'other'), entry('m'), entry('m', 'third')]);
    assert.equal(size(), before);
    store.close();
  });
});

test('the log is written anew when it has grown', () => {
  withDir(dir => {
    const store = new MetadataStore(dir, { compactBytes: 20_000 });
    for (let i = 0; i < 2000; i++) store.put('a', [entry(`m${i % 7}`, `help ${i} ${'x'.repeat(50)}`)]);
    const size = fs.statSync(join(dir, 'metadata.log')).size;
    assert.ok(size < 40_000, `${size} bytes`);
    const expected = store.list('a', null, 0);
    assert.equal(expected.length, 21);
    store.close();
    const again = new MetadataStore(dir);
    assert.deepEqual(again.list('a', null, 0), expected);
    again.put('a', [entry('after')]);
    again.close();
    assert.equal(new MetadataStore(dir).list('a', 'after', 0).length, 1);
  });
});

test('bounds: metrics a tenant, metrics in all, lengths', () => {
  withDir(dir => {
    const store = new MetadataStore(dir, { metricsPerTenant: 3, metrics: 5 });
    for (const tenant of ['a', 'b', 'c']) {
      store.put(
        tenant,
        ['1', '2', '3', '4'].map(n => entry(`m${n}`)),
      );
    }
    assert.deepEqual(
      ['a', 'b', 'c'].map(t => store.list(t, null, 0).length),
      [3, 2, 0],
    );
    assert.equal(store.dropped, 7);
    store.put('a', [entry('m1', 'y'.repeat(10_000)), entry('z'.repeat(2000)), entry('')]);
    assert.equal(store.list('a', 'm1', 0)[0]?.help.length, 1024);
    store.close();
  });
});

test('a torn tail and damage inside cost themselves only', () => {
  withDir(dir => {
    const path = join(dir, 'metadata.log');
    let store = new MetadataStore(dir);
    const ends: number[] = [];
    for (let i = 0; i < 5; i++) {
      store.put('a', [entry(`m${i}`)]);
      ends.push(fs.statSync(path).size);
    }
    store.close();
    const whole = fs.readFileSync(path);
    for (let cut = 16; cut < whole.length; cut += 5) {
      fs.writeFileSync(path, whole.subarray(0, cut));
      store = new MetadataStore(dir);
      const complete = ends.filter(e => e <= cut).length;
      const got = store.list('a', null, 0).length;
      // A frame whose padding alone is cut off is whole.
      assert.ok(got === complete || got === complete + 1, `${got} of ${complete} at ${cut}`);
      store.put('a', [entry('later')]);
      store.close();
      assert.equal(new MetadataStore(dir).list('a', 'later', 0).length, 1, `cut at ${cut}`);
    }
    const damaged = Buffer.from(whole);
    damaged[(ends[1] as number) + 20] = 0xff;
    fs.writeFileSync(path, damaged);
    store = new MetadataStore(dir);
    assert.equal(store.list('a', null, 0).length, 4);
    assert.equal(store.damage.length, 1);
    store.close();
    fs.writeFileSync(path, 'something else altogether');
    store = new MetadataStore(dir);
    assert.deepEqual(store.list('a', null, 0), []);
    assert.match(store.damage[0] ?? '', /set aside/);
    store.close();
  });
});

test('a full disk refuses, and pays its debt when it recovers', () => {
  withDir(dir => {
    let full = false;
    const files = {
      ...nodeFiles,
      write: (...args: Parameters<typeof nodeFiles.write>): number => {
        if (full) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        return nodeFiles.write(...args);
      },
    };
    const store = new MetadataStore(dir, {}, files);
    full = true;
    assert.throws(() => store.put('a', [entry('m')]), StorageFullError);
    assert.throws(() => store.put('a', [entry('m')]), StorageFullError);
    full = false;
    store.put('a', [entry('m')]);
    store.close();
    assert.deepEqual(new MetadataStore(dir).list('a', null, 0), [entry('m')]);
  });
});

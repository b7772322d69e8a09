import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { newSampleBuffer } from '../../contracts/sample-source.ts';
import { getLabel, type Labels } from '../../model/labels.ts';
import { BlockCaches } from './block/cache.ts';
import { BlockStore } from './block-store.ts';
import { type FlushOptions, flushHead } from './flush.ts';
import { batchOf, clear, heldOf, histogramOf, labels, Model, type Row, temporaryDir } from './head/fixture.ts';
import { Head } from './head/head.ts';
import { compileMatcher } from './matchers.ts';
import type { Part } from './part.ts';
import { DAY_MS, HOUR_MS } from './plan.ts';

const NOW = 20_000 * DAY_MS;
const TENANTS = ['default', 'acme'];
const OPTIONS: FlushOptions = { nowMs: NOW, dedupMs: 0, groupOf: () => 0, rawKeepMs: () => Number.POSITIVE_INFINITY };

interface Subject {
  dir: string;
  head: Head;
  blocks: BlockStore;
  model: Model;
}

function series(i: number): Labels {
  return labels({ __name__: `m${i % 3}`, job: `j${i % 2}`, n: String(i) });
}

/** Ten days of 20 series, two of them histograms, scrape by scrape; some samples late, some deleted. */
function loaded(): Subject {
  const dir = temporaryDir();
  // A page holds about ten chunks, the arena about a hundred.
  const head = new Head({ dir: join(dir, 'head'), pageBytes: 1000, chunkCacheBytes: 4000, flushArenaBytes: 6000 });
  const model = new Model();
  const add = (tenant: string, rows: Row[]): void => {
    head.append(tenant, batchOf(tenant, rows));
    for (const row of rows) model.add(tenant, row);
  };
  for (let t = NOW - 10 * DAY_MS; t < NOW; t += HOUR_MS / 2) {
    for (const tenant of TENANTS) {
      const rows: Row[] = [];
      for (let i = 0; i < 20; i++) {
        // Every series begins on its own day.
        if (t < NOW - 10 * DAY_MS + (i % 9) * DAY_MS) continue;
        const at = t + i * 1000;
        if (i >= 18) rows.push({ labels: series(i), t: at, histogram: histogramOf(Math.floor(t / HOUR_MS) % 100) });
        else rows.push({ labels: series(i), t: at, value: (t / HOUR_MS) * i });
      }
      add(tenant, rows);
    }
  }
  for (let k = 0; k < 60; k++) {
    const at = NOW - 10 * DAY_MS + k * 4 * HOUR_MS + 7;
    add('default', [
      { labels: series(k % 5), t: at, value: -k },
      { labels: series(1), t: NOW - 10 * DAY_MS + DAY_MS + 1000, value: k },
    ]);
  }
  head.deleteSamples('acme', [compileMatcher({ name: 'job', op: '=', value: 'j1' })], NOW - 3 * DAY_MS, NOW - DAY_MS);
  model.delete('acme', own => getLabel(own, 'job') === 'j1', NOW - 3 * DAY_MS, NOW - DAY_MS);
  return { dir, head, blocks: newBlocks(dir), model };
}

function newBlocks(dir: string): BlockStore {
  return new BlockStore(dir, new BlockCaches({ indexBytesMax: 1e6, dataBytesMax: 1e6 }));
}

/** All that the parts hold; a sample that two of them hold is an error. */
function contents(parts: readonly Part[], tenant: string): [string, string[]][] {
  const all = new Model();
  const buffer = newSampleBuffer();
  for (const part of parts) {
    const set = part.select(tenant, [], 0, Number.MAX_SAFE_INTEGER);
    for (let i = 0; i < set.count; i++) {
      clear(buffer);
      set.read(i, 0, Number.MAX_SAFE_INTEGER, buffer);
      const own = set.labels(i);
      for (const held of heldOf(buffer)) {
        assert.equal(all.series(tenant, own).has(held.t), false, `${held.t} is there twice`);
        all.put(tenant, own, held);
      }
    }
    set.close();
  }
  return sorted(all.texts(tenant));
}

function sorted(texts: Map<string, string[]>): [string, string[]][] {
  return [...texts].sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

function dispose({ dir, head, blocks }: Subject): void {
  head.abandon();
  blocks.close();
  rmSync(dir, { recursive: true });
}

test('a backfill of days goes into disjoint blocks that hold each sample once; the head keeps the rest', async () => {
  const subject = loaded();
  const { head, blocks, model } = subject;
  const upTo = NOW - HOUR_MS;
  const done = await flushHead(head, blocks, upTo, OPTIONS);
  assert.equal(done.blocks, blocks.all().length);
  let samples = 0;
  for (const tenant of TENANTS) {
    const parts = [...blocks.of(tenant)].sort((a, b) => a.minT - b.minT);
    parts.forEach((b, i) => {
      assert.ok(i === 0 || b.minT > (parts[i - 1] as { maxT: number }).maxT);
    });
    assert.ok(
      parts.some(b => b.maxT - b.minT > 2 * DAY_MS),
      'old windows are joined',
    );
    assert.ok((parts.at(-1) as { maxT: number }).maxT <= upTo);
    assert.deepEqual(contents([...parts, head], tenant), sorted(model.texts(tenant)));
    assert.deepEqual(contents(parts, tenant), sorted(model.texts(tenant, 0, upTo)));
    for (const texts of model.texts(tenant, 0, upTo).values()) samples += texts.length;
  }
  assert.equal(done.samples, samples);
  // What comes late after that is flushed next, into blocks of its own.
  const late: Row[] = [{ labels: series(4), t: NOW - 5 * DAY_MS + 77, value: 1 }];
  head.append('acme', batchOf('acme', late));
  for (const row of late) model.add('acme', row);
  assert.deepEqual(await flushHead(head, blocks, upTo, OPTIONS).then(r => [r.blocks, r.samples]), [1, 1]);
  assert.deepEqual(contents([...blocks.of('acme'), head], 'acme'), sorted(model.texts('acme')));
  dispose(subject);
});

test('each group of series gets blocks of its own', async () => {
  const subject = loaded();
  const { head, blocks, model } = subject;
  const groupOf = (_tenant: string, own: Labels): number => (getLabel(own, 'job') === 'j0' ? 0 : 1);
  await flushHead(head, blocks, NOW, { ...OPTIONS, groupOf });
  for (const block of blocks.of('default')) assert.equal(block.labelValues('default', 'job', [], 0, NOW).size, 1);
  assert.deepEqual(contents([...blocks.of('default'), head], 'default'), sorted(model.texts('default')));
  assert.ok(head.maxT < head.minT);
  dispose(subject);
});

test('a flush that fails leaves no file, and everything in the head', async () => {
  const subject = loaded();
  const { head, blocks, dir, model } = subject;
  let left = 150;
  const groupOf = (): number => {
    if (left-- === 0) throw new Error('no more');
    return 0;
  };
  await assert.rejects(flushHead(head, blocks, NOW, { ...OPTIONS, groupOf }), /no more/);
  assert.deepEqual(
    readdirSync(join(dir, 'blocks'), { recursive: true }).filter(name => /block/.test(String(name))),
    [],
  );
  for (const tenant of TENANTS) assert.deepEqual(contents([head], tenant), sorted(model.texts(tenant)));
  await flushHead(head, blocks, NOW, OPTIONS);
  for (const tenant of TENANTS) assert.deepEqual(contents(blocks.of(tenant), tenant), sorted(model.texts(tenant)));
  dispose(subject);
});

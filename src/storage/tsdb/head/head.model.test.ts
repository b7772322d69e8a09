/**
 * Model test of the head: random operations, with reopening as after kill -9 in between, against a Map. What the head has
 * flushed is kept in a second model, as blocks would, and both together must hold what the model holds.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import type { Labels } from '../../../model/labels.ts';
import { getLabel } from '../../../model/labels.ts';
import { compileMatcher } from '../matchers.ts';
import { batchOf, clear, heldOf, histogramOf, labels, Model, type Row, readAll, temporaryDir } from './fixture.ts';
import { Head } from './head.ts';
import { WINDOW_MS } from './store.ts';

const TENANTS = ['default', 'acme', 'b'];
const SERIES: Labels[] = [];
for (let i = 0; i < 12; i++) {
  SERIES.push(
    labels({ __name__: `m${i % 3}`, job: `j${i % 2}`, n: String(i), ...(i % 4 === 0 ? { extra: 'ü' } : {}) }),
  );
}
SERIES.push(labels({}), labels({ only: 'x' }));

/** Values that are hard on codecs: payloads, -0, infinities, the marker. */
const BITS = [
  0x7ff0000000000002n,
  0x7ff8000000000001n,
  0xfff8000000abcdefn,
  0x8000000000000000n,
  0x7ff0000000000000n,
  1n,
];

type Op =
  | { kind: 'append'; tenant: number; rows: { s: number; t: number; v: number; start: number }[] }
  | { kind: 'burst'; tenant: number; s: number; t: number; n: number; step: number; v: number }
  | { kind: 'histograms'; tenant: number; s: number; t: number; n: number; step: number; v: number }
  | { kind: 'delete'; tenant: number; job: number; t: number; span: number }
  | { kind: 'flush'; t: number; abort: boolean; between: boolean }
  | { kind: 'gc'; t: number }
  | { kind: 'reopen'; clean: boolean }
  | { kind: 'again'; delete: boolean }
  | { kind: 'maintain' };

const tenant = fc.integer({ min: 0, max: TENANTS.length - 1 });
const s = fc.integer({ min: 0, max: SERIES.length - 1 });
const t = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 0, max: 3000 }) }, fc.constantFrom(0, 5e12, 2 ** 52));
const v = fc.integer({ min: 0, max: 12 });
const start = fc.constantFrom(0, 0, 0, 1, 7);
const n = fc.integer({ min: 1, max: 60 });
const step = fc.constantFrom(1, 15, 1000, 3_600_000, 2 ** 33);
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      tenant,
      rows: fc.array(fc.record({ s, t, v, start }), { maxLength: 20, size: 'max' }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('burst' as const), tenant, s, t, n, step, v }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('histograms' as const), tenant, s, t, n, step, v }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      tenant,
      job: fc.integer({ min: 0, max: 2 }),
      t,
      span: fc.constantFrom(0, 100, 1e15),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('flush' as const), t, abort: fc.boolean(), between: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('gc' as const), t }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('reopen' as const), clean: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('again' as const), delete: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'maintain' as const }) },
);

class Subject {
  readonly dir = temporaryDir();
  readonly model = new Model();
  /** What has been flushed, as blocks. */
  readonly blocks = new Model();
  /** Few series keep old WAL segments free of stragglers; then only unwritten pages hold them back. */
  private readonly few: boolean;
  private readonly walBytesMax: number;
  private last: { tenant: number; rows: Row[] } = { tenant: 0, rows: [] };
  head: Head;

  constructor(few: boolean, walBytesMax: number) {
    this.few = few;
    this.walBytesMax = walBytesMax;
    this.head = this.open();
  }

  private open(): Head {
    return new Head({
      dir: this.dir,
      // Small, so that every boundary is crossed often.
      pageBytes: 1000,
      chunkFileBytesMax: 4000,
      chunkCacheBytes: 2000,
      flushArenaBytes: 300,
      segmentBytesMax: 600,
      walBytesMax: this.walBytesMax,
      oooRowsMax: 1e6,
      rewriteDeadMin: 1,
      rewriteSliceRows: 2,
    });
  }

  async apply(o: Op): Promise<void> {
    switch (o.kind) {
      case 'append': {
        const rows = o.rows.map(r => rowOf(this.series(r.s), r.t, r.v, r.start));
        this.append(this.few ? 0 : o.tenant, rows);
        return;
      }
      case 'burst':
      case 'histograms': {
        const rows: Row[] = [];
        for (let i = 0; i < o.n; i++) {
          const at = o.t + i * o.step;
          if (at > Number.MAX_SAFE_INTEGER) break;
          const base = rowOf(this.series(o.s), at, (o.v + i) % 13, 0);
          rows.push(
            o.kind === 'burst' ? base : { labels: base.labels, t: at, histogram: histogramOf(o.v + i, o.v % 2 === 0) },
          );
        }
        this.append(this.few ? 0 : o.tenant, rows);
        return;
      }
      case 'delete': {
        this.delete(o.tenant, o.job, o.t, o.t + o.span);
        return;
      }
      case 'flush':
        await this.flush(o.t, o.abort, o.between);
        return;
      case 'gc':
        this.head.gcSeries(o.t);
        return;
      case 'reopen':
        if (o.clean) await this.head.close();
        else this.head.abandon();
        this.head = this.open();
        assert.deepEqual(this.head.report.damage, []);
        return;
      case 'again':
        if (o.delete) this.delete(this.last.tenant, 0, 0, Infinity);
        this.append(this.last.tenant, this.last.rows);
        return;
      case 'maintain':
        await this.head.maintain();
        assert.equal(this.head.stats().syncErrors, 0);
        return;
    }
  }

  private series(i: number): Labels {
    return SERIES[this.few ? i % 2 : i] as Labels;
  }

  private delete(tenantIndex: number, job: number, minT: number, maxT: number): void {
    const name = TENANTS[tenantIndex] as string;
    const value = `j${job}`;
    this.head.deleteSamples(name, [compileMatcher({ name: 'job', op: '=', value })], minT, maxT);
    for (const m of [this.model, this.blocks]) m.delete(name, l => getLabel(l, 'job') === value, minT, maxT);
  }

  private append(tenantIndex: number, rows: Row[]): void {
    this.last = { tenant: tenantIndex, rows };
    const name = TENANTS[tenantIndex] as string;
    const counts = this.head.append(name, batchOf(name, rows));
    assert.equal(counts.samples + counts.histograms, rows.length);
    for (const row of rows) this.model.add(name, row);
  }

  private async flush(maxT: number, abort: boolean, between: boolean): Promise<void> {
    const flush = this.head.beginFlush(maxT);
    const slice = new TimeSlice();
    const buffer = newSampleBuffer();
    const read = new Model();
    // As small blocks, or as few large ones.
    const size = maxT % 2 === 0 ? WINDOW_MS : 50 * WINDOW_MS;
    const tenants = await flush.tenants(slice);
    const cuts = tenants.map(({ tenant: name, windows }) => ({ tenant: name, windows: windowsOf(windows, size) }));
    let pending = between;
    let last = '';
    let block = '';
    for await (const part of flush.slices(cuts, slice)) {
      if (block !== `${part.tenant} ${part.minT}`) last = '';
      block = `${part.tenant} ${part.minT}`;
      for (let i = 0; i < part.count; i++) {
        const own = part.labels(i);
        assert.ok(getLabel(own, '__name__') >= last, 'block order');
        last = getLabel(own, '__name__');
        clear(buffer);
        part.read(i, buffer);
        for (const held of heldOf(buffer)) read.put(part.tenant, own, held);
      }
      // What comes while blocks are written is none of theirs, but may push samples out of tails that are.
      if (pending) this.appendBetween(maxT);
      pending = false;
    }
    if (pending) this.appendBetween(maxT);
    if (abort) return;
    for (const [name, series] of read.tenants) {
      for (const { labels: own, samples } of series.values()) {
        for (const held of samples.values()) this.blocks.put(name, own, held);
      }
    }
    this.head.commitFlush(flush);
  }

  private appendBetween(maxT: number): void {
    const { tenant: tenantIndex, rows } = this.last;
    const newer: Row[] = [];
    for (const own of new Set(rows.map(r => r.labels))) {
      const from = Math.max(maxT, ...rows.filter(r => r.labels === own).map(r => r.t));
      for (let k = 1; k <= 20 && from < 2 ** 51; k++) newer.push(rowOf(own, from + k, k % 13, 0));
    }
    this.append(tenantIndex, newer);
    this.append(
      tenantIndex,
      rows.map(r => ({ ...r, t: Math.max(0, r.t - 1) })),
    );
  }

  check(): void {
    for (const name of TENANTS) {
      for (const [minT, maxT] of [
        [0, Infinity],
        [100, 2000],
      ] as const) {
        const set = this.head.select(name, [], minT, maxT);
        const all = new Model();
        const buffer = newSampleBuffer(3);
        for (let i = 0; i < set.count; i++) {
          clear(buffer);
          set.read(i, minT, maxT, buffer);
          for (const held of heldOf(buffer)) all.put(name, set.labels(i), held);
        }
        set.close();
        for (const { labels: own, samples } of this.blocks.tenants.get(name)?.values() ?? []) {
          for (const held of samples.values()) if (held.t >= minT && held.t <= maxT) all.put(name, own, held);
        }
        assert.deepEqual(sorted(all.texts(name)), sorted(this.model.texts(name, minT, maxT)));
      }
    }
  }

  dispose(): void {
    this.head.abandon();
    fs.rmSync(this.dir, { recursive: true });
  }
}

function windowsOf(starts: readonly number[], size: number): { start: number; end: number }[] {
  const windows = new Set(starts.map(t => Math.floor(t / size) * size));
  return [...windows].map(start => ({ start, end: start + size - 1 }));
}

function sorted(map: Map<string, string[]>): [string, string[]][] {
  return [...map].sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

function rowOf(own: Labels, at: number, value: number, from: number): Row {
  const bits = BITS[value - 7];
  return bits === undefined ? { labels: own, t: at, value, start: from } : { labels: own, t: at, bits, start: from };
}

test('random operations and restarts leave what a Map holds', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(op, { minLength: 1, maxLength: 80, size: 'max' }),
      fc.boolean(),
      fc.constantFrom(5000, 1e9),
      async (ops, few, walBytesMax) => {
        const subject = new Subject(few, walBytesMax);
        try {
          for (const o of ops) await subject.apply(o);
          subject.check();
          await subject.apply({ kind: 'reopen', clean: false });
          subject.check();
        } finally {
          subject.dispose();
        }
      },
    ),
    { seed: Number(process.env.HEAD_MODEL_SEED ?? 20261122), numRuns: Number(process.env.HEAD_MODEL_RUNS ?? 100) },
  );
});

test('readAll sees what was appended', () => {
  const dir = temporaryDir();
  const head = new Head({ dir });
  const own = labels({ __name__: 'up', job: 'a' });
  head.append('default', batchOf('default', [{ labels: own, t: 5, value: 1 }]));
  const set = head.select('default', [], 0, 10);
  assert.deepEqual([...readAll(set).values()], [['5:3ff0000000000000:0']]);
  set.close();
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

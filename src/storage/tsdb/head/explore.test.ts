/** The explorer's walks over a head, against counting by hand; and series that come and go, as the gate is told. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { SeriesGate, SeriesRefusal } from '../../../contracts/series-gate.ts';
import { decodeLabels, getLabel } from '../../../model/labels.ts';
import { batchOf, labels, type Row, temporaryDir } from './fixture.ts';
import { Head } from './head.ts';

const tiny = { pageBytes: 1000, segmentBytesMax: 1000, chunkFileBytesMax: 2000, rewriteDeadMin: 1 };
const scope = { metric: '', label: '', limit: 10 };

function row(record: Record<string, string>, t = 1000): Row {
  return { labels: labels(record), t, value: 1 };
}

/** Counts by tenant and metric; refuses what it is told to. */
class CountingGate implements SeriesGate {
  epoch = 0;
  asked = 0;
  refuse: (metric: string) => SeriesRefusal | null = () => null;
  readonly counts = new Map<string, number>();
  private key = '';

  admit(tenant: string, bytes: Uint8Array, start: number, end: number): SeriesRefusal | null {
    this.asked++;
    const metric = getLabel(decodeLabels(bytes, start, end), '__name__');
    this.key = `${tenant}/${metric}`;
    const refusal = this.refuse(metric);
    if (refusal === null) this.add(this.key, 1);
    return refusal;
  }

  withdraw(): void {
    this.add(this.key, -1);
  }

  explain(): string {
    return `no ${this.key}`;
  }

  found(tenant: string, metric: string, series: number): void {
    this.add(`${tenant}/${metric}`, series);
  }

  gone(tenant: string, metric: string): void {
    this.add(`${tenant}/${metric}`, -1);
  }

  list(): Record<string, number> {
    return Object.fromEntries([...this.counts].filter(([, n]) => n !== 0).sort());
  }

  private add(key: string, n: number): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + n);
  }
}

test('what series come from: metrics, labels, values, targets, of all and of one metric or label', async () => {
  const dir = temporaryDir();
  const head = new Head({ dir });
  const rows: Row[] = [];
  for (let i = 0; i < 300; i++) {
    rows.push(row({ __name__: 'big', job: 'a', instance: `h${i % 3}`, path: `/${i}` }));
    if (i < 100) rows.push(row({ __name__: 'small', job: 'b', instance: 'h0', path: `/${i % 7}`, code: '200' }));
  }
  head.append('t', batchOf('t', rows));
  head.append('other', batchOf('other', [row({ __name__: 'big', path: 'x' })]));
  const all = await head.explore('t', scope);
  assert.equal(all.series, 307);
  assert.deepEqual(all.metrics, [
    { name: 'big', series: 300 },
    { name: 'small', series: 7 },
  ]);
  assert.deepEqual(
    all.labels.map(l => [l.name, l.values, l.series, l.sketch.length]),
    [
      ['path', 300, 307, 300],
      ['instance', 3, 307, 3],
      ['__name__', 2, 307, 2],
      ['job', 2, 307, 2],
      ['code', 1, 7, 1],
    ],
  );
  assert.deepEqual(all.pairs[0], { label: 'job', value: 'a', series: 300 });
  assert.deepEqual(
    all.targets.sort((x, y) => (`${x.job}${x.instance}` < `${y.job}${y.instance}` ? -1 : 1)),
    [
      { job: 'a', instance: 'h0', series: 100 },
      { job: 'a', instance: 'h1', series: 100 },
      { job: 'a', instance: 'h2', series: 100 },
      { job: 'b', instance: 'h0', series: 7 },
    ],
  );
  const small = await head.explore('t', { ...scope, metric: 'small' });
  assert.equal(small.series, 7);
  assert.deepEqual(small.targets, [{ job: 'b', instance: 'h0', series: 7 }]);
  const code = await head.explore('t', { ...scope, label: 'code' });
  assert.equal(code.series, 7);
  assert.deepEqual(code.values, [{ value: '200', series: 7 }]);
  assert.equal((await head.explore('t', { ...scope, metric: 'none' })).series, 0);
  assert.equal((await head.explore('nobody', scope)).series, 0);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('what rules would save: dropped, changed, and what becomes the same', async () => {
  const dir = temporaryDir();
  const head = new Head({ dir });
  const rows: Row[] = [];
  for (let i = 0; i < 1000; i++) rows.push(row({ __name__: `m${i % 4}`, user: String(i), zone: String(i % 10) }));
  head.append('t', batchOf('t', rows));
  const never = (): boolean => false;
  const drop = await head.savings('t', l => l.get('__name__') !== 'm1', never);
  assert.deepEqual(
    [drop.total, drop.looked, drop.dropped, drop.changed, drop.identities.length / 2],
    [1000, 1000, 250, 0, 750],
  );
  assert.deepEqual(drop.metrics, [{ name: 'm1', before: 250, dropped: 250, changed: 0 }]);
  const same = await head.savings('t', l => l.delete('user') || true, never);
  const pairs = new Set<string>();
  for (let i = 0; i < same.identities.length; i += 2) pairs.add(`${same.identities[i]} ${same.identities[i + 1]}`);
  // Four metrics, ten zones, of which each metric has those of its parity.
  assert.deepEqual([same.changed, pairs.size], [1000, 20]);
  let calls = 0;
  const part = await head.savings(
    't',
    () => ++calls > 0,
    () => true,
  );
  assert.equal(part.looked, calls);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('the gate is told of every series, through collection, crash and replay', async () => {
  const dir = temporaryDir();
  let gate = new CountingGate();
  let head = new Head({ dir, ...tiny, gate });
  const some = (metric: string, n: number, t: number): Row[] =>
    Array.from({ length: n }, (_, i) => row({ __name__: metric, i: String(i) }, t));
  head.append('t', batchOf('t', [...some('old', 30, 1000), ...some('new', 20, 9000), row({ nameless: 'x' }, 9000)]));
  head.append('u', batchOf('u', some('old', 5, 1000)));
  const before = { 't/': 1, 't/new': 20, 't/old': 30, 'u/old': 5 };
  assert.deepEqual(gate.list(), before);
  head.commitFlush(head.beginFlush(2000));
  assert.equal(head.gcSeries(5000), 35);
  const after = { 't/': 1, 't/new': 20 };
  assert.deepEqual(gate.list(), after);
  // Killed before the postings were swept.
  head.abandon();
  gate = new CountingGate();
  head = new Head({ dir, ...tiny, gate });
  assert.deepEqual(gate.list(), after);
  for (let i = 0; i < 5; i++) await head.maintain();
  head.append('t', batchOf('t', some('old', 30, 9000)));
  assert.deepEqual(gate.list(), { ...after, 't/old': 30 });
  head.abandon();
  gate = new CountingGate();
  head = new Head({ dir, ...tiny, gate });
  assert.deepEqual(gate.list(), { ...after, 't/old': 30 });
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('a refused series costs no second question until the epoch changes; the rest of the batch is stored', () => {
  const dir = temporaryDir();
  const gate = new CountingGate();
  const head = new Head({ dir, gate });
  gate.refuse = metric => (metric === 'bad' ? 'label_blocked' : null);
  const batch = (t: number) =>
    batchOf('t', [
      ...Array.from({ length: 3000 }, (_, i) => row({ __name__: 'bad', i: String(i) }, t)),
      row({ __name__: 'good' }, t),
    ]);
  for (let round = 0; round < 3; round++) {
    const counts = head.append('t', batch(1000 + round));
    assert.deepEqual(counts.refused, [{ reason: 'label_blocked', count: 3000, example: 'no t/bad' }]);
    assert.equal(counts.samples, 1);
  }
  assert.equal(gate.asked, 3001);
  gate.refuse = () => null;
  assert.equal(head.append('t', batch(2000)).refused?.[0]?.count, 3000, 'still known as refused');
  gate.epoch++;
  const counts = head.append('t', batch(3000));
  assert.deepEqual([counts.refused, counts.samples], [null, 3001]);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

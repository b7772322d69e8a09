/** The outgoing queue: what the tap writes, the reader finds, whatever happens to the file in between. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ForwardPosition, ForwardRows } from '../../../contracts/forward-source.ts';
import { decodeLabels, type Labels } from '../../../model/labels.ts';
import { nodeFiles } from '../wal/files.ts';
import { SampleStage } from '../wal/records.ts';
import { ForwardBounds } from './forward-bounds.ts';
import { ForwardReader } from './forward-reader.ts';
import { ForwardTap } from './forward-tap.ts';
import { forwardPath, listForward } from './segments.ts';

class Fixture {
  readonly dir = mkdtempSync(join(tmpdir(), 'sightline-forward-'));
  readonly names = new Map<number, string>();
  readonly errors: Error[] = [];
  now = 1000;
  tap: ForwardTap;

  private readonly segmentBytesMax: number;

  constructor(t: TestContext, segmentBytesMax = 1 << 20) {
    this.segmentBytesMax = segmentBytesMax;
    t.after(() => rmSync(this.dir, { recursive: true, force: true }));
    this.tap = this.open();
  }

  open(): ForwardTap {
    return new ForwardTap({
      files: nodeFiles,
      dir: this.dir,
      tenant: 'default',
      sync: false,
      labelsOf: ref => ['__name__', this.names.get(ref) ?? `m${ref}`],
      now: () => this.now,
      onError: error => this.errors.push(error),
      segmentBytesMax: this.segmentBytesMax,
      bytesMax: 1 << 30,
    });
  }

  put(ref: number, t: number, value = t): void {
    const stage = new SampleStage(16);
    stage.refs[0] = ref;
    stage.timestamps[0] = t;
    stage.values[0] = value;
    stage.n = 1;
    const out = new Uint8Array(SampleStage.bytesMax(1));
    this.tap.explain(stage.refs, 1);
    this.tap.write(out, stage.encode(out, 0), 1);
  }
}

/** `name@time` of every sample that a reader finds. */
function readAll(reader: ForwardReader, labels = new Map<number, Labels>()): string[] {
  const found: string[] = [];
  const rows: ForwardRows = {
    series: (ref, bytes) => void labels.set(ref, decodeLabels(bytes)),
    samples: s => {
      for (let i = 0; i < s.n; i++) found.push(`${labels.get(s.refs[i] as number)?.[1]}@${s.timestamps[i]}`);
    },
    histogram: () => {},
    exemplar: (series, t, value, own) => void found.push(`${decodeLabels(series)[1]}!${t}=${value}:${own.join()}`),
    metadata: entry => void found.push(`${entry.metric}:${entry.type}`),
  };
  while (reader.next(rows)) {}
  return found;
}

const start: ForwardPosition = { segment: 1, offset: 16 };

test('what is written is read, across segments and restarts; each segment explains its refs', t => {
  const f = new Fixture(t, 400);
  const wanted: string[] = [];
  for (let i = 0; i < 50; i++) {
    f.put(i % 3, i);
    wanted.push(`m${i % 3}@${i}`);
    if (i === 20) {
      f.tap.close();
      f.tap = f.open();
    }
  }
  assert.ok(listForward(nodeFiles, f.dir).length > 3);
  const reader = new ForwardReader(nodeFiles, f.dir, start);
  assert.deepEqual(readAll(reader), wanted);
  // From the middle of anywhere: the refs before it are explained first.
  const middle = new ForwardReader(nodeFiles, f.dir, start);
  let seen = 0;
  const rows = {
    series() {},
    samples() {
      seen++;
    },
    histogram() {},
    exemplar() {},
    metadata() {},
  } as ForwardRows;
  while (seen < 30 && middle.next(rows)) {}
  assert.deepEqual(readAll(new ForwardReader(nodeFiles, f.dir, middle.position)), wanted.slice(30));
  assert.deepEqual(f.errors, []);
});

test('a reader follows what is being written, and one without a position begins at the end', t => {
  const f = new Fixture(t);
  f.put(1, 1);
  const late = new ForwardReader(nodeFiles, f.dir, null);
  const first = new ForwardReader(nodeFiles, f.dir, start);
  assert.deepEqual(readAll(first), ['m1@1']);
  assert.deepEqual(readAll(first), []);
  f.put(1, 2);
  assert.deepEqual(readAll(late), ['m1@2']);
  assert.equal(first.next({ series() {}, samples() {}, histogram() {}, exemplar() {}, metadata() {} }), true);
});

test('a ref that is given to another series means that one from then on', t => {
  const f = new Fixture(t);
  f.put(7, 1);
  f.names.set(7, 'other');
  f.tap.renew(7);
  f.put(7, 2);
  assert.deepEqual(readAll(new ForwardReader(nodeFiles, f.dir, start)), ['m7@1', 'other@2']);
});

test('a torn end is waited for in the newest segment and passed over in older ones; damage costs itself', t => {
  const f = new Fixture(t);
  f.put(1, 1);
  const path = forwardPath(f.dir, 1);
  const whole = readFileSync(path);
  f.put(1, 2);
  const cut = readFileSync(path);
  f.tap.close();
  writeFileSync(path, cut.subarray(0, cut.length - 9));
  const reader = new ForwardReader(nodeFiles, f.dir, start);
  const labels = new Map<number, Labels>();
  assert.deepEqual(readAll(reader, labels), ['m1@1']);
  // The rest of the write arrives.
  writeFileSync(path, cut);
  assert.deepEqual(readAll(reader, labels), ['m1@2']);
  writeFileSync(path, cut.subarray(0, cut.length - 9));
  f.tap = f.open();
  f.put(1, 3);
  assert.deepEqual(readAll(new ForwardReader(nodeFiles, f.dir, start)), ['m1@1', 'm1@3']);
  const broken = Buffer.from(cut);
  broken[whole.length - 12] = (broken[whole.length - 12] as number) ^ 0xff;
  writeFileSync(path, broken);
  assert.deepEqual(readAll(new ForwardReader(nodeFiles, f.dir, start)), ['m1@2', 'm1@3']);
});

test('mutated segments never throw, and reading ends (seed 11)', t => {
  const f = new Fixture(t);
  for (let i = 0; i < 40; i++) f.put(i % 5, i);
  f.tap.close();
  const path = forwardPath(f.dir, 1);
  const good = readFileSync(path);
  let seed = 11;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % n;
  };
  appendFileSync(forwardPath(f.dir, 2), 'x');
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(good);
    for (let k = 0; k < 1 + random(8); k++) bytes[random(bytes.length)] = random(256);
    writeFileSync(path, bytes.subarray(0, random(10) === 0 ? random(bytes.length) : bytes.length));
    assert.ok(readAll(new ForwardReader(nodeFiles, f.dir, start)).length <= 40);
  }
});

test('exemplars and metadata travel along; metadata is told again in each segment, once', t => {
  const f = new Fixture(t, 200);
  f.tap.putMetadata('default', [{ metric: 'm1', type: 'counter', help: '', unit: '' }]);
  f.tap.putMetadata('default', [{ metric: 'm1', type: 'counter', help: '', unit: '' }]);
  f.tap.putMetadata('other', [{ metric: 'm2', type: 'gauge', help: '', unit: '' }]);
  assert.deepEqual(readAll(new ForwardReader(nodeFiles, f.dir, start)), ['m1:counter']);
  for (let i = 0; i < 4; i++) f.put(1, i);
  const all = readAll(new ForwardReader(nodeFiles, f.dir, { segment: 2, offset: 16 }));
  assert.equal(all[0], 'm1:counter');
});

test('bounds: answered segments go, then the oldest, and what is lost is counted for those who miss it', t => {
  const f = new Fixture(t, 300);
  for (let i = 0; i < 60; i++) f.put(1, i);
  const bounds = new ForwardBounds(nodeFiles, [f.dir]);
  const lost: unknown[][] = [];
  const reader = (segment: number) => ({
    answered: () => [{ segment, offset: 16 }],
    read: () => [{ segment, offset: 16 }],
    lost: (...what: unknown[]) => void lost.push(what),
  });
  const limits = { bytesMax: 1 << 20, ageMaxMs: 1e12 };
  bounds.enforce([reader(3), reader(5)], limits, Date.now());
  assert.equal(existsSync(forwardPath(f.dir, 2)), false);
  assert.equal(existsSync(forwardPath(f.dir, 3)), true);
  assert.deepEqual(lost, []);
  const [slow, quick] = [reader(3), reader(5)];
  assert.ok(bounds.behind(slow) > bounds.behind(quick));
  const before = listForward(nodeFiles, f.dir);
  bounds.enforce([slow], { ...limits, bytesMax: 600 }, Date.now());
  const after = listForward(nodeFiles, f.dir);
  assert.ok(after.length < before.length && after.at(-1) === before.at(-1));
  const rows = lost.map(l => (l as [number, number, number, string])[2]);
  assert.ok(rows.every(n => n > 0) && lost.at(0)?.[3] === 'queue_full');
  bounds.enforce([slow], { bytesMax: 1 << 20, ageMaxMs: -1 }, Date.now() + 1000);
  assert.equal(listForward(nodeFiles, f.dir).length, 1);
  assert.equal(lost.at(-1)?.[3], 'queue_age');
});

/** What is left after torn writes, damaged files, and disks that are full or failing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { StorageFullError } from '../../../contracts/sample-sink.ts';
import { compileMatcher } from '../matchers.ts';
import { type Files, nodeFiles } from '../wal/files.ts';
import { batchOf, histogramOf, labels, type Row, readAll, temporaryDir } from './fixture.ts';
import { Head, type HeadOptions } from './head.ts';

const A = labels({ __name__: 'a', job: 'x' });
const B = labels({ __name__: 'b', job: 'y' });
const small: Partial<HeadOptions> = { pageBytes: 1000, segmentBytesMax: 2000, chunkFileBytesMax: 1200 };

function rows(of: readonly string[], from: number, n: number, step = 10): Row[] {
  return Array.from({ length: n }, (_, i) => ({ labels: of, t: from + i * step, value: Math.sin(from + i) }));
}

function all(head: Head, tenant = 'default'): Map<string, string[]> {
  const set = head.select(tenant, [], 0, Infinity);
  try {
    return readAll(set);
  } finally {
    set.close();
  }
}

function reopened(dir: string, options: Partial<HeadOptions> = small): { head: Head; done: () => void } {
  const copy = temporaryDir();
  fs.cpSync(dir, copy, { recursive: true });
  const head = new Head({ dir: copy, ...options });
  return {
    head,
    done: () => {
      head.abandon();
      fs.rmSync(copy, { recursive: true });
    },
  };
}

function newestFile(dir: string): string {
  const names = fs.readdirSync(dir).sort();
  return path.join(dir, names[names.length - 1] as string);
}

test('a WAL cut at any byte of its last records keeps what came before, and takes new samples', () => {
  const dir = temporaryDir();
  const head = new Head({ dir });
  head.append('default', batchOf('default', [...rows(A, 0, 20), ...rows(B, 0, 3)]));
  const before = all(head);
  const wal = newestFile(path.join(dir, 'wal'));
  const whole = fs.statSync(wal).size;
  head.append('default', batchOf('default', [...rows(A, 200, 2), { labels: B, t: 5, value: 9 }]));
  head.append('default', batchOf('default', [{ labels: B, t: 30, histogram: histogramOf(3) }]));
  const after = all(head);
  const end = fs.statSync(wal).size;
  head.abandon();
  for (let cut = whole; cut <= end; cut++) {
    const copy = temporaryDir();
    fs.cpSync(dir, copy, { recursive: true });
    fs.truncateSync(path.join(copy, path.relative(dir, wal)), cut);
    const torn = new Head({ dir: copy });
    assert.deepEqual(torn.report.damage, [], `cut at ${cut}`);
    if (cut === whole) assert.deepEqual(all(torn), before);
    if (cut === end) assert.deepEqual(all(torn), after);
    for (const [key, samples] of before) {
      const left = all(torn).get(key) as string[];
      assert.ok(samples.every(s => left.includes(s)));
    }
    torn.append('default', batchOf('default', rows(A, 1000, 1)));
    const now = all(torn);
    torn.abandon();
    const again = new Head({ dir: copy });
    assert.deepEqual(all(again), now);
    assert.equal(again.report.tornBytes, 0);
    again.abandon();
    fs.rmSync(copy, { recursive: true });
  }
  fs.rmSync(dir, { recursive: true });
});

test('series.log cut at any byte of its last records loses unacknowledged series only', () => {
  const dir = temporaryDir();
  const head = new Head({ dir });
  head.append('default', batchOf('default', rows(A, 0, 3)));
  const before = all(head);
  const log = path.join(dir, 'series.log');
  const whole = fs.statSync(log).size;
  const wal = newestFile(path.join(dir, 'wal'));
  const walSize = fs.statSync(wal).size;
  head.append('acme', batchOf('acme', rows(B, 0, 3)));
  const end = fs.statSync(log).size;
  head.abandon();
  // The WAL record is written after series.log: it cannot be there.
  fs.truncateSync(wal, walSize);
  for (let cut = whole; cut <= end; cut++) {
    const { head: torn, done } = reopenedWith(dir, 'series.log', cut);
    assert.deepEqual(torn.report.damage, []);
    assert.deepEqual(all(torn), before);
    assert.equal(all(torn, 'acme').size, 0);
    torn.append('acme', batchOf('acme', rows(B, 0, 3)));
    assert.equal(all(torn, 'acme').size, 1);
    done();
  }
  fs.rmSync(dir, { recursive: true });
});

function reopenedWith(dir: string, file: string, size: number): { head: Head; done: () => void } {
  const copy = temporaryDir();
  fs.cpSync(dir, copy, { recursive: true });
  fs.truncateSync(path.join(copy, file), size);
  const head = new Head({ dir: copy });
  return {
    head,
    done: () => {
      head.abandon();
      fs.rmSync(copy, { recursive: true });
    },
  };
}

for (const kind of ['wal', 'chunks', 'series.log'] as const) {
  test(`a flipped byte anywhere in ${kind} is reported once and costs little`, () => {
    const dir = temporaryDir();
    const head = new Head({ dir, ...small });
    for (let i = 0; i < 30; i++) {
      head.append('default', batchOf('default', [...rows(A, i * 1000, 20), ...rows(B, i * 1000, 20)]));
    }
    const before = all(head);
    head.abandon();
    const folder = path.join(dir, kind);
    const files = kind === 'series.log' ? [folder] : fs.readdirSync(folder).map(n => path.join(folder, n));
    assert.ok(files.length > (kind === 'series.log' ? 0 : 1));
    let reported = 0;
    let flips = 0;
    for (const file of files) {
      const size = fs.statSync(file).size;
      for (let at = 0; at < size; at += kind === 'series.log' ? 3 : 97) {
        const copy = temporaryDir();
        fs.cpSync(dir, copy, { recursive: true });
        flip(path.join(copy, path.relative(dir, file)), at);
        flips++;
        let damaged: Head;
        try {
          damaged = new Head({ dir: copy, ...small });
        } catch (error) {
          assert.match((error as Error).message, /format version/);
          fs.rmSync(copy, { recursive: true });
          continue;
        }
        if (damaged.report.damage.length > 0) reported++;
        const left = all(damaged);
        let lost = 0;
        for (const [key, samples] of before) {
          const have = new Set(left.get(key) ?? []);
          lost += samples.filter(s => !have.has(s)).length;
          assert.ok(
            [...have].every(s => samples.includes(s)),
            'nothing is made up',
          );
        }
        if (kind !== 'series.log') assert.ok(lost <= 700, `${lost} samples lost by byte ${at} of ${file}`);
        damaged.append('default', batchOf('default', rows(A, 1e6, 2)));
        const now = all(damaged);
        damaged.abandon();
        const again = new Head({ dir: copy, ...small });
        assert.deepEqual(again.report.damage, [], 'damage is reported once');
        assert.deepEqual(all(again), now);
        again.abandon();
        fs.rmSync(copy, { recursive: true });
      }
    }
    assert.ok(reported > flips / 4, `${reported} of ${flips} reported`);
    fs.rmSync(dir, { recursive: true });
  });
}

function flip(file: string, at: number): void {
  const bytes = fs.readFileSync(file);
  bytes[at] = (bytes[at] as number) ^ 0x41;
  fs.writeFileSync(file, bytes);
}

/** A disk with `room` bytes left; writes beyond go in partly and then fail. */
class FullDisk {
  room = Infinity;
  failing: 'write' | 'sync' | null = null;
  readonly files: Files = {
    ...nodeFiles,
    write: (fd, bytes, from, length, position) => {
      if (this.failing === 'write') throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
      if (this.room <= 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      const n = nodeFiles.write(fd, bytes, from, Math.min(length, this.room), position);
      this.room -= n;
      return n;
    },
    datasync: fd => {
      if (this.failing === 'sync') throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
      nodeFiles.datasync(fd);
    },
  };
}

test('a full disk refuses, keeps answering, and recovers by itself', () => {
  for (let room = 0; room < 700; room += 7) {
    const dir = temporaryDir();
    const disk = new FullDisk();
    const head = new Head({ dir, files: disk.files, ...small });
    head.append('default', batchOf('default', rows(A, 0, 20)));
    const acknowledged = all(head);
    disk.room = room;
    const batch = batchOf('acme', [...rows(A, 500, 20), ...rows(B, 0, 5), { labels: B, t: 3, value: 1 }]);
    let refused = false;
    try {
      head.append('acme', batch);
    } catch (error) {
      assert.ok(error instanceof StorageFullError);
      refused = true;
    }
    if (refused) {
      assert.throws(() => head.append('default', batchOf('default', rows(A, 9000, 1))), StorageFullError);
      assert.deepEqual(all(head), acknowledged, 'nothing of what came after the first refusal is applied');
      // kill -9 now: what was acknowledged is there, of the rest nothing or all of it that is in the log.
      const { head: killed, done } = reopened(dir);
      assert.deepEqual(killed.report.damage, []);
      assert.deepEqual(all(killed), acknowledged);
      done();
    }
    disk.room = Infinity;
    const counts = head.append('acme', batch);
    assert.equal(counts.samples, 26);
    const now = all(head, 'acme');
    assert.equal([...now.values()].flat().length, 26);
    const { head: later, done } = reopened(dir);
    assert.deepEqual(all(later, 'acme'), now, 'a retry is acknowledged only when its rows are in the log');
    assert.deepEqual(all(later), acknowledged);
    done();
    head.abandon();
    fs.rmSync(dir, { recursive: true });
  }
});

test('a head opens on a full disk, answers, refuses, and goes on when there is room', async () => {
  for (let room = 0; room < 200; room += 4) {
    const dir = temporaryDir();
    const first = new Head({ dir, ...small });
    first.append('default', batchOf('default', rows(A, 0, 300)));
    const acknowledged = all(first);
    first.abandon();
    const disk = new FullDisk();
    disk.room = room;
    const head = new Head({ dir, files: disk.files, ...small });
    assert.deepEqual(all(head), acknowledged);
    let n = 0;
    // What little room there is may be used up by a few appends.
    const append = (): unknown => head.append('default', batchOf('default', rows(A, 10_000 + 100 * n++, 1)));
    assert.throws(() => {
      for (let i = 0; i < 10; i++) append();
    }, StorageFullError);
    await head.maintain();
    // Killed and started again while full: nothing has gone.
    const { head: again, done } = reopened(dir);
    const kept = all(again);
    done();
    for (const [key, samples] of acknowledged) assert.deepEqual(kept.get(key)?.slice(0, samples.length), samples);
    disk.room = Infinity;
    n--;
    append();
    const now = all(head);
    await head.close();
    const { head: later, done: end } = reopened(dir);
    assert.deepEqual(later.report.damage, []);
    assert.deepEqual(all(later), now);
    end();
    fs.rmSync(dir, { recursive: true });
  }
});

test('a head that was opened on a full disk closes on it', async () => {
  const dir = temporaryDir();
  const first = new Head({ dir, ...small });
  first.append('default', batchOf('default', rows(A, 0, 20)));
  const acknowledged = all(first);
  first.abandon();
  const disk = new FullDisk();
  disk.room = 0;
  const head = new Head({ dir, files: disk.files, ...small });
  assert.throws(() => head.append('default', batchOf('default', rows(A, 9000, 1))), StorageFullError);
  await head.close();
  const { head: later, done } = reopened(dir);
  assert.deepEqual(all(later), acknowledged);
  done();
  fs.rmSync(dir, { recursive: true });
});

test('chunk pages that cannot be written hold back the WAL, not the samples', async () => {
  const dir = temporaryDir();
  const disk = new FullDisk();
  let refusing = false;
  const files: Files = {
    ...disk.files,
    open: (file, mode) => {
      if (refusing && file.endsWith('.hck') && mode === 'write') throw Object.assign(new Error('EIO'), { code: 'EIO' });
      return nodeFiles.open(file, mode);
    },
  };
  const head = new Head({ dir, files, ...small });
  refusing = true;
  for (let i = 0; i < 30; i++) head.append('default', batchOf('default', rows(A, i * 1000, 20)));
  await head.maintain();
  const before = all(head);
  const { head: killed, done } = reopened(dir);
  assert.deepEqual(all(killed), before);
  done();
  refusing = false;
  head.append('default', batchOf('default', rows(A, 1e6, 1)));
  await head.maintain();
  await head.maintain();
  const now = all(head);
  const { head: later, done: end } = reopened(dir);
  assert.deepEqual(all(later), now);
  assert.equal(later.stats().walSegments < 12, true);
  end();
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('with sync always, a failing sync refuses, and a retry is acknowledged only after a sync', () => {
  const dir = temporaryDir();
  const disk = new FullDisk();
  const head = new Head({ dir, files: disk.files, sync: 'always' });
  head.append('default', batchOf('default', rows(A, 0, 2)));
  disk.failing = 'sync';
  const batch = batchOf('default', rows(A, 100, 2));
  assert.throws(() => head.append('default', batch), StorageFullError);
  assert.throws(() => head.append('default', batch), StorageFullError);
  disk.failing = null;
  assert.equal(head.append('default', batch).samples, 2);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('deletes and collected series survive a restart; flushed samples stay gone', async () => {
  const dir = temporaryDir();
  let head = new Head({ dir, ...small });
  head.append('default', batchOf('default', [...rows(A, 0, 100), ...rows(B, 0, 100)]));
  const matchers = [compileMatcher({ name: 'job', op: '=', value: 'x' })];
  assert.equal(head.deleteSamples('default', matchers, 0, 500), 1);
  const flush = head.beginFlush(199);
  head.commitFlush(flush);
  const before = all(head);
  head.abandon();
  head = new Head({ dir, ...small });
  assert.deepEqual(all(head), before);
  assert.equal((before.get([...before.keys()][0] as string) as string[]).length < 100, true);
  head.commitFlush(head.beginFlush(5000));
  assert.equal(head.gcSeries(5000), 2);
  await head.maintain();
  await head.maintain();
  assert.equal(head.stats().series, 0);
  assert.deepEqual([...head.labelNames('default', [], 0, Infinity)], []);
  assert.ok(head.maxT < head.minT);
  await head.close();
  head = new Head({ dir, ...small });
  assert.equal(head.stats().series, 0);
  head.append('default', batchOf('default', rows(B, 6000, 1)));
  assert.equal(all(head).size, 1);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

test('a page that rots while the head runs takes only its own samples, and its file is set aside when its time comes', async () => {
  const dir = temporaryDir();
  const told: string[] = [];
  // Hardly a page stays in memory.
  const options = { dir, ...small, chunkCacheBytes: 1500, log: (message: string) => told.push(message) };
  let head = new Head(options);
  for (let i = 0; i < 60; i++)
    head.append('default', batchOf('default', [...rows(A, i * 100, 10), ...rows(B, i * 100, 10)]));
  const before = all(head);
  const chunks = path.join(dir, 'chunks');
  const files = fs.readdirSync(chunks).sort();
  assert.ok(files.length > 5);
  const middle = path.join(chunks, files[Math.floor(files.length / 2)] as string);
  const bytes = fs.readFileSync(middle);
  bytes[bytes.length - 9] = (bytes[bytes.length - 9] as number) ^ 1;
  fs.writeFileSync(middle, bytes);
  all(head);
  assert.equal(head.stats().damagedPages, 1);
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve));
  const after = all(head);
  assert.equal(told.length, 1, told.join('; '));
  let missing = 0;
  for (const [key, texts] of before) {
    const left = after.get(key) as string[];
    assert.deepEqual(left.slice(0, 20), texts.slice(0, 20), 'the oldest are found');
    assert.deepEqual(left.slice(-20), texts.slice(-20));
    assert.ok(left.every(text => texts.includes(text)));
    missing += texts.length - left.length;
  }
  assert.ok(missing > 0 && missing <= 200, `${missing} are missing`);
  // The next start finds the same.
  const again = reopened(dir);
  assert.deepEqual(all(again.head), after);
  again.done();
  head.commitFlush(head.beginFlush(1e6));
  assert.deepEqual(fs.readdirSync(path.join(dir, 'quarantine')), [`${path.basename(middle)}.1`]);
  assert.deepEqual(fs.readFileSync(path.join(dir, 'quarantine', `${path.basename(middle)}.1`)), bytes);
  head.abandon();
  head = new Head(options);
  assert.equal(all(head).size, 0);
  head.abandon();
  fs.rmSync(dir, { recursive: true });
});

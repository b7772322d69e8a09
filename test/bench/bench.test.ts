/** The benchmark's own tools: a wrong encoder or a wrong ratio would make every figure worthless. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { families, QUICK } from '../../bench/datasets/query-series.ts';
import { compare, describe } from '../../bench/lib/agreement.ts';
import { Corpus } from '../../bench/lib/corpus.ts';
import { parseOptions } from '../../bench/lib/options.ts';
import { cpuSeconds, memory } from '../../bench/lib/proc.ts';
import { median, Report } from '../../bench/lib/report.ts';
import { LabelSlab, WriteRequestEncoder } from '../../bench/lib/write-request.ts';
import { familyCorpus } from '../../bench/parts/load.ts';

const { uncompress } = createRequire(import.meta.url)('snappyjs') as { uncompress(bytes: Uint8Array): Uint8Array };

type Fields = [number: number, value: number | Uint8Array][];

/** The plainest reader of protobuf there is. */
function fields(bytes: Uint8Array): Fields {
  const found: Fields = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7) === 0) found.push([tag >> 3, varint()]);
    else {
      const length = (tag & 7) === 1 ? 8 : varint();
      found.push([tag >> 3, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return found;
}

interface Decoded {
  labels: [string, string][];
  samples: [number, number][];
}

function decode(body: Uint8Array): Decoded[] {
  return fields(uncompress(body)).map(([, series]) => {
    const parts = fields(series as Uint8Array);
    const texts = (bytes: Uint8Array): [string, string] =>
      fields(bytes).map(([, text]) => Buffer.from(text as Uint8Array).toString()) as [string, string];
    return {
      labels: parts.filter(([number]) => number === 1).map(([, bytes]) => texts(bytes as Uint8Array)),
      samples: parts.filter(([number]) => number === 2).map(([, bytes]) => sample(bytes as Uint8Array)),
    };
  });
}

function sample(bytes: Uint8Array): [number, number] {
  let value = 0;
  let time = 0;
  for (const [number, content] of fields(bytes)) {
    if (number === 1) value = Buffer.from(content as Uint8Array).readDoubleLE();
    else time = content as number;
  }
  return [time, value];
}

test('write requests hold the labels in order and every sample', () => {
  const slab = new LabelSlab();
  slab.add({ zone: 'z'.repeat(200), __name__: 'm', job: 'j' });
  slab.add({ __name__: 'n' });
  const encoder = new WriteRequestEncoder();
  const values = new Float64Array([1.5, 0, -0, 1e300]);
  const times = new Float64Array([0, 127, 1_767_225_600_000, 128]);
  encoder.add(slab.get(0), values, times, 0, 3);
  encoder.add(slab.get(1), values, times, 3, 1);
  assert.equal(encoder.samples, 4);
  assert.deepEqual(decode(encoder.finish()), [
    {
      labels: [
        ['__name__', 'm'],
        ['job', 'j'],
        ['zone', 'z'.repeat(200)],
      ],
      samples: [
        [0, 1.5],
        [127, 0],
        [1_767_225_600_000, -0],
      ],
    },
    { labels: [['__name__', 'n']], samples: [[128, 1e300]] },
  ]);
});

test('a load holds every scrape of every series once, in order of time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const endMs = 1_767_225_600_000;
    const all = families({ ...QUICK, instances: 2, hours: 3, recentHours: 1, days: 1 }, endMs, 7);
    using corpus = familyCorpus(join(folder, 'bodies'), all, endMs);
    const last = new Map<string, number>();
    let samples = 0;
    for (const read of corpus.readers('load', 1)) {
      for (let body = await read(); body !== null; body = await read()) {
        for (const series of decode(body.bytes)) {
          const id = JSON.stringify(series.labels);
          for (const [time] of series.samples) {
            assert.ok(time > (last.get(id) ?? 0) && time < endMs, `${id} ${time}`);
            last.set(id, time);
            samples++;
          }
        }
      }
    }
    const expected = all.reduce((sum, one) => sum + (one.count * (endMs - one.startMs)) / one.stepMs, 0);
    assert.equal(samples, expected);
    assert.equal(corpus.phaseSamples('load'), expected);
    assert.equal(
      last.size,
      all.reduce((sum, one) => sum + one.count, 0),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('no body is sent before all of the epochs before were answered', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    using corpus = new Corpus(join(folder, 'bodies'));
    for (const [lane, epoch] of [
      [0, 1],
      [1, 1],
      [1, 2],
      [0, 5],
    ] as [number, number][]) {
      corpus.add('p', lane, Buffer.from(`${lane}:${epoch}`), 1, epoch);
    }
    const order: string[] = [];
    const drain = async (read: () => Promise<{ bytes: Uint8Array } | null>): Promise<void> => {
      for (let body = await read(); body !== null; body = await read()) order.push(Buffer.from(body.bytes).toString());
    };
    await Promise.all(corpus.readers('p', 2).map(drain));
    assert.deepEqual(order.slice(2), ['1:2', '0:5']);
    assert.deepEqual(order.slice(0, 2).sort(), ['0:1', '1:1']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('ratios are above 1 where ours is better, whatever the unit', () => {
  const report = new Report(new Date(0));
  try {
    const add = (contestant: string, value: number, better: 'higher' | 'lower', name: string): void =>
      report.add({ topic: 't', name, contestant, value, unit: 'x', better });
    for (const value of [1, 300, 20]) add('sightline', value, 'higher', 'speed');
    add('a', 10, 'higher', 'speed');
    add('b', 5, 'higher', 'speed');
    add('sightline', 4, 'lower', 'time');
    add('a', 8, 'lower', 'time');
    add('b', 2, 'lower', 'time');
    const rows = report.table('t').split('\n');
    assert.match(rows[2] as string, /speed .* 20\.0 .* 2\.00x/);
    assert.match(rows[3] as string, /time .* 0\.50x/);
    assert.equal(readFileSync(report.file, 'utf8').trim().split('\n').length, 8);
  } finally {
    rmSync(report.file);
  }
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([1, 2]), 1.5);
});

test('answers that differ are told from answers that agree', () => {
  const series = (mode: string, ...values: number[]) => ({
    metric: { mode },
    values: values.map((value, i): [number, string] => [i, String(value)]),
  });
  assert.equal(describe(compare([series('a', 1, 2)], [series('a', 1, 2)])), '=');
  assert.equal(describe(compare([series('a', 100, 200)], [series('a', 101, 202)])), '~1%');
  assert.match(describe(compare([series('a', 1, 2)], [series('b', 1, 2)])), /DIFFERENT/);
  assert.match(describe(compare([series('a', 1, 2)], [series('a', 1)])), /1 of 1 points unmatched/);
  assert.equal(describe(compare([], [])), 'EMPTY');
});

test('the process tree counts', () => {
  assert.ok(cpuSeconds(process.pid) > 0);
  const own = memory(process.pid);
  assert.ok(own.rssBytes > 1e6 && own.peakBytes >= own.rssBytes * 0.9);
  assert.equal(cpuSeconds(2 ** 30), 0);
});

test('options are checked', () => {
  const options = parseOptions(['ingest', '--series', '1000,2000', '--quick']);
  assert.ok(typeof options === 'object');
  assert.deepEqual([options.parts, options.series, options.quick], [['ingest'], [1000, 2000], true]);
  assert.throws(() => parseOptions(['nothing']), /no part is called/);
  assert.throws(() => parseOptions(['--series', '0']), /not a number/);
  assert.equal(parseOptions(['--help']), 'help');
});

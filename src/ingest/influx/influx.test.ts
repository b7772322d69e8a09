import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { writeInflux } from './write.ts';

const NOW = 1_700_000_000_000;
const hasher = new IdentityHasher(new Uint8Array(32));

async function write(
  body: string | Uint8Array,
  params = '',
  chunkBytes = Number.POSITIVE_INFINITY,
): Promise<{ sink: RecordingSink; answer: IngestResponse }> {
  const sink = new RecordingSink();
  const request: IngestRequest = {
    protocol: 'influx',
    tenant: 'default',
    contentType: '',
    contentEncoding: '',
    params,
    headers: {},
  };
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (let p = 0; p < bytes.length; p += chunkBytes) yield bytes.subarray(p, Math.min(bytes.length, p + chunkBytes));
  };
  const answer = await writeInflux({ hasher, sink, now: () => NOW }, request, chunks());
  return { sink, answer };
}

test('fields become series, tags labels, by precision', async () => {
  const { sink, answer } = await write(
    'cpu,host=a,region=eu usage=0.5,idle=99i,up=true,n=7u 1600000000123456789\n' +
      'weather\\,x,loc\\ 1=a\\=b\\,c temp=-1.5e3\n' +
      '# a comment\n\n' +
      'm s="text, with \\"quotes\\"",n="12.5",v=1 1600000001000000000\r\n',
    'db=tele',
  );
  assert.equal(answer.status, 204, answer.body);
  assert.deepEqual(sink.lines(1_600_000_000_123), [
    'cpu_idle{db="tele", host="a", region="eu"} 99',
    'cpu_n{db="tele", host="a", region="eu"} 7',
    'cpu_up{db="tele", host="a", region="eu"} 1',
    'cpu_usage{db="tele", host="a", region="eu"} 0.5',
  ]);
  assert.deepEqual(sink.lines(NOW), ['{"weather,x_temp", db="tele", "loc 1"="a=b,c"} -1500']);
  assert.deepEqual(sink.lines(1_600_000_001_000), ['m_n{db="tele"} 12.5', 'm_v{db="tele"} 1']);
  for (const [precision, stamp, ms] of [
    ['s', '1600000000', 1_600_000_000_000],
    ['ms', '1600000000001', 1_600_000_000_001],
    ['us', '1600000000001999', 1_600_000_000_001],
    ['h', '1', 3_600_000],
  ] as const) {
    const { sink: got } = await write(`m f=1 ${stamp}\n`, `precision=${precision}`);
    assert.equal(got.samples[0]?.timestampMs, ms, precision);
  }
});

test('bad lines are named, the others stored', async () => {
  const lines = [
    'ok f=1',
    'noFields',
    'm f=',
    'm f=1 x',
    'm,t f=1',
    'm f="open',
    'm,a=1,a=2 f=1',
    'm f=1 -5',
    'ok f=2',
  ];
  const { sink, answer } = await write(`${lines.join('\n')}\n`);
  assert.equal(answer.status, 400);
  assert.deepEqual(
    sink.samples.map(sample => sample.value),
    [1, 2],
  );
  const body = JSON.parse(answer.body) as { error: string; code: string; line: number };
  assert.equal(body.code, 'invalid');
  assert.equal(body.line, 2);
  for (const line of [2, 3, 4, 5, 6, 7, 8]) assert.match(body.error, new RegExp(`line ${line}: `));
  assert.doesNotMatch(body.error, /line [19]: /);
  assert.match(body.error, /^partial write: .* stored 2 samples$/);
  assert.deepEqual(
    answer.rejected?.map(r => [r.reason, r.count]),
    [
      ['bad_line', 5],
      ['invalid_labels', 1],
      ['invalid_timestamp', 1],
    ],
  );
});

test('extra labels, unknown precision, a line that is not UTF-8', async () => {
  const { sink } = await write('m,dc=x f=1\n', 'extra_label=dc%3Deu&extra_label=team%3Da&db=d');
  assert.deepEqual(Object.fromEntries(pairs(sink.samples[0]?.labels ?? [])), {
    __name__: 'm_f',
    dc: 'eu',
    team: 'a',
    db: 'd',
  });
  assert.equal((await write('m f=1\n', 'precision=year')).answer.status, 400);
  const broken = await write(Buffer.concat([Buffer.from('m f=1\nm,t='), Buffer.of(0xff), Buffer.from(' f=2\nm f=3')]));
  assert.match(broken.answer.body, /line 2: it is not valid UTF-8/);
  assert.deepEqual(
    broken.sink.samples.map(sample => sample.value),
    [1, 3],
  );
});

function pairs(flat: readonly string[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) out.push([flat[i] as string, flat[i + 1] as string]);
  return out;
}

test('the same lines in chunks of any size are the same samples', async () => {
  const body = Array.from({ length: 50 }, (_, i) => `m,t=ü${i % 7} f=${i},g=${i / 3} ${i}000000`).join('\n');
  const whole = (await write(body)).sink.lines();
  for (const size of [1, 2, 3, 7, 64, 1000]) assert.deepEqual((await write(body, '', size)).sink.lines(), whole);
});

test('fuzz: mutated lines are stored or named, never more', async () => {
  const random = new Random(20_261_122);
  const next = (): number => random.unit();
  const seedText = 'cpu,host=a\\ b,r=x usage=1.5,n=3i,s="a\\"b",b=t 1600000000000000000\n';
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(seedText.repeat(1 + Math.floor(next() * 3)));
    for (let i = 0; i < 1 + Math.floor(next() * 6); i++)
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    const { answer, sink } = await write(bytes, '', 1 + Math.floor(next() * 200));
    assert.ok(answer.status === 204 || answer.status === 400, answer.body);
    for (const sample of sink.samples) assert.ok(sample.timestampMs >= 0 && Number.isFinite(sample.value));
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import type { IngestResponse, PushNaming } from '../../contracts/ingest-service.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { writeGraphite } from './write.ts';

const NOW = 1_700_000_000_000;
const hasher = new IdentityHasher(new Uint8Array(32));
const INFLUX = { separator: '_', dbLabel: 'db' };

async function write(
  body: string | Uint8Array,
  dots: PushNaming['dots'] = 'keep',
): Promise<{ sink: RecordingSink; answer: IngestResponse }> {
  const sink = new RecordingSink();
  const request = {
    protocol: 'graphite',
    tenant: 'default',
    contentType: '',
    contentEncoding: '',
    params: '',
  } as const;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from(body);
  };
  const deps = { hasher, sink, now: () => NOW };
  const answer = await writeGraphite(deps, { ...request, headers: {}, push: { influx: INFLUX, dots } }, chunks());
  return { sink, answer };
}

test('paths, tags, times', async () => {
  const body = 'a.b.c 1 1600000000\nd;dc=eu;rack=r-1  2.5\t1600000000.5\ne 3\nf -4e2 -1\r\ng 5 N\n';
  const { sink, answer } = await write(body);
  assert.equal(answer.status, 204, answer.body);
  assert.equal(answer.stored, 5);
  assert.deepEqual(sink.lines(1_600_000_000_000), ['{"a.b.c"} 1']);
  assert.deepEqual(sink.lines(1_600_000_000_500), ['d{dc="eu", rack="r-1"} 2.5']);
  assert.deepEqual(sink.lines(NOW), ['e 3', 'f -400', 'g 5']);
  assert.deepEqual((await write('1.b-c 1\n', 'underscore')).sink.lines(), ['_1_b_c 1']);
});

test('bad lines are named and counted by reason, the others stored', async () => {
  const { sink, answer } = await write('ok 1\nonly\na b\na 1 x\n;t=v 1\na;t 1\na;t=1;t=2 1\na 1 2 3\na inf\nok 2\n');
  assert.equal(answer.status, 400);
  assert.deepEqual(
    sink.samples.map(sample => sample.value),
    [1, 2],
  );
  for (const line of [2, 3, 4, 5, 6, 7, 8, 9]) assert.match(answer.body, new RegExp(`line ${line}: `));
  assert.deepEqual(Object.fromEntries((answer.rejected ?? []).map(r => [r.reason, r.count])), {
    bad_line: 5,
    invalid_timestamp: 1,
    invalid_labels: 2,
  });
});

test('fuzz: mutated lines are stored or named', async () => {
  const random = new Random(7);
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from('servers.web-1.load;dc=eu;rack=1 0.25 1600000000\na 1\n');
    for (let i = 0; i <= random.int(6); i++) bytes[random.int(bytes.length)] = random.int(256);
    const { answer, sink } = await write(bytes);
    assert.ok(answer.status === 204 || answer.status === 400, answer.body);
    for (const sample of sink.samples) assert.ok(sample.timestampMs >= 0);
  }
});

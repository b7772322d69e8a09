import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppendResult } from '../contracts/sample-sink.ts';
import { encodeLabels } from '../model/labels.ts';
import { LABELS_OMITTED, type SampleBatch } from '../model/sample-batch.ts';
import { appendPacked, type LocalShard, type RemoteShard, ShardExchange } from './shard-exchange.ts';

/** n series, series i with hash words (first + i + 1, 0, 0, first + i) and i % 3 + 1 samples of value first + i. */
function batchOf(first: number, n: number): SampleBatch {
  const encoded = Array.from({ length: n }, (_, i) => encodeLabels(['__name__', `m${first + i}`]));
  const labelBytes = new Uint8Array(encoded.reduce((sum, e) => sum + e.length, 0));
  const batch: SampleBatch = {
    seriesCount: n,
    labelBytes,
    labelStart: new Uint32Array(n),
    labelEnd: new Uint32Array(n),
    hashes: new Uint32Array(n * 4),
    sampleStart: new Uint32Array(n + 1),
    timestamps: new Float64Array(n * 3),
    values: new Float64Array(n * 3),
    startTimestamps: null,
    histograms: null,
    exemplars: [{ series: n - 1, timestampMs: 5, value: first + n - 1, labels: ['trace_id', 'abc'] }],
    metadata: null,
  };
  let at = 0;
  let row = 0;
  encoded.forEach((bytes, i) => {
    batch.labelStart[i] = at;
    labelBytes.set(bytes, at);
    at += bytes.length;
    batch.labelEnd[i] = at;
    batch.hashes[i * 4] = first + i + 1;
    batch.hashes[i * 4 + 3] = first + i;
    for (let k = 0; k <= i % 3; k++) {
      batch.timestamps[row] = k;
      batch.values[row++] = first + i;
    }
    batch.sampleStart[i + 1] = row;
  });
  return batch;
}

/** Remembers `name t=v` per sample; refuses nothing unless `failing`. */
class MemoryShard implements LocalShard {
  rows: string[] = [];
  series = new Map<string, string>();
  exemplars: number[] = [];
  failing: Error | null = null;

  appendRows(_tenant: string, batch: SampleBatch, rows: Uint32Array | null, count: number): AppendResult {
    if (this.failing !== null) throw this.failing;
    const result: AppendResult = { samples: 0, histograms: 0, exemplars: 0, rejected: [], unknownSeries: 0 };
    for (let k = 0; k < count; k++) {
      const i = rows === null ? k : (rows[k] as number);
      const hash = batch.hashes.slice(i * 4, i * 4 + 4).join();
      if (batch.labelStart[i] !== LABELS_OMITTED) {
        const bytes = batch.labelBytes.subarray(batch.labelStart[i], batch.labelEnd[i]);
        this.series.set(hash, Buffer.from(bytes).toString('latin1'));
      }
      const name = this.series.get(hash);
      if (name === undefined) {
        result.unknownSeries = (result.unknownSeries ?? 0) + 1;
        continue;
      }
      for (let r = batch.sampleStart[i] as number; r < (batch.sampleStart[i + 1] as number); r++) {
        this.rows.push(`${name.slice(name.lastIndexOf('m'))} ${batch.timestamps[r]}=${batch.values[r]}`);
        result.samples++;
      }
      for (const e of batch.exemplars ?? []) if (e.series === i) this.exemplars.push(e.value);
    }
    return result;
  }
}

function setup() {
  const own = new MemoryShard();
  const other = new MemoryShard();
  let messages = 0;
  let labelBytes = 0;
  const remote: RemoteShard = {
    async appendPacked(tenant, packed, segments) {
      messages++;
      labelBytes += packed.labelBytes;
      const moved = structuredClone(packed, { transfer: [packed.buffer] });
      return { results: appendPacked(other, tenant, moved, segments), buffer: moved.buffer };
    },
  };
  const exchange = new ShardExchange(0, own, [null, remote]);
  return { own, other, exchange, messages: () => messages, labelBytes: () => labelBytes };
}

test('every series reaches its shard once, with all its samples', async () => {
  const { own, other, exchange } = setup();
  const result = await exchange.append('t', batchOf(0, 7));
  assert.equal(result.samples, 1 + 2 + 3 + 1 + 2 + 3 + 1);
  assert.deepEqual(own.rows, ['m0 0=0', 'm2 0=2', 'm2 1=2', 'm2 2=2', 'm4 0=4', 'm4 1=4', 'm6 0=6']);
  assert.deepEqual(other.rows, ['m1 0=1', 'm1 1=1', 'm3 0=3', 'm5 0=5', 'm5 1=5', 'm5 2=5']);
  assert.deepEqual(own.exemplars, [6]);
});

test('requests of one turn share a message, and each gets its own counts', async () => {
  const { other, exchange, messages } = setup();
  const results = await Promise.all([
    exchange.append('t', batchOf(0, 4)),
    exchange.append('t', batchOf(100, 2)),
    exchange.append('t', batchOf(200, 3)),
  ]);
  assert.equal(messages(), 1);
  assert.deepEqual(
    results.map(r => r.samples),
    [7, 3, 6],
  );
  assert.equal(other.rows.length, 3 + 2 + 2);
  assert.deepEqual(other.exemplars, [3, 101]);
});

test('tenants never share a batch', async () => {
  const { exchange, messages } = setup();
  await Promise.all([exchange.append('a', batchOf(0, 4)), exchange.append('b', batchOf(0, 4))]);
  assert.equal(messages(), 2);
});

test('a failing shard, own or other, fails the request', async () => {
  const { own, other, exchange } = setup();
  other.failing = new Error('disk full there');
  await assert.rejects(exchange.append('t', batchOf(0, 4)), /disk full there/);
  other.failing = null;
  own.failing = new Error('disk full here');
  await assert.rejects(exchange.append('t', batchOf(0, 4)), /disk full here/);
});

test('labels cross once; a shard that has lost the series gets them again', async () => {
  const { other, exchange, labelBytes } = setup();
  // Series with exemplars always bring their labels.
  const plain = (): SampleBatch => ({ ...batchOf(0, 4), exemplars: null });
  await exchange.append('t', plain());
  const once = labelBytes();
  assert.ok(once > 0);
  await exchange.append('t', plain());
  assert.equal(labelBytes(), once);
  assert.equal(other.rows.length, 6);
  other.series.clear();
  let made = 0;
  const result = await exchange.append('t', plain(), () => {
    made++;
    return plain();
  });
  assert.equal(made, 1);
  assert.equal(labelBytes(), 2 * once);
  assert.equal(result.samples, 7);
  assert.equal(other.rows.length, 9);
});

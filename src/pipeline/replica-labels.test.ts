import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppendResult, SampleSink } from '../contracts/sample-sink.ts';
import { BatchBuilder } from '../ingest/batch-builder.ts';
import { IdentityHasher } from '../lib/identity-hash.ts';
import { decodeLabels, type Labels } from '../model/labels.ts';
import type { SampleBatch } from '../model/sample-batch.ts';
import { withoutReplicaLabels } from './replica-labels.ts';

const hasher = new IdentityHasher(new Uint8Array(32).fill(1));
const seed = hasher.tenantSeed('t');

class Recorder implements SampleSink {
  got: { labels: Labels; hash: string; value: number }[] = [];
  async append(_tenant: string, batch: SampleBatch): Promise<AppendResult> {
    for (let i = 0; i < batch.seriesCount; i++) {
      this.got.push({
        labels: decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]),
        hash: batch.hashes.slice(i * 4, i * 4 + 4).join(),
        value: batch.values[batch.sampleStart[i] as number] as number,
      });
    }
    return { samples: batch.seriesCount, histograms: 0, exemplars: 0, rejected: [] };
  }
}

function batchOf(...series: Labels[]): SampleBatch {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  series.forEach((labels, i) => {
    builder.addSeries(labels);
    builder.addSample(1000, i);
  });
  return builder.finish();
}

test('series that differ in replica labels alone become one', async () => {
  const sink = new Recorder();
  const stage = withoutReplicaLabels(sink, hasher, ['replica', 'prometheus_replica']);
  await stage.append(
    't',
    batchOf(
      ['__name__', 'up', 'job', 'x'],
      ['__name__', 'up', 'job', 'x', 'replica', 'a'],
      ['__name__', 'up', 'job', 'x', 'prometheus_replica', 'b', 'replica', 'b'],
      ['__name__', 'up', 'job', 'x', 'zone', 'replica'],
    ),
  );
  assert.deepEqual(
    sink.got.map(s => s.labels.join(' ')),
    ['__name__ up job x', '__name__ up job x', '__name__ up job x', '__name__ up job x zone replica'],
  );
  assert.equal(sink.got[0]?.hash, sink.got[1]?.hash);
  assert.equal(sink.got[0]?.hash, sink.got[2]?.hash);
  assert.notEqual(sink.got[0]?.hash, sink.got[3]?.hash);
  assert.deepEqual(
    sink.got.map(s => s.value),
    [0, 1, 2, 3],
  );
});

test('the batch given is left as it was; none stripped passes through', async () => {
  const batch = batchOf(['__name__', 'up', 'replica', 'a']);
  const before = batch.labelBytes.slice();
  await withoutReplicaLabels(new Recorder(), hasher, ['replica']).append('t', batch);
  assert.deepEqual(batch.labelBytes, before);
  const sink = new Recorder();
  assert.equal(withoutReplicaLabels(sink, hasher, []), sink);
});

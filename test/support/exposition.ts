/** Reads expositions for tests: whole texts into batches, batches into rows that can be compared. */
import { BatchBuilder } from '../../src/ingest/batch-builder.ts';
import { ProtobufExpositionReader } from '../../src/ingest/exposition/protobuf-reader.ts';
import type { ExpositionFormat } from '../../src/ingest/exposition/series-text.ts';
import { ExpositionReader, newCounts, type ReadOptions } from '../../src/ingest/exposition/to-batch.ts';
import { IdentityHasher } from '../../src/lib/identity-hash.ts';
import { decodeLabels } from '../../src/model/labels.ts';
import type { SampleBatch } from '../../src/model/sample-batch.ts';

export const hasher: IdentityHasher = new IdentityHasher(new Uint8Array(16).fill(1));
export const seed: Uint32Array = hasher.tenantSeed('default');
export const NOW = 1_700_000_000_000;
export const OPTIONS: ReadOptions = {
  timestampMs: NOW,
  honorTimestamps: true,
  finishLabels: null,
  createdAsStart: true,
  metadata: true,
};

export interface Row {
  labels: Record<string, string>;
  timestamp: number;
  value: number;
  start: number;
}

export function rowsOf(batch: SampleBatch): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    const flat = decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]);
    const labels: Record<string, string> = {};
    for (let k = 0; k < flat.length; k += 2) labels[flat[k] as string] = flat[k + 1] as string;
    for (let k = batch.sampleStart[i] as number; k < (batch.sampleStart[i + 1] as number); k++) {
      const start = batch.startTimestamps?.[k] ?? 0;
      rows.push({ labels, timestamp: batch.timestamps[k] as number, value: batch.values[k] as number, start });
    }
  }
  return rows;
}

export function read(
  text: string | Uint8Array,
  format: ExpositionFormat = 'text',
  options: Partial<ReadOptions> = {},
): SampleBatch {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  new ExpositionReader(format, null).read(Buffer.from(text), builder, { ...OPTIONS, ...options });
  return builder.finish();
}

/** Length-delimited MetricFamily messages. */
export function readProtobuf(bytes: Uint8Array): SampleBatch {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  const reader = new ProtobufExpositionReader(null);
  const counts = newCounts();
  reader.readPart(bytes, 0, bytes.length, 1, builder, OPTIONS, counts, Number.POSITIVE_INFINITY);
  reader.finish(builder, OPTIONS, counts);
  return builder.finish();
}

/** All entries, read to the end, labels included; throws what the parser throws. */
export function readAll(bytes: Uint8Array, format: ExpositionFormat): void {
  const builder = new BatchBuilder(hasher, seed);
  builder.reset();
  new ExpositionReader(format, null).read(bytes, builder, OPTIONS);
}

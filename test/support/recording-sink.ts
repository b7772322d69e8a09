/** RecordingSink: a SampleSink that keeps what it got as text lines `{labels} value @timestamp`, for tests of producers. */
import type { AppendResult, SampleSink } from '../../src/contracts/sample-sink.ts';
import { decodeLabels, formatLabels, type Labels } from '../../src/model/labels.ts';
import type { MetadataEntry, SampleBatch } from '../../src/model/sample-batch.ts';
import { isStale } from '../../src/model/stale.ts';

export interface RecordedSample {
  tenant: string;
  labels: Labels;
  timestampMs: number;
  value: number;
  stale: boolean;
}

export class RecordingSink implements SampleSink {
  samples: RecordedSample[] = [];
  metadata: MetadataEntry[] = [];
  batches = 0;
  /** Thrown by the next appends while set. */
  failWith: Error | null = null;

  async append(tenant: string, batch: SampleBatch): Promise<AppendResult> {
    if (this.failWith !== null) throw this.failWith;
    this.batches++;
    let count = 0;
    for (let i = 0; i < batch.seriesCount; i++) {
      const labels = decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]);
      for (let k = batch.sampleStart[i] as number; k < (batch.sampleStart[i + 1] as number); k++) {
        const timestampMs = batch.timestamps[k] as number;
        this.samples.push({
          tenant,
          labels,
          timestampMs,
          value: batch.values[k] as number,
          stale: isStale(batch.values, k),
        });
        count++;
      }
    }
    this.metadata.push(...(batch.metadata ?? []));
    return { samples: count, histograms: 0, exemplars: 0, rejected: [] };
  }

  /** Lines `name{labels} value`, sorted, of one timestamp or of all; `STALE` for markers. */
  lines(timestampMs?: number): string[] {
    return this.samples
      .filter(sample => timestampMs === undefined || sample.timestampMs === timestampMs)
      .map(sample => `${formatLabels(sample.labels)} ${sample.stale ? 'STALE' : sample.value}`)
      .sort();
  }

  clear(): void {
    this.samples = [];
    this.metadata = [];
  }
}

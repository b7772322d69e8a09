/**
 * HostWriter: what collectors write their samples to, one round at a time. It remembers each series' labels between rounds, and
 * ends with a staleness marker those that a round no longer has (a disk pulled out, an interface gone).
 */

import { type Labels, labelsFromMap, METRIC_NAME } from '../../model/labels.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { BatchBuilder } from '../batch-builder.ts';

export type HostMetricType = 'counter' | 'gauge' | 'unknown';

/** Where collectors put samples. `labels` is flat, [name, value, ...], any order, without the name. */
export interface HostSamples {
  counter(name: string, help: string, value: number, labels?: readonly string[]): void;
  gauge(name: string, help: string, value: number, labels?: readonly string[]): void;
  /** A kernel counter that node_exporter calls untyped. */
  unknown(name: string, help: string, value: number, labels?: readonly string[]): void;
}

interface Entry {
  labels: Labels;
  round: number;
}

/** A host with more series than this has something wrong with it; the rest is dropped and counted. */
const SERIES_MAX = 20_000;

export class HostWriter implements HostSamples {
  /** Samples that did not fit. */
  dropped = 0;
  private readonly builder: BatchBuilder;
  private readonly common: readonly (readonly [string, string])[];
  private readonly series = new Map<string, Entry>();
  private readonly described = new Map<string, MetadataEntry>();
  private round = 0;
  private timestampMs = 0;

  /** `common` labels are put on each series. */
  constructor(builder: BatchBuilder, common: Readonly<Record<string, string>>) {
    this.builder = builder;
    this.common = Object.entries(common);
  }

  get seriesCount(): number {
    return this.series.size;
  }

  begin(timestampMs: number): void {
    this.round++;
    this.timestampMs = timestampMs;
    this.builder.reset();
  }

  counter(name: string, help: string, value: number, labels: readonly string[] = []): void {
    this.add(name, 'counter', help, value, labels);
  }

  gauge(name: string, help: string, value: number, labels: readonly string[] = []): void {
    this.add(name, 'gauge', help, value, labels);
  }

  unknown(name: string, help: string, value: number, labels: readonly string[] = []): void {
    this.add(name, 'unknown', help, value, labels);
  }

  /** Ends series that this round did not have; call before `finish`. */
  endMissing(): void {
    for (const [key, entry] of this.series) {
      if (entry.round === this.round) continue;
      this.builder.addSeries(entry.labels);
      this.builder.addStale(this.timestampMs);
      this.series.delete(key);
    }
  }

  /** Adds type and help of everything seen so far. */
  addMetadata(): void {
    for (const entry of this.described.values()) this.builder.addMetadata(entry);
  }

  private add(name: string, type: HostMetricType, help: string, value: number, labels: readonly string[]): void {
    if (!Number.isFinite(value)) return;
    const key = labels.length === 0 ? name : `${name}\0${labels.join('\0')}`;
    let entry = this.series.get(key);
    if (entry === undefined) {
      if (this.series.size >= SERIES_MAX) {
        this.dropped++;
        return;
      }
      entry = { labels: this.labelsOf(name, labels), round: 0 };
      this.series.set(key, entry);
      if (!this.described.has(name)) this.described.set(name, { metric: name, type, help, unit: '' });
    }
    // The same series twice in a round: the first counts.
    if (entry.round === this.round) return;
    entry.round = this.round;
    this.builder.addSeries(entry.labels);
    this.builder.addSample(this.timestampMs, value);
  }

  private labelsOf(name: string, labels: readonly string[]): Labels {
    const map = new Map<string, string>(this.common);
    map.set(METRIC_NAME, name);
    for (let i = 0; i < labels.length; i += 2) map.set(labels[i] as string, (labels[i + 1] as string).toWellFormed());
    return labelsFromMap(map);
  }
}

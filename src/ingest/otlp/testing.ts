/** For tests: OTLP/JSON in, the batch out as lines of text, one per sample. */
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { decodeLabels, formatLabels } from '../../model/labels.ts';
import type { SampleBatch } from '../../model/sample-batch.ts';
import { isStale } from '../../model/stale.ts';
import { type DecodedMetrics, OtlpDecoder } from './decode.ts';
import { DeltaStore } from './delta.ts';
import { metricsFromJson } from './json.ts';
import { DEFAULT_OTLP_SETTINGS, type OtlpSettings } from './settings.ts';

export const TEST_SEED: Uint32Array = new IdentityHasher(new Uint8Array(16)).tenantSeed('default');
/** Nanoseconds of 2023-11-14T22:13:20Z, and the same in ms. */
export const T0_NS = 1_700_000_000_000_000_000n;
export const T0_MS = 1_700_000_000_000;

export function nanos(seconds: number): string {
  return String(T0_NS + BigInt(Math.round(seconds * 1e9)));
}

/** A resource's metrics of one scope. */
export function request(metrics: unknown[], resource: Record<string, unknown> = { 'service.name': 'shop' }): unknown {
  return {
    resourceMetrics: [
      {
        resource: { attributes: attributes(resource) },
        scopeMetrics: [{ scope: { name: 'lib', version: '1.2' }, metrics }],
      },
    ],
  };
}

export function attributes(map: Record<string, unknown>): unknown[] {
  return Object.entries(map).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): unknown {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'bigint') return { intValue: String(value) };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: value } : { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  return { kvlistValue: { values: attributes(value as Record<string, unknown>) } };
}

export class TestDecoder {
  nowMs = T0_MS;
  readonly deltas: DeltaStore;
  private readonly decoder: OtlpDecoder;

  constructor(settings: Partial<OtlpSettings> = {}) {
    const all = { ...DEFAULT_OTLP_SETTINGS, ...settings };
    this.deltas = new DeltaStore(() => this.nowMs);
    this.deltas.maxSeries = all.deltaMaxSeries;
    this.deltas.maxStaleMs = all.deltaMaxStaleMs;
    this.decoder = new OtlpDecoder(all, () => this.nowMs);
  }

  decode(json: unknown): DecodedMetrics {
    return this.bytes(metricsFromJson(Buffer.from(JSON.stringify(json))));
  }

  bytes(message: Uint8Array): DecodedMetrics {
    return this.decoder.decode(message, TEST_SEED, this.deltas);
  }

  lines(json: unknown): string[] {
    return linesOf(this.decode(json).batch);
  }
}

/** `name{...} value @seconds since T0`, with `start` where known; in the order of the batch. */
export function linesOf(batch: SampleBatch): string[] {
  const out: string[] = [];
  for (let i = 0; i < batch.seriesCount; i++) {
    const labels = formatLabels(decodeLabels(batch.labelBytes, batch.labelStart[i], batch.labelEnd[i]));
    for (let row = batch.sampleStart[i] as number; row < (batch.sampleStart[i + 1] as number); row++) {
      const value = isStale(batch.values, row) ? 'stale' : String(batch.values[row]);
      const start = batch.startTimestamps?.[row] ?? 0;
      out.push(`${labels} ${value} ${at(batch.timestamps[row] as number)}${start > 0 ? ` start ${at(start)}` : ''}`);
    }
    for (const h of batch.histograms ?? []) {
      if (h.series !== i) continue;
      const { histogram: n } = h;
      const text = JSON.stringify({ ...n, integer: undefined, counterResetHint: undefined });
      out.push(
        `${labels} ${text} ${at(h.timestampMs)}${h.startTimestampMs > 0 ? ` start ${at(h.startTimestampMs)}` : ''}`,
      );
    }
    for (const e of batch.exemplars ?? []) {
      if (e.series === i) out.push(`${labels} # ${formatLabels(e.labels)} ${e.value} ${at(e.timestampMs)}`);
    }
  }
  return out;
}

function at(ms: number): string {
  return `@${(ms - T0_MS) / 1000}`;
}

/**
 * What goes out of a series: its labels with the external ones, relabelled, encoded once; and which of the parallel senders it belongs
 * to, so that its samples stay in order.
 */
import { decodeLabels, encodeLabels, getLabel, type Labels, labelsFromMap, METRIC_NAME } from '../../model/labels.ts';
import type { Batch } from './batch.ts';

export interface OutSeries {
  labels: Labels;
  /** Canonical, which is how remote write 1.0 has it. */
  encoded: Uint8Array;
  name: string;
  hash: number;
  /** Its place in the batch that it stands in. */
  batch: Batch | null;
  slot: number;
}

/** Changes labels in place; false = not to be sent. */
export type Relabel = (labels: Map<string, string>) => boolean;

export interface Outgoing {
  relabel: Relabel | null;
  externalLabels: ReadonlyMap<string, string>;
}

/** null where the series is not sent. */
export function outSeries(raw: Uint8Array, { relabel, externalLabels }: Outgoing): OutSeries | null {
  let labels = decodeLabels(raw);
  let encoded: Uint8Array | null = null;
  if (relabel !== null || externalLabels.size > 0) {
    const map = new Map<string, string>();
    for (let i = 0; i < labels.length; i += 2) map.set(labels[i] as string, labels[i + 1] as string);
    for (const [name, value] of externalLabels) if (!map.has(name)) map.set(name, value);
    if (relabel !== null && !relabel(map)) return null;
    labels = labelsFromMap(map);
    if (labels.length === 0) return null;
    encoded = encodeLabels(labels);
  }
  encoded ??= raw.slice();
  return { labels, encoded, name: getLabel(labels, METRIC_NAME), hash: fnv(encoded), batch: null, slot: 0 };
}

/** Series of one source by ref. A ref that is told again with the same labels keeps what is known of it. */
export class OutSeriesTable {
  private readonly known: ({ raw: Uint8Array; out: OutSeries | null } | undefined)[] = [];
  private readonly outgoing: Outgoing;

  constructor(outgoing: Outgoing) {
    this.outgoing = outgoing;
  }

  set(ref: number, raw: Uint8Array): void {
    const before = this.known[ref];
    if (before !== undefined && Buffer.compare(before.raw, raw) === 0) return;
    this.known[ref] = { raw: raw.slice(), out: outSeries(raw, this.outgoing) };
  }

  /** null: not sent; undefined: never explained, which only damage can cause. */
  get(ref: number): OutSeries | null | undefined {
    return this.known[ref]?.out;
  }
}

function fnv(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0;
}

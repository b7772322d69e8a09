/**
 * Vector matching: which rows of two vectors belong together, by the labels named in on(...) or left by ignoring(...).
 * Signatures are numbered once per row, for both sides together; everything else works with the numbers.
 */
import { getLabel, type Labels, METRIC_NAME } from '../../model/labels.ts';

export interface MatchLabels {
  on: boolean;
  labels: readonly string[];
}

export class Signatures {
  count = 0;
  private readonly ordinals = new Map<string, number>();
  private readonly on: boolean;
  private readonly names: readonly string[];
  private readonly ignored: ReadonlySet<string>;

  constructor(matching: MatchLabels) {
    this.on = matching.on;
    this.names = [...new Set(matching.labels)].sort();
    this.ignored = new Set([...matching.labels, METRIC_NAME]);
  }

  /** The same number exactly for label sets that match. */
  ordinalOf(labels: Labels): number {
    const key = this.keyOf(labels);
    let ordinal = this.ordinals.get(key);
    if (ordinal === undefined) {
      ordinal = this.count++;
      this.ordinals.set(key, ordinal);
    }
    return ordinal;
  }

  private keyOf(labels: Labels): string {
    let key = '';
    if (this.on) {
      for (const name of this.names) {
        const value = getLabel(labels, name);
        key += `${value.length}:${value}`;
      }
      return key;
    }
    for (let i = 0; i < labels.length; i += 2) {
      const name = labels[i] as string;
      if (this.ignored.has(name)) continue;
      const value = labels[i + 1] as string;
      key += `${name.length}:${name}${value.length}:${value}`;
    }
    return key;
  }
}

/** The labels that a match is made on: those named, or all but those ignored and the name. */
export function matchLabels(labels: Labels, matching: MatchLabels): Labels {
  const names = new Set(matching.labels);
  const out: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    const name = labels[i] as string;
    const keep = matching.on ? names.has(name) : !names.has(name) && name !== METRIC_NAME;
    if (keep) out.push(name, labels[i + 1] as string);
  }
  return out;
}

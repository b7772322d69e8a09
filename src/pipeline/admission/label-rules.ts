/**
 * LabelRules: what a series' labels may be: how many, how long, and which names are not wanted in metrics at all.
 *
 * Works on the canonical encoding (model/labels.ts), without making a string; asked once per new series. On the way it notes
 * where the metric's name stands, which whoever counts series by metric needs next.
 */
import { formatLabels, METRIC_NAME } from '../../model/labels.ts';
import type { TenantLimits } from './limits.ts';

export type LabelProblem = 'label_blocked' | 'too_many_labels' | 'label_name_too_long' | 'label_value_too_long';

/** Text of a label shown in a message: characters. */
const SHOWN_MAX = 100;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NAME_BYTES = encoder.encode(METRIC_NAME);

export class LabelRules {
  private readonly limits: TenantLimits;
  /** Blocked names, at the index of their length in bytes. */
  private readonly blocked: (Uint8Array[] | null)[] = [];
  /** Of the series checked last: the bytes of its metric's name; equal where it has none. */
  metricStart = 0;
  metricEnd = 0;
  /** Of the series checked last: the label that is wrong, and how many labels there are. */
  private labelStart = 0;
  private labelEnd = 0;
  private valueBytes = 0;
  private count = 0;

  constructor(limits: TenantLimits) {
    this.limits = limits;
    for (const name of limits.blockedLabels) {
      const bytes = encoder.encode(name);
      while (this.blocked.length <= bytes.length) this.blocked.push(null);
      const same = this.blocked[bytes.length] ?? [];
      same.push(bytes);
      this.blocked[bytes.length] = same;
    }
  }

  /** Null where nothing is wrong. Bytes that are no canonical encoding end the check: the store refuses them itself. */
  check(bytes: Uint8Array, start: number, end: number): LabelProblem | null {
    const { labelsPerSeries, labelNameBytes, labelValueBytes } = this.limits;
    let problem: LabelProblem | null = null;
    let count = 0;
    this.metricStart = 0;
    this.metricEnd = 0;
    for (let p = start; p < end; ) {
      // Lengths below 128 are one byte, which is nearly all of them.
      let inner = p + 1 < end ? (bytes[p + 1] as number) : -1;
      let body = p + 2;
      if (inner >= 0x80) {
        inner = varint(bytes, p + 1, end);
        body = p + 1 + sizeOf(inner);
      }
      const next = body + inner;
      let nameLength = body + 1 < end ? (bytes[body + 1] as number) : -1;
      let name = body + 2;
      if (nameLength >= 0x80) {
        nameLength = varint(bytes, body + 1, end);
        name = body + 1 + sizeOf(nameLength);
      }
      const nameEnd = name + nameLength;
      let valueLength = nameEnd + 1 < end ? (bytes[nameEnd + 1] as number) : -1;
      let value = nameEnd + 2;
      if (valueLength >= 0x80) {
        valueLength = varint(bytes, nameEnd + 1, end);
        value = nameEnd + 1 + sizeOf(valueLength);
      }
      if (inner < 0 || nameLength <= 0 || valueLength < 0 || next > end || value + valueLength !== next) break;
      count++;
      if (nameLength === NAME_BYTES.length && equal(bytes, name, NAME_BYTES)) {
        this.metricStart = value;
        this.metricEnd = next;
      }
      if (problem === null) {
        if (labelNameBytes > 0 && nameLength > labelNameBytes) problem = 'label_name_too_long';
        else if (labelValueBytes > 0 && valueLength > labelValueBytes) problem = 'label_value_too_long';
        else if (nameLength < this.blocked.length && this.isBlocked(bytes, name, nameLength)) problem = 'label_blocked';
        if (problem !== null) {
          this.labelStart = name;
          this.labelEnd = nameEnd;
          this.valueBytes = valueLength;
        }
      }
      p = next;
    }
    this.count = count;
    if (problem === null && labelsPerSeries > 0 && this.count > labelsPerSeries) return 'too_many_labels';
    return problem;
  }

  /** The problem that `check` has just found, in words. */
  explain(problem: LabelProblem, bytes: Uint8Array): string {
    const { limits } = this;
    const metric = this.metric(bytes);
    const label = JSON.stringify(shown(decoder.decode(bytes.subarray(this.labelStart, this.labelEnd))));
    switch (problem) {
      case 'label_blocked':
        return (
          `metric ${metric}: label ${label} stands in limits.blocked_labels: it has a value per user or request, and every value ` +
          `would be a series. Drop it at the sender or with a labeldrop rule; put such ids into exemplars, traces or logs`
        );
      case 'label_name_too_long':
        return (
          `metric ${metric}: the label name ${label} has ${this.labelEnd - this.labelStart} bytes, limits.label_name_length ` +
          `is ${limits.labelNameBytes}. Shorten it with a labelmap rule, or raise the limit`
        );
      case 'label_value_too_long':
        return (
          `metric ${metric}: the value of label ${label} has ${this.valueBytes} bytes, limits.label_value_length is ` +
          `${limits.labelValueBytes}. Drop or shorten it with a relabel rule; long texts belong into logs`
        );
      case 'too_many_labels':
        return (
          `metric ${metric}: a series has ${this.count} labels, limits.labels_per_series is ${limits.labelsPerSeries}. Drop ` +
          'some with a labeldrop rule, or raise the limit'
        );
    }
  }

  /** The metric of the series checked last, as text. */
  metric(bytes: Uint8Array): string {
    const name = decoder.decode(bytes.subarray(this.metricStart, this.metricEnd));
    return name === '' ? '(without a name)' : formatLabels([METRIC_NAME, shown(name)]);
  }

  private isBlocked(bytes: Uint8Array, name: number, length: number): boolean {
    const same = this.blocked[length];
    if (same === null || same === undefined) return false;
    for (const blocked of same) if (equal(bytes, name, blocked)) return true;
    return false;
  }
}

function shown(text: string): string {
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}...`.toWellFormed();
}

function equal(bytes: Uint8Array, at: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) if (bytes[at + i] !== other[i]) return false;
  return true;
}

/** A varint of up to 4 bytes; -1 where it is none or ends beyond `end`. */
function varint(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + i >= end) return -1;
    const b = bytes[at + i] as number;
    value |= (b & 0x7f) << (7 * i);
    if (b < 0x80) return value;
  }
  return -1;
}

function sizeOf(n: number): number {
  return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : 4;
}

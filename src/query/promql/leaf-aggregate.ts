/**
 * PartialAggregate: sum, avg, count, min, max or group of float rows by label groups, held as columns over the grid.
 *
 * Rows are folded in one by one, so that the series themselves need not be kept. The state can be handed on as leaf rows
 * and merged with that of other shards: sums carry their Kahan compensation, averages their counts. A sum that would
 * overflow goes on as a running mean, so that averages of huge values stay finite, as in Prometheus.
 */
import type { LeafAggregate, LeafRow } from '../../contracts/leaf-source.ts';
import { kahanError } from '../../lib/kahan.ts';
import { EMPTY_LABELS, getLabel, type Labels, METRIC_NAME } from '../../model/labels.ts';

export type PartialOp = LeafAggregate['op'];

/** Finds the group of a label set without building text per series where one label, or none, decides. */
export class Grouping {
  readonly labels: Labels[] = [];
  private readonly byKey = new Map<string, number>();
  private readonly without: boolean;
  private readonly names: readonly string[];
  private readonly nameSet: ReadonlySet<string>;

  constructor(without: boolean, names: readonly string[]) {
    this.without = without;
    this.names = [...new Set(names)];
    this.nameSet = new Set(without ? [...names, METRIC_NAME] : names);
  }

  /** Index into `labels`. */
  indexOf(labels: Labels): number {
    const key = this.keyOf(labels);
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    const index = this.labels.length;
    this.byKey.set(key, index);
    this.labels.push(this.groupLabels(labels));
    return index;
  }

  private keyOf(labels: Labels): string {
    if (!this.without) {
      if (this.names.length === 0) return '';
      if (this.names.length === 1) return getLabel(labels, this.names[0] as string);
      let key = '';
      for (const name of this.names) {
        const value = getLabel(labels, name);
        key += `${value.length}:${value}`;
      }
      return key;
    }
    let key = '';
    for (let i = 0; i < labels.length; i += 2) {
      const name = labels[i] as string;
      if (this.nameSet.has(name)) continue;
      const value = labels[i + 1] as string;
      key += `${name.length}:${name}${value.length}:${value}`;
    }
    return key;
  }

  private groupLabels(labels: Labels): Labels {
    if (!this.without && this.names.length === 0) return EMPTY_LABELS;
    const out: string[] = [];
    for (let i = 0; i < labels.length; i += 2) {
      if (this.nameSet.has(labels[i] as string) === this.without) continue;
      out.push(labels[i] as string, labels[i + 1] as string);
    }
    return out;
  }
}

export class PartialAggregate {
  readonly op: PartialOp;
  readonly steps: number;
  readonly rows: LeafRow[] = [];

  constructor(op: PartialOp, steps: number) {
    this.op = op;
    this.steps = steps;
  }

  /** The state of a group, made at its first use. Groups come in order: 0, 1, 2, ... */
  private rowOf(group: number, labels: Labels): LeafRow {
    const known = this.rows[group];
    if (known !== undefined) return known;
    const kahan = this.op === 'sum' || this.op === 'avg';
    const row: LeafRow = {
      labels,
      values: new Float64Array(this.steps),
      present: new Uint8Array(this.steps),
      histograms: null,
      compensation: kahan ? new Float64Array(this.steps) : null,
      counts: this.op === 'avg' ? new Float64Array(this.steps) : null,
    };
    this.rows[group] = row;
    return row;
  }

  /** Adds the floats of one series. */
  fold(group: number, labels: Labels, values: Float64Array, present: Uint8Array): void {
    const row = this.rowOf(group, labels);
    switch (this.op) {
      case 'sum':
        foldSum(row, values, present, this.steps);
        break;
      case 'avg':
        foldAvg(row, values, present, this.steps);
        break;
      case 'count':
        for (let i = 0; i < this.steps; i++) {
          row.values[i] = (row.values[i] as number) + (present[i] as number);
          row.present[i] = (row.present[i] as number) | (present[i] as number);
        }
        break;
      case 'group':
        for (let i = 0; i < this.steps; i++) {
          if (present[i] === 0) continue;
          row.values[i] = 1;
          row.present[i] = 1;
        }
        break;
      case 'min':
        foldExtreme(row, values, present, this.steps, -1);
        break;
      case 'max':
        foldExtreme(row, values, present, this.steps, 1);
        break;
    }
  }

  /** One histogram at a step counts like a float for count and group; other aggregates do not know it. */
  foldHistogramStep(group: number, labels: Labels, step: number): void {
    const row = this.rowOf(group, labels);
    row.values[step] = this.op === 'count' ? (row.values[step] as number) + 1 : 1;
    row.present[step] = 1;
  }
}

function foldSum(row: LeafRow, values: Float64Array, present: Uint8Array, steps: number): void {
  const sums = row.values;
  const lost = row.compensation as Float64Array;
  const seen = row.present;
  for (let i = 0; i < steps; i++) {
    if (present[i] === 0) continue;
    const x = values[i] as number;
    const sum = sums[i] as number;
    const t = sum + x;
    lost[i] = (lost[i] as number) + kahanError(x, sum, t);
    sums[i] = t;
    seen[i] = 1;
  }
}

function foldAvg(row: LeafRow, values: Float64Array, present: Uint8Array, steps: number): void {
  for (let i = 0; i < steps; i++) if (present[i] !== 0) addToMean(row, i, values[i] as number, 0, 1, false);
}

/** Adds a part of an average: a sum over `count` values with its compensation, or (isMean) their mean. */
function addToMean(row: LeafRow, i: number, value: number, lost: number, count: number, isMean: boolean): void {
  const counts = row.counts as Float64Array;
  const compensation = row.compensation as Float64Array;
  const before = counts[i] as number;
  const total = before + count;
  counts[i] = total;
  row.present[i] = 1;
  if (before === 0) {
    row.values[i] = value;
    compensation[i] = lost;
    if (isMean) markMean(row, i);
    return;
  }
  const have = row.values[i] as number;
  const inMean = row.means?.[i] === 1;
  if (!inMean && !isMean) {
    const t = have + value;
    if (t !== Number.POSITIVE_INFINITY && t !== Number.NEGATIVE_INFINITY) {
      compensation[i] = (compensation[i] as number) + lost + kahanError(value, have, t);
      row.values[i] = t;
      return;
    }
  }
  const mean = inMean ? have : have / before;
  const meanLost = inMean ? (compensation[i] as number) : (compensation[i] as number) / before;
  // A part in sum form is divided as a whole; one in mean form is weighed.
  const part = isMean ? value * (count / total) : value / total;
  const partLost = isMean ? lost * (count / total) : lost / total;
  const weight = before / total;
  const base = weight * mean;
  const t = base + part;
  row.values[i] = t;
  compensation[i] =
    Math.abs(t) === Number.POSITIVE_INFINITY ? 0 : weight * meanLost + partLost + kahanError(part, base, t);
  markMean(row, i);
}

function markMean(row: LeafRow, i: number): void {
  row.means ??= new Uint8Array(row.values.length);
  row.means[i] = 1;
}

function foldExtreme(row: LeafRow, values: Float64Array, present: Uint8Array, steps: number, sign: 1 | -1): void {
  const best = row.values;
  const seen = row.present;
  for (let i = 0; i < steps; i++) {
    if (present[i] === 0) continue;
    const x = values[i] as number;
    const b = best[i] as number;
    if (seen[i] === 0 || sign * x > sign * b || b !== b) best[i] = x;
    seen[i] = 1;
  }
}

/** Adds the state of the same group from another part. */
export function mergePartial(op: PartialOp, into: LeafRow, from: LeafRow): void {
  const steps = into.values.length;
  switch (op) {
    case 'sum': {
      const lost = into.compensation as Float64Array;
      for (let i = 0; i < steps; i++) {
        if (from.present[i] === 0) continue;
        const x = from.values[i] as number;
        const sum = into.values[i] as number;
        const t = sum + x;
        const bothLost = (lost[i] as number) + ((from.compensation as Float64Array)[i] as number);
        lost[i] = Math.abs(t) === Number.POSITIVE_INFINITY ? 0 : bothLost + kahanError(x, sum, t);
        into.values[i] = t;
        into.present[i] = 1;
      }
      break;
    }
    case 'avg':
      for (let i = 0; i < steps; i++) {
        if (from.present[i] === 0) continue;
        const lost = (from.compensation as Float64Array)[i] as number;
        const count = (from.counts as Float64Array)[i] as number;
        addToMean(into, i, from.values[i] as number, lost, count, from.means?.[i] === 1);
      }
      break;
    case 'count':
      for (let i = 0; i < steps; i++) {
        into.values[i] = (into.values[i] as number) + (from.present[i] === 0 ? 0 : (from.values[i] as number));
        into.present[i] = (into.present[i] as number) | (from.present[i] as number);
      }
      break;
    case 'group':
    case 'max':
      foldExtreme(into, from.values, from.present, steps, 1);
      break;
    case 'min':
      foldExtreme(into, from.values, from.present, steps, -1);
      break;
  }
}

/** Turns partial states into final values, in place. */
export function finishPartial(op: PartialOp, row: LeafRow): void {
  if (op !== 'sum' && op !== 'avg') return;
  const lost = row.compensation as Float64Array;
  for (let i = 0; i < row.values.length; i++) {
    if (row.present[i] === 0) continue;
    const v = row.values[i] as number;
    if (op === 'sum' || row.means?.[i] === 1) row.values[i] = v + (lost[i] as number);
    else {
      const n = (row.counts as Float64Array)[i] as number;
      row.values[i] = v / n + (lost[i] as number) / n;
    }
  }
}

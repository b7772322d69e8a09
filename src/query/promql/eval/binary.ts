/**
 * Binary operators between vectors, whole rows at a time.
 *
 * Rows are paired once, by signature; each pair is then computed over all steps where both have a sample. Whether a match is
 * legal is a matter of single steps: two series may share a signature as long as they are never there together. One
 * side is the "one" side; the other may have several rows a signature (always legal to match with group_left/right,
 * for one-to-one only at different steps).
 */
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import { getLabel, keepLabels, type Labels, labelsKey, withLabel } from '../../../model/labels.ts';
import { matchLabels, Signatures } from '../../shared/matching.ts';
import { seriesText } from '../../shared/series-text.ts';
import type { Annotations } from '../annotations.ts';
import type { Binary, VectorMatching } from '../ast.ts';
import type { EvalContext } from './context.ts';
import { arithmetic, binarySample, changesMetric, compare, isComparison, type SampleResult } from './operators.ts';
import {
  clearStep,
  hasSample,
  isEmptyRow,
  newRow,
  presenceOf,
  putHistogram,
  type Row,
  sortRows,
  withoutMetadata,
} from './value.ts';

interface Sides {
  e: Binary;
  matching: VectorMatching;
  /** The "one" side was written on the left: operands are swapped back for computing. */
  swapped: boolean;
  many: Row[];
  one: Row[];
  manyBySignature: Row[][];
  oneBySignature: Row[][];
  steps: number;
  notes: Annotations;
  delayedNames: boolean;
}

export async function vectorVector(
  ctx: EvalContext,
  e: Binary,
  left: Row[],
  right: Row[],
  steps: number,
): Promise<Row[]> {
  const matching = e.matching as VectorMatching;
  const swapped = matching.card === 'one-to-many';
  const [many, one] = swapped ? [right, left] : [left, right];
  const noFill = matching.fillLeft === null && matching.fillRight === null;
  if ((many.length === 0 && one.length === 0) || ((many.length === 0 || one.length === 0) && noFill)) return [];
  const signatures = new Signatures(matching);
  const sides: Sides = {
    e,
    matching,
    swapped,
    many,
    one,
    manyBySignature: group(many, signatures),
    oneBySignature: group(one, signatures),
    steps,
    notes: ctx.notes,
    delayedNames: ctx.delayedNames,
  };
  checkOneSide(sides);
  const out: Row[] = [];
  for (let s = 0; s < signatures.count; s++) {
    if (ctx.due()) await ctx.pause();
    const manyRows = sides.manyBySignature[s] ?? [];
    const oneRows = sides.oneBySignature[s] ?? [];
    if (matching.card === 'one-to-one' && manyRows.length > 1) checkOneToOne(sides, manyRows, oneRows);
    const made = pairs(sides, manyRows, oneRows);
    if (matching.card !== 'one-to-one' && made.length > 1) checkUnique(made);
    for (const p of made) if (!isEmptyRow(p.row)) out.push(p.row);
  }
  return out;
}

function group(rows: readonly Row[], signatures: Signatures): Row[][] {
  const out: Row[][] = [];
  for (const row of rows) {
    const ordinal = signatures.ordinalOf(row.labels);
    const list = out[ordinal];
    if (list === undefined) out[ordinal] = [row];
    else list.push(row);
  }
  return out;
}

/** Steps at which any of the rows has a sample. */
function union(rows: readonly Row[], steps: number): Uint8Array {
  const out = new Uint8Array(steps);
  for (const row of rows) {
    const present = presenceOf(row);
    for (let i = 0; i < steps; i++) out[i] = (out[i] as number) | (present[i] as number);
  }
  return out;
}

function checkOneSide(sides: Sides): void {
  const { matching, steps } = sides;
  let active: Uint8Array | null = null;
  for (const rows of sides.oneBySignature) {
    if (rows === undefined || rows.length < 2) continue;
    // A step at which one side is empty altogether matches nothing, and complains about nothing.
    active ??= matching.fillLeft === null && matching.fillRight === null ? union(sides.many, steps) : null;
    for (let i = 0; i < steps; i++) {
      if (active !== null && active[i] === 0) continue;
      const there = rows.filter(r => hasSample(r, i));
      if (there.length < 2) continue;
      const side = sides.swapped ? 'left' : 'right';
      const [first, second] = sortRows(there.slice(0, 2)) as [Row, Row];
      throw new PromqlEvalError(
        `found duplicate series for the match group ${seriesText(matchLabels(second.labels, matching))} on the ${side} hand-side of the operation: ` +
          `[${seriesText(first.labels)}, ${seriesText(second.labels)}];many-to-many matching not allowed: matching labels must be unique on one side`,
      );
    }
  }
}

function checkOneToOne(sides: Sides, manyRows: readonly Row[], oneRows: readonly Row[]): void {
  const one = sides.matching.fillRight !== null ? null : union(oneRows, sides.steps);
  const seen = new Uint8Array(sides.steps);
  for (const row of manyRows) {
    const present = presenceOf(row);
    for (let i = 0; i < sides.steps; i++) {
      if (present[i] === 0 || (one !== null && one[i] === 0)) continue;
      if (seen[i] === 1) {
        throw new PromqlEvalError(
          'multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)',
        );
      }
      seen[i] = 1;
    }
  }
}

/** A result row and the steps at which its operands met, whether or not a comparison kept the value. */
interface Paired {
  row: Row;
  matched: Uint8Array;
}

function checkUnique(made: readonly Paired[]): void {
  const byKey = new Map<string, Uint8Array>();
  for (const { row, matched } of made) {
    const key = labelsKey(row.labels);
    const have = byKey.get(key);
    if (have === undefined) {
      byKey.set(key, matched.slice());
      continue;
    }
    for (let i = 0; i < matched.length; i++) {
      if (matched[i] === 0) continue;
      if (have[i] === 1) {
        throw new PromqlEvalError('multiple matches for labels: grouping labels must ensure unique matches');
      }
      have[i] = 1;
    }
  }
}

function pairs(sides: Sides, manyRows: readonly Row[], oneRows: readonly Row[]): Paired[] {
  const { matching, steps } = sides;
  const made: Paired[] = [];
  for (const l of manyRows) for (const r of oneRows) made.push(computePair(sides, l, r));
  // The fill values belong to the sides as matched: left to "many", right to "one", however they were written.
  if (matching.fillRight !== null) {
    const there = union(oneRows, steps);
    for (const l of manyRows) {
      const stand = fillRow(l, matching, matching.fillRight, there, steps);
      if (stand !== null) made.push(computePair(sides, l, stand));
    }
  }
  if (matching.fillLeft !== null) {
    const there = union(manyRows, steps);
    for (const r of oneRows) {
      const stand = fillRow(r, matching, matching.fillLeft, there, steps);
      if (stand !== null) made.push(computePair(sides, stand, r));
    }
  }
  return made;
}

/** A row of `value` at the steps where `row` finds no partner; null where it always does. */
function fillRow(row: Row, matching: VectorMatching, value: number, partner: Uint8Array, steps: number): Row | null {
  const present = presenceOf(row);
  const out = newRow(matchLabels(row.labels, matching), steps);
  let any = false;
  for (let i = 0; i < steps; i++) {
    if (present[i] === 0 || partner[i] === 1) continue;
    out.values[i] = value;
    out.present[i] = 1;
    any = true;
  }
  return any ? out : null;
}

function computePair(sides: Sides, many: Row, one: Row): Paired {
  const { e, steps, swapped } = sides;
  const row = newRow(resultLabels(sides, many.labels, one.labels), steps);
  row.dropName = e.returnBool;
  if (!sides.delayedNames && e.returnBool) row.labels = withoutMetadata(row.labels);
  const l = swapped ? one : many;
  const r = swapped ? many : one;
  if (many.histograms === null && one.histograms === null && e.op !== '</' && e.op !== '>/') {
    return { row, matched: floatPair(e, l, r, row) };
  }
  return { row, matched: mixedPair(sides, l, r, row) };
}

/** Fast path: neither side has histograms. */
function floatPair(e: Binary, l: Row, r: Row, out: Row): Uint8Array {
  const { op, returnBool } = e;
  const steps = out.values.length;
  const comparison = isComparison(op);
  // Arithmetic keeps every value: the steps that met are those of the result.
  const matched = comparison ? new Uint8Array(steps) : out.present;
  for (let i = 0; i < steps; i++) {
    if (l.present[i] === 0 || r.present[i] === 0) continue;
    matched[i] = 1;
    const a = l.values[i] as number;
    const b = r.values[i] as number;
    if (!comparison) {
      out.values[i] = arithmetic(op, a, b);
      out.present[i] = 1;
    } else if (returnBool) {
      out.values[i] = compare(op, a, b) ? 1 : 0;
      out.present[i] = 1;
    } else if (compare(op, a, b)) {
      out.values[i] = a;
      out.present[i] = 1;
    }
  }
  return matched;
}

function mixedPair(sides: Sides, l: Row, r: Row, out: Row): Uint8Array {
  const { e, notes } = sides;
  const result: SampleResult = { value: 0, histogram: null, keep: false };
  const matched = new Uint8Array(out.values.length);
  for (let i = 0; i < matched.length; i++) {
    if (!hasSample(l, i) || !hasSample(r, i)) continue;
    const hl = l.histograms?.[i] ?? null;
    const hr = r.histograms?.[i] ?? null;
    if (!binarySample(e.op, l.values[i] as number, hl, r.values[i] as number, hr, result, notes, e.pos)) continue;
    matched[i] = 1;
    store(out, i, result, e.returnBool);
  }
  return matched;
}

function store(out: Row, step: number, result: SampleResult, returnBool: boolean): void {
  if (returnBool) {
    out.values[step] = result.keep ? 1 : 0;
    out.present[step] = 1;
  } else if (result.keep) {
    if (result.histogram !== null) putHistogram(out, step, result.histogram);
    else {
      out.values[step] = result.value;
      out.present[step] = 1;
    }
  }
}

function resultLabels(sides: Sides, many: Labels, one: Labels): Labels {
  const { matching, e } = sides;
  let labels = changesMetric(e.op) ? withoutMetadata(many) : many;
  if (matching.card === 'one-to-one') {
    const names = new Set(matching.labels);
    labels = matching.on ? keepLabels(labels, names) : dropNames(labels, names);
  }
  for (const name of matching.include) labels = withLabel(labels, name, getLabel(one, name));
  return labels;
}

function dropNames(labels: Labels, names: ReadonlySet<string>): Labels {
  if (names.size === 0) return labels;
  const out: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (!names.has(labels[i] as string)) out.push(labels[i] as string, labels[i + 1] as string);
  }
  return out;
}

/** `and`, `or`, `unless`: rows pass or not by whether the other side has their signature at the step. */
export function setOperation(e: Binary, left: Row[], right: Row[], steps: number): Row[] {
  const signatures = new Signatures(e.matching as VectorMatching);
  const filtered = e.op === 'or' ? right : left;
  const deciding = e.op === 'or' ? left : right;
  const masks: Uint8Array[] = [];
  for (const row of deciding) {
    const ordinal = signatures.ordinalOf(row.labels);
    const mask = masks[ordinal] ?? new Uint8Array(steps);
    masks[ordinal] = mask;
    const present = presenceOf(row);
    for (let i = 0; i < steps; i++) mask[i] = (mask[i] as number) | (present[i] as number);
  }
  const wanted = e.op === 'and' ? 1 : 0;
  const out = e.op === 'or' ? [...left] : [];
  for (const row of filtered) {
    const mask = masks[signatures.ordinalOf(row.labels)];
    for (let i = 0; i < steps; i++) if ((mask === undefined ? 0 : mask[i]) !== wanted) clearStep(row, i);
    if (!isEmptyRow(row)) out.push(row);
  }
  return out;
}

/** A vector against a scalar, in place. `swapped`: the scalar is on the left. */
export function vectorScalar(
  e: Binary,
  rows: Row[],
  scalar: Float64Array,
  swapped: boolean,
  notes: Annotations,
  delayedNames: boolean,
): Row[] {
  const comparison = isComparison(e.op);
  const dropName = changesMetric(e.op) || e.returnBool;
  const out: Row[] = [];
  for (const row of rows) {
    if (row.histograms === null && e.op !== '</' && e.op !== '>/')
      floatsWithScalar(e, row, scalar, swapped, comparison);
    else mixedWithScalar(e, row, scalar, swapped, notes);
    if (isEmptyRow(row)) continue;
    if (dropName) {
      if (delayedNames) row.dropName = true;
      else row.labels = withoutMetadata(row.labels);
    }
    out.push(row);
  }
  return out;
}

function floatsWithScalar(e: Binary, row: Row, scalar: Float64Array, swapped: boolean, comparison: boolean): void {
  const { values, present } = row;
  for (let i = 0; i < values.length; i++) {
    if (present[i] === 0) continue;
    const v = values[i] as number;
    const s = scalar[i] as number;
    if (!comparison) values[i] = swapped ? arithmetic(e.op, s, v) : arithmetic(e.op, v, s);
    else {
      const keep = swapped ? compare(e.op, s, v) : compare(e.op, v, s);
      if (e.returnBool) values[i] = keep ? 1 : 0;
      else if (!keep) present[i] = 0;
    }
  }
}

function mixedWithScalar(e: Binary, row: Row, scalar: Float64Array, swapped: boolean, notes: Annotations): void {
  const result: SampleResult = { value: 0, histogram: null, keep: false };
  for (let i = 0; i < row.values.length; i++) {
    if (!hasSample(row, i)) continue;
    const h = row.histograms?.[i] ?? null;
    const v = row.values[i] as number;
    const s = scalar[i] as number;
    const ok = swapped
      ? binarySample(e.op, s, null, v, h, result, notes, e.pos)
      : binarySample(e.op, v, h, s, null, result, notes, e.pos);
    clearStep(row, i);
    if (!ok) continue;
    // A comparison keeps the vector's value, on whichever side it stands.
    if (swapped && isComparison(e.op)) {
      result.value = v;
      result.histogram = h;
    }
    store(row, i, result, e.returnBool);
  }
}

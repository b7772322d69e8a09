/**
 * Aggregates that pick series: topk, bottomk, limitk, limit_ratio. Rows keep their labels; at each step only the picked
 * ones keep their sample. At a single step topk and bottomk also order the rows.
 */
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import { formatFloatG } from '../../../lib/go-float.ts';
import { xxHash64 } from '../../../lib/xxhash64.ts';
import { compareLabels, type Labels } from '../../../model/labels.ts';
import type { Annotations } from '../annotations.ts';
import type { Aggregate, Expr } from '../ast.ts';
import { NOTES } from '../functions/notes.ts';
import { Grouping } from '../leaf-aggregate.ts';
import type { EvalContext } from './context.ts';
import { clearStep, copySample, hasSample, isEmptyRow, newRow, type Row, sortRows } from './value.ts';

export async function selectRows(
  ctx: EvalContext,
  e: Aggregate,
  param: Float64Array,
  rows: Row[],
  steps: number,
): Promise<Row[]> {
  if (!checkParam(e, param, ctx.notes)) return [];
  // Which series are picked must not depend on where they are stored.
  if (e.op === 'limitk') sortRows(rows);
  const grouping = new Grouping(e.without, e.grouping);
  const groups: Row[][] = [];
  for (const row of rows) {
    const group = grouping.indexOf(row.labels);
    const list = groups[group];
    if (list === undefined) groups[group] = [row];
    else list.push(row);
  }
  if (e.op === 'limit_ratio') return rows.filter(limitRatio(param, steps));
  const out: Row[] = [];
  for (const group of groups) {
    if (e.op === 'limitk') out.push(...limitk(group, param, steps));
    else out.push(...(await topk(ctx, e, group, param, steps)));
  }
  return out;
}

function checkParam(e: Aggregate, param: Float64Array, notes: Annotations): boolean {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let nan = false;
  for (const v of param) {
    if (v !== v) nan = true;
    if (v < min) min = v;
    if (v > max) max = v;
  }
  if (e.op === 'limit_ratio') {
    if (nan) throw new PromqlEvalError('Ratio value is NaN');
    if (max === 0 && min === 0) return false;
    const pos = (e.param as Expr).pos;
    if (max > 1) notes.warn(NOTES.invalidRatio(max, 1), pos);
    if (min < -1) notes.warn(NOTES.invalidRatio(min, -1), pos);
    return true;
  }
  if (nan) throw new PromqlEvalError('Parameter value is NaN');
  if (max < 1) return false;
  if (min <= -(2 ** 63)) throw new PromqlEvalError(`Scalar value ${formatFloatG(min)} underflows int64`);
  if (max >= 2 ** 63) throw new PromqlEvalError(`Scalar value ${formatFloatG(max)} overflows int64`);
  return true;
}

function limitk(group: readonly Row[], k: Float64Array, steps: number): Row[] {
  for (let i = 0; i < steps; i++) {
    let left = Math.trunc(k[i] as number);
    for (const row of group) if (hasSample(row, i) && --left < 0) clearStep(row, i);
  }
  return group.filter(r => !isEmptyRow(r));
}

/** Keeps a row where its hash, as a fraction of all hashes, lies below the ratio (or above 1 + a negative ratio). */
function limitRatio(ratio: Float64Array, steps: number): (row: Row) => boolean {
  return row => {
    const offset = Number(xxHash64(hashInput(row.labels))) / 2 ** 64;
    for (let i = 0; i < steps; i++) {
      const r = Math.max(-1, Math.min(1, ratio[i] as number));
      if (!(r >= 0 ? offset < r : offset >= 1 + r)) clearStep(row, i);
    }
    return !isEmptyRow(row);
  };
}

/** Labels as Prometheus hashes them: every name and value with its length in front. */
function hashInput(labels: Labels): Uint8Array {
  const parts: Buffer[] = [];
  for (const s of labels) {
    const bytes = Buffer.from(s);
    parts.push(
      bytes.length < 255
        ? Buffer.of(bytes.length)
        : Buffer.of(255, bytes.length & 255, (bytes.length >> 8) & 255, bytes.length >> 16),
      bytes,
    );
  }
  return Buffer.concat(parts);
}

async function topk(
  ctx: EvalContext,
  e: Aggregate,
  group: readonly Row[],
  k: Float64Array,
  steps: number,
): Promise<Row[]> {
  const sign = e.op === 'topk' ? 1 : -1;
  if (group.some(r => r.histograms?.some(h => h !== null))) {
    ctx.notes.info(NOTES.histogramIgnoredInAggregation(e.op), e.pos);
  }
  const picked = new Map<Row, Row>();
  for (let i = 0; i < steps; i++) {
    if (ctx.due()) await ctx.pause();
    for (const row of firstOf(group, i, Math.trunc(k[i] as number), sign)) {
      let out = picked.get(row);
      if (out === undefined) {
        out = newRow(row.labels, steps);
        out.dropName = row.dropName;
        picked.set(row, out);
      }
      copySample(row, out, i);
    }
  }
  return [...picked.values()];
}

/** Up to this many places a new one is put among them one by one; beyond it all rows are sorted. */
const INSERT_MAX = 256;

/** The rows of the `wanted` largest (sign 1) or smallest values at a step, best first; of equals the first by labels. */
function firstOf(group: readonly Row[], step: number, wanted: number, sign: 1 | -1): Row[] {
  if (wanted < 1) return [];
  const order = (a: Row, b: Row): number =>
    byValue(a.values[step] as number, b.values[step] as number, sign) || compareLabels(a.labels, b.labels);
  if (wanted > INSERT_MAX) {
    return group
      .filter(r => r.present[step] === 1)
      .sort(order)
      .slice(0, wanted);
  }
  const best: Row[] = [];
  for (const row of group) {
    if (row.present[step] === 0) continue;
    const last = best[wanted - 1];
    if (last !== undefined) {
      // Fast path: most rows are worse than all that are kept.
      const v = sign * (row.values[step] as number);
      if (v < sign * (last.values[step] as number) || order(row, last) >= 0) continue;
      best.pop();
    }
    let at = best.length;
    while (at > 0 && order(row, best[at - 1] as Row) < 0) at--;
    best.splice(at, 0, row);
  }
  return best;
}

/** Descending for sign 1, ascending for -1; NaN after everything. */
export function byValue(a: number, b: number, sign: number): number {
  if (a !== a) return b !== b ? 0 : 1;
  if (b !== b) return -1;
  return a === b ? 0 : sign * (a < b ? 1 : -1);
}

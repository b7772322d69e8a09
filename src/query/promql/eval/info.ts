/**
 * info(v, {selector}): adds labels of info metrics (target_info where the selector names none) to the series of v that share
 * `instance` and `job` with them. At each step the newest info series of a name counts, so that a label may change over
 * time: a base series then becomes several rows.
 */
import { RE2JS } from 're2js';
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import { getLabel, type Labels, labelsKey, METRIC_NAME, withLabel } from '../../../model/labels.ts';
import type { Matcher } from '../../../model/matcher.ts';
import type { Grid } from '../../shared/grid.ts';
import { seriesText } from '../../shared/series-text.ts';
import type { Call, Expr, VectorSelector } from '../ast.ts';
import { children } from '../validate.ts';
import type { Evaluator } from './evaluator.ts';
import {
  copySample,
  countPoints,
  hasSample,
  mergeSameLabels,
  newRow,
  type Row,
  type Value,
  vectorOf,
} from './value.ts';
import { arg } from './vector-call.ts';

const IDENTIFYING = ['instance', 'job'];
const DEFAULT_INFO = 'target_info';

export async function evalInfo(ev: Evaluator, e: Call, grid: Grid): Promise<Value> {
  const base = (await ev.evalVector(arg(e, 0), grid)).rows;
  const before = countPoints(base);
  const matchers = selectorOf(e.args[1])?.matchers ?? [{ name: METRIC_NAME, op: '=', value: DEFAULT_INFO }];
  const nameMatchers = matchers.filter(m => m.name === METRIC_NAME);
  const dataMatchers = matchers.filter(m => m.name !== METRIC_NAME);
  // Info metrics are not enriched by themselves. Only a matcher that asks for names can tell which they are.
  const isInfo = nameMatchers.some(m => m.op === '=' || m.op === '=~') ? nameMatchers.map(matcherTest) : [() => false];
  const ignored = new Set(base.filter(r => isInfo.every(t => t(getLabel(r.labels, METRIC_NAME)))));
  const info = await infoRows(
    ev,
    e,
    base.filter(r => !ignored.has(r)),
    nameMatchers,
    dataMatchers,
    grid,
  );
  const out: Row[] = [];
  const index = new InfoIndex(info, dataMatchers);
  for (const row of base) {
    if (ev.ctx.due()) await ev.ctx.pause();
    if (ignored.has(row)) out.push(row);
    else out.push(...index.enrich(row));
  }
  return ev.finish(vectorOf(mergeSameLabels(out)), before + countPoints(info));
}

function selectorOf(e: Expr | undefined): VectorSelector | null {
  if (e === undefined) return null;
  if (e.kind === 'selector') return e;
  return e.kind === 'paren' || e.kind === 'invariant' ? selectorOf(e.expr) : null;
}

function matcherTest(m: Matcher): (value: string) => boolean {
  if (m.op === '=') return v => v === m.value;
  if (m.op === '!=') return v => v !== m.value;
  const regex = RE2JS.compile(`^(?s:${m.value})$`);
  return m.op === '=~' ? v => regex.test(v) : v => !regex.test(v);
}

/** The info series that may belong to any of the base rows. */
async function infoRows(
  ev: Evaluator,
  e: Call,
  base: readonly Row[],
  nameMatchers: readonly Matcher[],
  dataMatchers: readonly Matcher[],
  grid: Grid,
): Promise<Row[]> {
  const matchers: Matcher[] = [];
  for (const name of IDENTIFYING) {
    const values = new Set(base.map(r => getLabel(r.labels, name)));
    values.delete('');
    if (values.size > 0) matchers.push({ name, op: '=~', value: [...values].map(v => RE2JS.quote(v)).join('|') });
  }
  if (matchers.length === 0) return [];
  matchers.push(...dataMatchers);
  if (nameMatchers.length === 0) matchers.unshift({ name: METRIC_NAME, op: '=', value: DEFAULT_INFO });
  else matchers.push(...nameMatchers);
  const selector: VectorSelector = {
    kind: 'selector',
    pos: e.pos,
    name: '',
    matchers,
    offsetMs: 0,
    offsetExpr: null,
    // Where the base series are pinned to a time, so are the info series.
    atMs: pinnedAt(arg(e, 0)),
    atBound: null,
    extended: null,
  };
  return (await ev.infoLeaf(selector, grid)).rows;
}

/** The `@` of the first selector. */
function pinnedAt(e: Expr): number | null {
  if (e.kind === 'selector') return e.atMs;
  if (e.kind === 'matrix') return e.selector.atMs;
  if (e.kind === 'subquery' && e.atMs !== null) return e.atMs;
  const first = children(e)[0];
  return first === undefined ? null : pinnedAt(first);
}

function identity(labels: Labels): string {
  return IDENTIFYING.map(n => getLabel(labels, n))
    .map(v => `${v.length}:${v}`)
    .join('');
}

class InfoIndex {
  /** identity -> info metric name -> its series. Row values are the times of their samples. */
  private readonly byIdentity = new Map<string, Map<string, Row[]>>();
  private readonly wanted: ReadonlySet<string> | null;
  private readonly mustMatch: boolean;

  constructor(info: readonly Row[], dataMatchers: readonly Matcher[]) {
    this.wanted = dataMatchers.length === 0 ? null : new Set(dataMatchers.map(m => m.name));
    this.mustMatch = dataMatchers.some(m => !matcherTest(m)(''));
    for (const row of info) {
      const key = identity(row.labels);
      const byName = this.byIdentity.get(key) ?? new Map<string, Row[]>();
      this.byIdentity.set(key, byName);
      const name = getLabel(row.labels, METRIC_NAME);
      const list = byName.get(name);
      if (list === undefined) byName.set(name, [row]);
      else list.push(row);
    }
  }

  enrich(base: Row): Row[] {
    const byName = this.byIdentity.get(identity(base.labels));
    const steps = base.values.length;
    if (byName === undefined) return this.mustMatch ? [] : [base];
    const byKey = new Map<string, Row>();
    const labelsOf = new Map<string, Labels>();
    for (let i = 0; i < steps; i++) {
      if (!hasSample(base, i)) continue;
      const sources: Row[] = [];
      for (const rows of byName.values()) {
        const newest = newestAt(rows, i);
        if (newest !== null) sources.push(newest);
      }
      if (sources.length === 0 && this.mustMatch) continue;
      const combination = sources.map(r => labelsKey(r.labels)).join('\n');
      let labels = labelsOf.get(combination);
      if (labels === undefined) {
        labels = this.combined(base.labels, sources);
        labelsOf.set(combination, labels);
      }
      const key = labelsKey(labels);
      let out = byKey.get(key);
      if (out === undefined) {
        out = newRow(labels, steps);
        out.dropName = base.dropName;
        byKey.set(key, out);
      }
      copySample(base, out, i);
    }
    return [...byKey.values()];
  }

  private combined(base: Labels, sources: readonly Row[]): Labels {
    const added = new Map<string, string>();
    for (const source of sources) {
      for (let i = 0; i < source.labels.length; i += 2) {
        const name = source.labels[i] as string;
        const value = source.labels[i + 1] as string;
        if (name === METRIC_NAME || (this.wanted !== null && !this.wanted.has(name))) continue;
        const before = added.get(name);
        if (before !== undefined && before !== value) throw new PromqlEvalError(`conflicting label: ${name}`);
        if (getLabel(base, name) === '') added.set(name, value);
      }
    }
    let labels = base;
    for (const [name, value] of added) labels = withLabel(labels, name, value);
    return labels;
  }
}

function newestAt(rows: readonly Row[], step: number): Row | null {
  let best: Row | null = null;
  for (const row of rows) {
    if (row.present[step] === 0) continue;
    const t = row.values[step] as number;
    if (best !== null && (best.values[step] as number) === t) {
      throw new PromqlEvalError(
        `found duplicate series for info metric: existing ${seriesText(best.labels)} @ ${t}, new ${seriesText(row.labels)} @ ${t}`,
      );
    }
    if (best === null || t > (best.values[step] as number)) best = row;
  }
  return best;
}

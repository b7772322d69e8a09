/**
 * runPromqlTest: runs scripts against the engine and any store, and says which of their evaluations failed.
 *
 * Every instant evaluation is run twice more: as the middle step of a range query, and with `@ time` on all its selectors at
 * other evaluation times. Both must give the same; they count as part of the case.
 */
import { readFile } from 'node:fs/promises';
import { RE2JS } from 're2js';
import type { LeafSource } from '../../contracts/leaf-source.ts';
import { parseFloatGo } from '../../lib/go-float.ts';
import type { Labels } from '../../model/labels.ts';
import type { Expr } from '../promql/ast.ts';
import { createPromqlEngine, type EngineFeatures, type PromqlEngine } from '../promql/engine.ts';
import { PromqlParseError } from '../promql/errors.ts';
import { parseExpr } from '../promql/parser.ts';
import { printExpr } from '../promql/print.ts';
import type { QueryResult, QueryValue } from '../promql/result.ts';
import { parseSeriesDescription } from '../promql/series-description.ts';
import { children } from '../promql/validate.ts';
import { differenceOf, isSorted, type PointSeries, pointsOfRow, sameFloat } from './compare.ts';
import { described, ResetHints, seriesOfLoad, type TestSample } from './load.ts';
import { type Command, type EvalCommand, type Expectation, parseScript, ScriptError } from './script.ts';

/** A fresh, empty store for one script. */
export interface TestStorage {
  append(labels: Labels, samples: readonly TestSample[]): Promise<void>;
  /** Called before evaluations that follow appends: flush, restart, whatever the mode asks for. Gives what to ask. */
  settle(): Promise<LeafSource>;
  close(): Promise<void>;
}

export type StorageFactory = () => Promise<TestStorage>;

export interface PromqlTestFailure {
  file: string;
  line: number;
  query: string;
  message: string;
}

export interface PromqlTestReport {
  passed: number;
  failed: number;
  failures: PromqlTestFailure[];
}

export const TEST_TENANT = 'promqltest';

/** What the scripts assume of the engine. */
export const TEST_FEATURES: EngineFeatures = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
  delayedNameRemoval: true,
  startTimestamps: true,
  typeAndUnitLabels: false,
};

const LOOKBACK_MS = 300_000;
const SUBQUERY_STEP_MS = 60_000;
const MAX_SAMPLES = 10_000;

export async function runPromqlTest(
  files: readonly string[],
  opts: { storage: StorageFactory; features?: EngineFeatures },
): Promise<PromqlTestReport> {
  const report: PromqlTestReport = { passed: 0, failed: 0, failures: [] };
  for (const file of files) {
    const run = new ScriptRun(file, opts.storage, opts.features ?? TEST_FEATURES, report);
    await run.all(await readFile(file, 'utf8'));
  }
  return report;
}

class ScriptRun {
  private readonly file: string;
  private readonly factory: StorageFactory;
  private readonly features: EngineFeatures;
  private readonly report: PromqlTestReport;
  private storage: TestStorage | null = null;
  private engine: PromqlEngine | null = null;
  private hints = new ResetHints();

  constructor(file: string, factory: StorageFactory, features: EngineFeatures, report: PromqlTestReport) {
    this.file = file;
    this.factory = factory;
    this.features = features;
    this.report = report;
  }

  async all(text: string): Promise<void> {
    let commands: Command[];
    try {
      commands = parseScript(text);
    } catch (error) {
      if (!(error instanceof ScriptError)) throw error;
      this.fail(error.line, '', error.message);
      return;
    }
    try {
      for (const command of commands) await this.command(command);
    } finally {
      await this.reset();
    }
  }

  private async command(command: Command): Promise<void> {
    try {
      if (command.kind === 'clear') await this.reset();
      else if (command.kind === 'load') await this.load(command);
      else await this.evaluate(command);
    } catch (error) {
      const line = error instanceof ScriptError ? error.line : command.line;
      this.fail(line, command.kind === 'eval' ? command.query : '', errorText(error));
    }
  }

  private fail(line: number, query: string, message: string): void {
    this.report.failed++;
    this.report.failures.push({ file: this.file, line, query, message });
  }

  private async reset(): Promise<void> {
    const storage = this.storage;
    this.storage = null;
    this.engine = null;
    this.hints = new ResetHints();
    await storage?.close();
  }

  private async load(command: Parameters<typeof seriesOfLoad>[0]): Promise<void> {
    this.storage ??= await this.factory();
    this.engine = null;
    for (const series of seriesOfLoad(command)) {
      const { labels, samples } = this.hints.apply(series);
      if (samples.length > 0) await this.storage.append(labels, samples);
    }
  }

  private async ready(): Promise<PromqlEngine> {
    if (this.engine !== null) return this.engine;
    this.storage ??= await this.factory();
    this.engine = createPromqlEngine({
      source: await this.storage.settle(),
      lookbackMs: LOOKBACK_MS,
      defaultSubqueryStepMs: SUBQUERY_STEP_MS,
      maxSamples: MAX_SAMPLES,
      features: this.features,
    });
    return this.engine;
  }

  private async evaluate(command: EvalCommand): Promise<void> {
    const engine = await this.ready();
    const problem = await checkCase(engine, command, this.features);
    if (problem === null) this.report.passed++;
    else this.fail(command.line, command.query, problem);
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function ask(engine: PromqlEngine, c: EvalCommand): Promise<QueryResult> {
  return c.stepMs === 0
    ? engine.instant({ tenant: TEST_TENANT, query: c.query, timeMs: c.startMs })
    : engine.range({ tenant: TEST_TENANT, query: c.query, startMs: c.startMs, endMs: c.endMs, stepMs: c.stepMs });
}

/** What is wrong with a case, or null. */
async function checkCase(engine: PromqlEngine, c: EvalCommand, features: EngineFeatures): Promise<string | null> {
  const failing = c.expectations.find(e => e.kind === 'fail');
  let result: QueryResult;
  try {
    result = await ask(engine, c);
  } catch (error) {
    if (failing === undefined) return `failed: ${errorText(error)}`;
    const message = error instanceof PromqlParseError ? error.message : (error as Error).message;
    return matches(failing, message) ? null : `expected to fail with ${describe(failing)}, failed with: ${message}`;
  }
  if (failing !== undefined) return `expected to fail with ${describe(failing)}, but gave a result`;
  return (
    checkNotes(c, 'warn', result.warnings) ??
    checkNotes(c, 'info', result.infos) ??
    checkValue(c, result.value) ??
    (c.stepMs === 0 ? await checkAgain(engine, c, result.value, features) : null)
  );
}

function matches(e: Expectation, text: string): boolean {
  if (e.match.type === 'any') return true;
  if (e.match.type === 'msg') return e.match.text === text;
  return RE2JS.compile(e.match.pattern).matcher(text).find();
}

function describe(e: Expectation): string {
  if (e.match.type === 'any') return 'any message';
  return e.match.type === 'msg' ? JSON.stringify(e.match.text) : `/${e.match.pattern}/`;
}

function checkNotes(c: EvalCommand, kind: 'warn' | 'info', texts: readonly string[]): string | null {
  const wanted = c.expectations.filter(e => e.kind === kind);
  if (c.expectations.some(e => e.kind === `no_${kind}`) && texts.length > 0) {
    return `expected no ${kind}, got: ${texts.join(' | ')}`;
  }
  if (wanted.length === 0) return null;
  for (const e of wanted) {
    if (!texts.some(t => matches(e, t))) {
      return `expected ${kind} ${describe(e)}, got: ${texts.length === 0 ? 'none' : texts.join(' | ')}`;
    }
  }
  for (const t of texts) if (!wanted.some(e => matches(e, t))) return `unexpected ${kind}: ${t}`;
  return null;
}

function checkValue(c: EvalCommand, value: QueryValue): string | null {
  if (c.expectString !== null) {
    if (value.type !== 'string') return `expected a string, got a ${value.type}`;
    return value.value === c.expectString
      ? null
      : `expected ${JSON.stringify(c.expectString)}, got ${JSON.stringify(value.value)}`;
  }
  if (c.expectRange !== null) return checkRaw(c, value);
  const scalar = expectedScalar(c);
  if (value.type === 'scalar') {
    if (scalar === null) return `expected ${c.results.length} series, got the scalar ${value.value}`;
    return sameFloat(scalar, value.value) ? null : `expected ${scalar}, got ${value.value}`;
  }
  if (scalar !== null) return `expected the scalar ${scalar}, got a ${value.type}`;
  const actual = seriesOfValue(value);
  if (actual === null) return `unexpected result of type ${value.type}`;
  if (value.type === 'matrix' && !isSorted(actual)) return 'the result is not sorted by labels';
  return differenceOf(
    expectedSeries(c),
    actual,
    c.expectations.some(e => e.kind === 'ordered'),
  );
}

function expectedScalar(c: EvalCommand): number | null {
  const line = c.results[0];
  if (line === undefined || c.results.length !== 1) return null;
  return parseFloatGo(line.text);
}

function expectedSeries(c: EvalCommand): PointSeries[] {
  return c.results.map(line => {
    const { labels, values } = described(line, () => parseSeriesDescription(line.text));
    return {
      labels,
      points: values.map(v => (v.omitted ? null : { value: v.value, histogram: v.histogram, stale: v.stale })),
    };
  });
}

function seriesOfValue(value: QueryValue): PointSeries[] | null {
  if (value.type === 'matrix') return value.rows.map(pointsOfRow);
  if (value.type !== 'vector') return null;
  return value.samples.map(s => ({ labels: s.labels, points: [{ value: s.value, histogram: s.histogram }] }));
}

function checkRaw(c: EvalCommand, value: QueryValue): string | null {
  if (value.type !== 'raw' || c.expectRange === null) return `expected a range vector, got a ${value.type}`;
  const { startMs, stepMs } = c.expectRange;
  const problem: string[] = [];
  const actual = value.series.map(s => {
    const points: PointSeries['points'] = [];
    const put = (t: number, point: PointSeries['points'][number]): void => {
      const step = (t - startMs) / stepMs;
      if (!Number.isInteger(step) || step < 0) problem.push(`unexpected sample at ${t} ms`);
      else points[step] = point;
    };
    s.timestamps.forEach((t, i) => {
      put(t, { value: s.values[i] as number, histogram: null });
    });
    s.histogramTimestamps.forEach((t, i) => {
      put(t, { value: 0, histogram: s.histograms[i] ?? null });
    });
    return { labels: s.labels, points: Array.from(points, p => p ?? null) };
  });
  return problem[0] ?? differenceOf(expectedSeries(c), actual, false);
}

/** The same question in other clothes. */
async function checkAgain(
  engine: PromqlEngine,
  c: EvalCommand,
  value: QueryValue,
  features: EngineFeatures,
): Promise<string | null> {
  if (value.type === 'string' || value.type === 'raw') return null;
  const ordered = c.expectations.some(e => e.kind === 'ordered');
  const expr = parseExpr(c.query, features);
  if (!ordered && !QUERY_TIMES.test(printExpr(expr))) {
    const problem = await checkMiddleStep(engine, c);
    if (problem !== null) return `as the middle step of a range query: ${problem}`;
  }
  if (callsAny(expr, EVALUATION_TIME_FUNCTIONS)) return null;
  pinSelectors(expr, c.startMs);
  const query = printExpr(expr);
  const t = c.startMs;
  for (const timeMs of t === 0 ? [-1000, 0, 1000] : [-10 * t, 0, Math.trunc(t / 5), t, 10 * t]) {
    const again: EvalCommand = { ...c, query, startMs: timeMs, endMs: timeMs };
    try {
      const problem = checkValue(again, (await ask(engine, again)).value);
      if (problem !== null) return `as ${query} at ${timeMs} ms: ${problem}`;
    } catch (error) {
      return `as ${query} at ${timeMs} ms: failed: ${errorText(error)}`;
    }
  }
  return null;
}

async function checkMiddleStep(engine: PromqlEngine, c: EvalCommand): Promise<string | null> {
  const range: EvalCommand = { ...c, startMs: c.startMs - 60_000, endMs: c.startMs + 60_000, stepMs: 60_000 };
  let value: QueryValue;
  try {
    value = (await ask(engine, range)).value;
  } catch (error) {
    return `failed: ${errorText(error)}`;
  }
  if (value.type !== 'matrix') return `gave a ${value.type}`;
  const middle = value.rows
    .map(pointsOfRow)
    .map(s => ({ labels: s.labels, points: [s.points[1] ?? null] }))
    .filter(s => s.points[0] !== null);
  const scalar = expectedScalar(c);
  if (scalar !== null) {
    const got = middle[0]?.points[0]?.value ?? Number.NaN;
    return middle.length === 1 && sameFloat(scalar, got) ? null : `expected ${scalar}, got ${got}`;
  }
  return differenceOf(expectedSeries(c), middle, false);
}

/** Calls whose answer is another one for a range query. */
const QUERY_TIMES = /\b(?:start|end|range|step)\(\)/;
const EVALUATION_TIME_FUNCTIONS = new Set([
  'days_in_month',
  'day_of_month',
  'day_of_week',
  'day_of_year',
  'hour',
  'minute',
  'month',
  'year',
  'predict_linear',
  'time',
  'timestamp',
  'start',
  'end',
]);

function callsAny(e: Expr, names: ReadonlySet<string>): boolean {
  if (e.kind === 'call' && names.has(e.func)) return true;
  return children(e).some(c => callsAny(c, names));
}

/** Puts `@ time` on every selector and subquery that has none; what is inside a pinned subquery follows it. */
function pinSelectors(e: Expr, timeMs: number): void {
  if (e.kind === 'selector' || e.kind === 'subquery') {
    if (e.atMs === null) {
      e.atMs = timeMs;
      e.atBound = null;
    }
    if (e.kind === 'subquery') return;
  }
  if (e.kind === 'matrix') pinSelectors(e.selector, timeMs);
  for (const c of children(e)) pinSelectors(c, timeMs);
}

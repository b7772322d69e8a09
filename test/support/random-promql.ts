/**
 * Seeded random PromQL over the metrics of random-metrics.ts, mostly valid, for comparisons with a real Prometheus 2.42.
 *
 * What 2.42 and 3.x answer differently is not asked: each such case stands in AVOIDED with its reason, and is tested by the
 * scripts in test/promql and the published suites instead.
 */
import type { Random } from './random.ts';
import { CODES, INSTANCES, JOBS } from './random-metrics.ts';

/** Difference between 2.42 and 3.x -> how the generator or the data stay clear of it. */
export const AVOIDED: Readonly<Record<string, string>> = {
  'ranges and look-back are open to the left since 3.0':
    'samples stand some ms past whole seconds, evaluation times end in .5, offsets and ranges are whole seconds',
  'subqueries are open to the left since 3.0':
    'steps fall on whole seconds, evaluation on .5; no subquery inside another',
  'rate extrapolates towards zero at most half an interval over a gap since 2.52':
    'counters stay far above 0; rate and increase are not asked of subqueries',
  'sums and averages are compensated in more places since 3.0':
    '% blows the last digits up and is asked of exact operands only',
  'the dot of a regex matches a newline since 3.0': 'no label value has one',
  'holt_winters is double_exponential_smoothing since 3.0, and experimental': 'not asked',
  'le and quantile labels are normalized on scraping since 3.0': 'le values are written as floats that stay the same',
  'native histogram quantiles and fractions interpolate exponentially since 3.0':
    'histogram_quantile is asked of classic ones only',
  'operators and functions on native histograms came bit by bit from 2.43 on':
    'only + - sum rate increase delta count sum are asked',
  'functions of classic floats skip histograms with a warning since 2.5x': 'floats and histograms are never mixed',
  'atan2 drops the metric name since 3.0': 'not asked',
  'numbers are durations since 3.0 (offset 5)': 'not asked',
  'the window of predict_linear(x[1m] @ t, s) moves with the steps in 2.42, away from t':
    'predict_linear is asked without @',
  'deviations of numbers around 1e9 are exact to 1e-9 only in 3.x': 'timestamps are compared less a constant',
  'timestamp(x @ t offset d) forgets the offset in 2.42': 'asked with one of the two',
  'x @ end()[5m] slips past the check for modifiers before a range in 2.42': 'not asked',
  'topk of ties': 'asked of metrics whose values differ',
  annotations: 'warnings and infos are not compared',
  'duration expressions, info(), limitk, fill and the like are newer': 'not asked',
  'time() and the calendar functions are compared; step and range in expressions are newer': 'not asked',
  'messages of errors': 'status and errorType are compared, texts in test/api/prometheus-differential.test.ts',
};

const FLOATS = ['requests_total', 'errors_total', 'temperature', 'queue', 'up', 'limit'] as const;
const COUNTERS = ['requests_total', 'errors_total', 'latency_count', 'latency_sum'] as const;
/** Values that differ between series: for what picks some. */
const DISTINCT = ['requests_total', 'errors_total'] as const;
const RANGES = ['1m', '90s', '2m', '5m', '17m', '1h'] as const;
const COUNTER_CALLS = ['irate', 'resets', 'delta', 'idelta', 'changes'] as const;
const OVER_TIME = [
  'avg_over_time',
  'min_over_time',
  'max_over_time',
  'sum_over_time',
  'count_over_time',
  'last_over_time',
  'present_over_time',
  'stddev_over_time',
  'stdvar_over_time',
  'changes',
  'deriv',
  'delta',
  'idelta',
] as const;
const MATH = [
  'abs',
  'ceil',
  'floor',
  'sqrt',
  'ln',
  'log2',
  'log10',
  'sgn',
  'round',
  'sin',
  'atan',
  'deg',
  'rad',
] as const;
const CALENDAR = [
  'hour',
  'minute',
  'day_of_week',
  'day_of_month',
  'days_in_month',
  'month',
  'year',
  'day_of_year',
] as const;
const AGGREGATES = ['sum', 'avg', 'min', 'max', 'count', 'group', 'stddev', 'stdvar'] as const;
const ARITHMETIC = ['+', '-', '*', '/', '^'] as const;
const COMPARISON = ['==', '!=', '>', '<', '>=', '<='] as const;
const LABELS = ['job', 'instance', 'code'] as const;

export class RandomPromql {
  private readonly random: Random;
  /** Evaluation times for @, in seconds ending in .5. */
  private readonly fromS: number;
  private readonly toS: number;
  private inSubquery = false;

  constructor(random: Random, fromMs: number, toMs: number) {
    this.random = random;
    this.fromS = Math.floor(fromMs / 1000);
    this.toS = Math.floor(toMs / 1000);
  }

  next(): string {
    this.inSubquery = false;
    const r = this.random.unit();
    if (r < 0.05) return this.invalid();
    if (r < 0.1) return this.scalar(2);
    if (r < 0.22) return this.histogram();
    return this.vector(this.random.between(1, 4));
  }

  private vector(depth: number): string {
    const { random } = this;
    if (depth <= 0) return this.selector(random.pick(FLOATS));
    const r = random.unit();
    if (r < 0.12) return this.selector(random.pick(FLOATS));
    if (r < 0.34) return this.rangeCall(depth);
    if (r < 0.52) return this.aggregate(depth);
    if (r < 0.74) return this.binary(depth);
    if (r < 0.82) return `${random.pick(MATH)}(${this.vector(depth - 1)})`;
    if (r < 0.94) return this.other(depth);
    return `-(${this.vector(depth - 1)})`;
  }

  private selector(name: string, range = ''): string {
    const { random } = this;
    const matchers: string[] = [];
    while (random.chance(0.35)) matchers.push(this.matcher());
    const braces = matchers.length > 0 ? `{${matchers.join(',')}}` : '';
    return `${name}${braces}${range}${this.modifiers()}`;
  }

  private modifiers(): string {
    const { random } = this;
    let text = '';
    if (random.chance(0.08)) {
      const at = random.between(this.fromS, this.toS);
      text += random.pick([` @ ${at}.5`, ' @ start()', ' @ end()']);
    }
    if (random.chance(0.12))
      text += ` offset ${random.chance(0.3) ? '-' : ''}${random.pick(['15s', '1m', '10m', '1h'])}`;
    return text;
  }

  private matcher(): string {
    const { random } = this;
    return random.pick([
      () => `job="${random.pick(JOBS)}"`,
      () => `job!="${random.pick(JOBS)}"`,
      () => `instance=~"${random.pick(['a.*', '.*:80', '[ab]:80', 'a:80|c:80', '', '(?i:B):80'])}"`,
      () => `instance!~"${random.pick(['a.*', 'b:8', '.+'])}"`,
      () => `code=~"${random.pick(['2..', '4..|5..', '.*', ''])}"`,
      () => `code!="${random.pick(CODES)}"`,
      () => 'code=""',
      () => `absent_label${random.pick(['=""', '!=""', '=~".*"', '!~"x"'])}`,
      () => `instance="${random.pick(INSTANCES)}"`,
    ])();
  }

  private matrix(depth: number, names: readonly string[]): string {
    const { random } = this;
    if (!this.inSubquery && depth > 1 && random.chance(0.15)) {
      this.inSubquery = true;
      const inner = this.vector(depth - 1);
      this.inSubquery = false;
      return `(${inner})[${random.pick(['2m', '10m', '1h'])}:${random.pick(['', '10s', '1m', '37s'])}]${this.modifiers()}`;
    }
    return this.selector(random.pick(names), `[${random.pick(RANGES)}]`);
  }

  private rangeCall(depth: number): string {
    const { random } = this;
    const r = random.unit();
    if (r < 0.2)
      return `${random.pick(['rate', 'increase'])}(${this.selector(random.pick(COUNTERS), `[${random.pick(RANGES)}]`)})`;
    if (r < 0.45) return `${random.pick(COUNTER_CALLS)}(${this.matrix(depth, COUNTERS)})`;
    if (r < 0.85) return `${random.pick(OVER_TIME)}(${this.matrix(depth, FLOATS)})`;
    if (r < 0.9)
      return `quantile_over_time(${random.pick(['0', '0.5', '0.9', '1', '-1', '2'])}, ${this.matrix(depth, FLOATS)})`;
    if (r < 0.95)
      return `predict_linear(${random.pick(['temperature', 'queue'])}[${random.pick(RANGES)}], ${random.pick(['60', '3600', '-600'])})`;
    return `absent_over_time(${this.selector(random.pick(FLOATS), `[${random.pick(RANGES)}]`)})`;
  }

  private grouping(): string {
    const { random } = this;
    if (random.chance(0.25)) return '';
    const labels = LABELS.filter(() => random.chance(0.45)).join(', ');
    return ` ${random.pick(['by', 'without'])} (${labels})`;
  }

  private aggregate(depth: number): string {
    const { random } = this;
    const r = random.unit();
    if (r < 0.78) return `${random.pick(AGGREGATES)}${this.grouping()} (${this.vector(depth - 1)})`;
    const distinct = `${random.pick(['', 'rate'])}`;
    const picked =
      distinct === '' ? this.selector(random.pick(DISTINCT)) : `rate(${this.selector(random.pick(DISTINCT), '[5m]')})`;
    if (r < 0.86) return `${random.pick(['topk', 'bottomk'])}${this.grouping()} (${random.between(0, 4)}, ${picked})`;
    if (r < 0.94)
      return `quantile${this.grouping()} (${random.pick(['0', '0.25', '0.5', '0.99', '1', '1.5'])}, ${this.vector(depth - 1)})`;
    return `count_values${this.grouping()} ("v", ${this.selector(random.pick(['queue', 'up', 'limit']))})`;
  }

  private binary(depth: number): string {
    const { random } = this;
    const r = random.unit();
    if (r < 0.2) {
      const sides = [this.vector(depth - 1), this.scalar(1)];
      if (random.chance(0.4)) sides.reverse();
      return `(${sides.join(` ${this.operator()} `)})`;
    }
    if (r < 0.35)
      return `(${this.vector(depth - 1)} ${random.pick(['and', 'or', 'unless'])}${this.matching()} ${this.vector(depth - 1)})`;
    if (r < 0.4) {
      const right = random.pick(['7', '0.5', '-3', '0', this.selector(random.pick(DISTINCT))]);
      return `(${this.selector(random.pick(DISTINCT))} % ${right})`;
    }
    if (r < 0.6) {
      const left = this.leaf(random.pick(['requests_total', 'errors_total']));
      const right = this.leaf(random.pick(['requests_total', 'errors_total']));
      return `(${left} ${this.operator()} ${right})`;
    }
    if (r < 0.8) {
      const extra = random.chance(0.3) ? '(code)' : random.pick(['', '()']);
      const [many, one] = [this.leaf('requests_total'), this.leaf(random.pick(['temperature', 'limit', 'queue']))];
      const on = random.pick(['on (job, instance)', 'on (job)', 'ignoring (code)', 'ignoring (code, instance)']);
      if (random.chance(0.3)) return `(${one} ${this.operator()} ${on} group_right ${extra} ${many})`;
      return `(${many} ${this.operator()} ${on} group_left ${extra} ${one})`;
    }
    return `(${this.vector(depth - 1)} ${this.operator()}${this.matching()} ${this.vector(depth - 1)})`;
  }

  private leaf(name: string): string {
    const { random } = this;
    if (name.endsWith('_total') && random.chance(0.4)) return `rate(${this.selector(name, '[5m]')})`;
    if (random.chance(0.2)) return `max_over_time(${this.selector(name, '[2m]')})`;
    return this.selector(name);
  }

  private operator(): string {
    const { random } = this;
    if (random.chance(0.6)) return random.pick(ARITHMETIC);
    return random.pick(COMPARISON) + (random.chance(0.5) ? ' bool' : '');
  }

  private matching(): string {
    const { random } = this;
    if (random.chance(0.5)) return '';
    const labels = LABELS.filter(() => random.chance(0.5)).join(', ');
    return ` ${random.pick(['on', 'ignoring'])} (${labels})`;
  }

  private other(depth: number): string {
    const { random } = this;
    const v = (): string => this.vector(depth - 1);
    return random.pick([
      () => `clamp(${v()}, ${random.int(50)}, ${random.int(100)})`,
      () => `clamp_min(${v()}, ${this.scalar(1)})`,
      () => `clamp_max(${v()}, ${random.int(100)})`,
      () => `round(${v()}, ${random.pick(['5', '0.5', '100'])})`,
      () =>
        `(timestamp(${random.pick(FLOATS)}${random.pick(['', ' offset 1m', ' @ start()', '{job="api"}'])}) - 1699990000)`,
      () => `vector(${this.scalar(1)})`,
      () => `absent(${v()})`,
      () => `${random.pick(CALENDAR)}(${this.selector('requests_total')} * 1000)`,
      () => `sort${random.pick(['', '_desc'])}(${v()})`,
      () =>
        `label_replace(${v()}, "${random.pick(['x', 'job', 'code'])}", "${random.pick(['$1', 'y', '', '$2'])}", "${random.pick(LABELS)}", "${random.pick(['(.*)', '(.).*', 'a(.*)', 'nothing'])}")`,
      () => `label_join(${v()}, "x", "-", "job", "instance")`,
      () => `histogram_quantile(${random.pick(['0.5', '0.9', '0.99', '0', '1', '-1', '2'])}, ${this.buckets()})`,
    ])();
  }

  private buckets(): string {
    const { random } = this;
    const rate = `rate(${this.selector('latency_bucket', `[${random.pick(RANGES)}]`)})`;
    return random.pick([rate, `sum by (le) (${rate})`, `sum by (le, job) (${rate})`, this.selector('latency_bucket')]);
  }

  private scalar(depth: number): string {
    const { random } = this;
    if (depth <= 0 || random.chance(0.6))
      return random.pick(['0', '1', '2', '-3.5', '1e3', '0.1', '100', 'NaN', 'Inf', '0x1f']);
    return random.pick([
      () => 'time()',
      () => 'pi()',
      () => `scalar(${this.selector('limit', '')})`,
      () => `scalar(sum(${this.selector('queue')}))`,
      () => `(${this.scalar(depth - 1)} ${random.pick(['+', '-', '*', '/', '%', '^'])} ${this.scalar(depth - 1)})`,
      () => `(${this.scalar(depth - 1)} ${random.pick(COMPARISON)} bool ${this.scalar(depth - 1)})`,
    ])();
  }

  private histogram(): string {
    const { random } = this;
    const leaf = (): string => {
      const range = `[${random.pick(RANGES)}]`;
      return random.pick([
        () => this.selector('sizes'),
        () => `rate(${this.selector('sizes', range)})`,
        () => `increase(${this.selector('sizes', range)})`,
      ])();
    };
    const some = random.pick([leaf, () => `sum${this.grouping()} (${leaf()})`])();
    return random.pick([
      () => some,
      () => `histogram_count(${some})`,
      () => `histogram_sum(${some})`,
      () => `(histogram_sum(${some}) / histogram_count(${some}))`,
      () => `count${this.grouping()} (${some})`,
    ])();
  }

  /** What must be refused, in the same way. */
  private invalid(): string {
    const { random } = this;
    const selector = `requests_total{job="${random.pick(JOBS)}"}${random.pick(['', ' offset 1m'])}`;
    return random.pick([
      () => `rate(${selector})`,
      () => `sum(${selector}`,
      () => `requests_total offset 1m[5m]`,
      () => `requests_total @ 10[5m]`,
      () => `${selector} + on(job) ${this.selector('errors_total')}`,
      () => `requests_total{job="a" instance="b"}`,
      () => `abs(1)`,
      () => `${selector} and 1`,
      () => `topk(requests_total, 1)`,
      () => '{job=~".*"}',
      () => `label_replace(up, "x", "y", "job", "(")`,
      () => `1 > 2`,
      () => `nosuchfunction(up)`,
      () => `sum by (job) (up) by (job)`,
      () => `count_values("a b-c\\xff", up)`,
    ])();
  }
}

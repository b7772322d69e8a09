/** Numbers and series names as text. No DOM in here. */

const PREFIXES: [number, string][] = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** Short, for axes and the legend: 12.3k, 0.0042, 1.2e-9. */
export function formatShort(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e15 || size < 1e-4) return value.toExponential(2).replace(/\.?0+e/, 'e');
  for (const [scale, prefix] of PREFIXES) {
    if (size >= scale) return `${trimZeros((value / scale).toPrecision(4))}${prefix}`;
  }
  return trimZeros(value.toPrecision(4));
}

function trimZeros(text: string): string {
  return text.includes('.') && !text.includes('e') ? text.replace(/\.?0+$/, '') : text;
}

/** Labels of an axis: all with the digits that the distance between two of them needs. */
export function formatTicks(ticks: number[]): string[] {
  const finite = ticks.filter(tick => Number.isFinite(tick));
  const largest = Math.max(0, ...finite.map(Math.abs));
  const distance = finite.length > 1 ? Math.abs((finite[1] as number) - (finite[0] as number)) : largest;
  if (largest === 0 || largest >= 1e15 || distance < 1e-6) return ticks.map(formatShort);
  const [scale, prefix] = PREFIXES.find(([limit]) => largest >= limit) ?? [1, ''];
  const decimals = decimalsFor(
    ticks.map(tick => tick / scale),
    distance / scale,
  );
  return ticks.map(tick => (tick === 0 ? '0' : `${(tick / scale).toFixed(decimals)}${prefix}`));
}

const DECIMALS_MAX = 9;

/** The fewest decimals that move no tick by more than a hundredth of the distance between two. */
function decimalsFor(ticks: number[], distance: number): number {
  for (let decimals = 0; decimals < DECIMALS_MAX; decimals++) {
    if (ticks.every(tick => Math.abs(Number(tick.toFixed(decimals)) - tick) <= distance / 100)) return decimals;
  }
  return DECIMALS_MAX;
}

export type Metric = Record<string, string>;

/** name{a="b"} as PromQL writes it. */
export function formatMetric(metric: Metric, without: ReadonlySet<string> = new Set()): string {
  const name = without.has('__name__') ? '' : (metric.__name__ ?? '');
  const labels = Object.keys(metric)
    .filter(label => label !== '__name__' && !without.has(label))
    .map(label => `${quoteLabel(label)}=${JSON.stringify(metric[label])}`);
  if (name !== '' && !/^[a-zA-Z_:][\w:]*$/.test(name)) return `{${[JSON.stringify(name), ...labels].join(', ')}}`;
  return labels.length === 0 ? name || '{}' : `${name}{${labels.join(', ')}}`;
}

function quoteLabel(label: string): string {
  return /^[a-zA-Z_]\w*$/.test(label) ? label : JSON.stringify(label);
}

/** Labels (the name included) that every one of two or more series has with the same value. */
export function commonLabels(metrics: Metric[]): Metric {
  const [first, ...rest] = metrics;
  const common: Metric = {};
  if (!first || rest.length === 0) return common;
  for (const label of Object.keys(first)) {
    if (rest.every(metric => metric[label] === first[label])) common[label] = first[label] as string;
  }
  return common;
}

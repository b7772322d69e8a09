/**
 * Do two servers give the same answer? Compares two query_range or query results series by series and point by point.
 * Not a conformance test (that is test/): it shows that both were asked about the same data. VictoriaMetrics does not
 * extrapolate in rate(), so its points lie near Prometheus' and not on them.
 */
export interface MatrixSeries {
  metric: Record<string, string>;
  values?: [number, string][];
  value?: [number, string];
}

export interface Agreement {
  series: number;
  points: number;
  /** Series or points that only one side has. */
  unmatched: number;
  /** Relative difference of the points of both sides. */
  medianDifference: number;
  worstDifference: number;
}

export function parseResult(body: string): MatrixSeries[] {
  const parsed = JSON.parse(body) as { status: string; data: { result: MatrixSeries[] } };
  if (parsed.status !== 'success') throw new Error(`the query failed: ${body.slice(0, 300)}`);
  return parsed.data.result;
}

export function compare(reference: MatrixSeries[], other: MatrixSeries[]): Agreement {
  const byKey = new Map(reference.map(series => [key(series), points(series)]));
  const differences: number[] = [];
  let unmatched = 0;
  for (const series of other) {
    const expected = byKey.get(key(series));
    const actual = points(series);
    if (!expected) {
      unmatched += actual.size;
      continue;
    }
    byKey.delete(key(series));
    for (const [time, value] of actual) {
      const wanted = expected.get(time);
      if (wanted === undefined) unmatched++;
      else differences.push(difference(wanted, value));
    }
    for (const time of expected.keys()) if (!actual.has(time)) unmatched++;
  }
  for (const rest of byKey.values()) unmatched += rest.size;
  differences.sort((a, b) => a - b);
  return {
    series: other.length,
    points: differences.length,
    unmatched,
    medianDifference: differences[Math.floor(differences.length / 2)] ?? 0,
    worstDifference: differences.at(-1) ?? 0,
  };
}

/** "=" for the same answer, else how far apart in a few characters. */
export function describe(agreement: Agreement): string {
  if (agreement.points === 0) return agreement.unmatched === 0 ? 'EMPTY' : 'DIFFERENT SERIES';
  const missing = agreement.unmatched > 0 ? ` ${agreement.unmatched} of ${agreement.points} points unmatched` : '';
  if (agreement.worstDifference < 1e-9) return missing === '' ? '=' : `=${missing}`;
  return `~${percent(agreement.medianDifference)}${missing}`;
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(1))}%`;
}

function difference(a: number, b: number): number {
  if (Object.is(a, b) || a === b) return 0;
  const scale = Math.max(Math.abs(a), Math.abs(b));
  const share = Math.abs(a - b) / scale;
  return Number.isNaN(share) ? 1 : share;
}

function points(series: MatrixSeries): Map<number, number> {
  const list = series.values ?? (series.value ? [series.value] : []);
  return new Map(list.map(([time, text]) => [Math.round(time * 1000), Number(text)]));
}

function key(series: MatrixSeries): string {
  return JSON.stringify(Object.entries(series.metric).sort(([a], [b]) => (a < b ? -1 : 1)));
}

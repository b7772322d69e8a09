/**
 * What the figures have to reach. A gate is what a release must not fall below: no worse than the best peer of the same
 * run. A target is what the engine is built for. Judged are the medians of the runs, ours against the best peer.
 */
import { QUERIES } from '../datasets/queries.ts';
import { BASE, type Figure, median, OURS, type Report } from './report.ts';

interface Rule {
  what: string;
  matches: (figure: Figure) => boolean;
  /** Least ratio to the best peer (above 1 is better for us), or most of the value itself. */
  gate: { ratio: number } | { most: number };
  target: { ratio: number } | { most: number } | null;
}

const HEAVY = new Set(QUERIES.filter(query => query.heavy).map(query => query.name));

const RULES: Rule[] = [
  {
    what: 'ingest per CPU-second',
    matches: figure => figure.topic.startsWith('ingest') && figure.name === 'steady: samples per CPU-second',
    gate: { ratio: 1 },
    target: { ratio: 5 },
  },
  {
    what: 'scrape per CPU-second',
    matches: figure => figure.topic.startsWith('scrape') && figure.name === 'samples per CPU-second',
    gate: { ratio: 1 },
    target: { ratio: 5 },
  },
  {
    what: 'memory per active series',
    matches: figure => figure.topic === 'ingest 1000000 series' && figure.name.startsWith('memory per series (above'),
    gate: { ratio: 1 },
    target: { most: 450 },
  },
  {
    what: 'heavy query',
    matches: figure => figure.topic.startsWith('query latency') && HEAVY.has(figure.name),
    gate: { ratio: 1 },
    target: { ratio: 2 },
  },
  {
    what: 'small query',
    matches: figure => figure.topic.startsWith('query latency') && !HEAVY.has(figure.name),
    gate: { ratio: 1 },
    target: { ratio: 1 },
  },
  {
    what: 'bytes per sample',
    matches: figure => figure.topic.startsWith('bytes per sample') && figure.name.endsWith('total'),
    gate: { ratio: 1 },
    target: { ratio: 1 },
  },
  {
    what: 'start after kill -9, 1 M series',
    matches: figure => figure.topic === 'start after kill -9, 1000000 series' && figure.name === 'time until ready',
    gate: { most: 15 },
    target: null,
  },
  {
    what: 'acknowledged samples missing',
    matches: figure => figure.name === 'acknowledged samples missing',
    gate: { most: 0 },
    target: null,
  },
  {
    what: 'idle memory',
    matches: figure => figure.topic === 'fresh server' && figure.name === 'resident memory',
    gate: { most: 150 },
    target: null,
  },
  {
    what: 'start of a fresh server',
    matches: figure => figure.topic === 'fresh server' && figure.name === 'time until ready',
    gate: { most: 1000 },
    target: null,
  },
];

/** A Markdown table, a row a judged figure; empty if there is nothing of ours to judge. */
export function gateTable(report: Report): string {
  const rows: string[] = [];
  for (const rule of RULES) {
    const figures = report.figures.filter(rule.matches);
    for (const key of new Set(figures.map(figure => `${figure.topic}: ${figure.name}`))) {
      const own = figures.filter(figure => `${figure.topic}: ${figure.name}` === key);
      const row = judge(rule, key, own);
      if (row !== null) rows.push(row);
    }
  }
  if (rows.length === 0) return '';
  return ['| gate | figure | ours | ratio to best peer | verdict |', '| --- | --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
}

function judge(rule: Rule, key: string, figures: Figure[]): string | null {
  const ours = medianOf(figures, OURS);
  if (ours === null) return null;
  const peers = [...new Set(figures.map(figure => figure.contestant))].filter(name => name !== OURS && name !== BASE);
  const values = peers.map(name => medianOf(figures, name) as number);
  const higher = (figures[0] as Figure).better === 'higher';
  const best = values.length === 0 ? null : higher ? Math.max(...values) : Math.min(...values);
  const ratio = best === null ? null : higher ? ours / best : best / ours;
  const meets = (bar: Rule['gate']): boolean =>
    'most' in bar ? ours <= bar.most : ratio === null || ratio >= bar.ratio;
  const blind = ratio === null && 'ratio' in rule.gate;
  const verdict = blind
    ? 'no peer'
    : !meets(rule.gate)
      ? 'BELOW THE GATE'
      : rule.target && !meets(rule.target)
        ? 'gate'
        : 'target';
  const digits = ours >= 100 ? ours.toFixed(0) : ours.toPrecision(3);
  return `| ${rule.what} | ${key} | ${digits} | ${ratio === null ? '-' : `${ratio.toFixed(2)}x`} | ${verdict} |`;
}

function medianOf(figures: Figure[], contestant: string): number | null {
  const own = figures.filter(figure => figure.contestant === contestant);
  return own.length === 0 ? null : median(own.map(figure => figure.value));
}

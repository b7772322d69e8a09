/**
 * Results: one table per topic for people, one JSON object per figure in bench/out/ for machines. A figure says which
 * way is better, so that every table can print the ratio of ours to the best peer the same way round: above 1 is
 * better for us, whatever the unit.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const OUT_FOLDER = join(import.meta.dirname, '..', 'out');

export interface Figure {
  /** Table, e.g. "ingest 100000 series". */
  topic: string;
  /** Row, e.g. "steady: samples per CPU-second". */
  name: string;
  contestant: string;
  value: number;
  unit: string;
  better: 'higher' | 'lower';
  /** A word beside the value, such as "agrees". */
  note?: string;
}

export const OURS = 'sightline';
/** Another checkout of ours: no peer. */
export const BASE = 'base';

export class Report {
  readonly figures: Figure[] = [];
  readonly notes: string[] = [];
  readonly file: string;

  constructor(startedAt: Date) {
    const stamp = startedAt.toISOString().replace(/[:.]/g, '-');
    this.file = join(OUT_FOLDER, `bench-${stamp}.jsonl`);
    mkdirSync(dirname(this.file), { recursive: true });
  }

  /** Figures of one name and contestant are runs; tables show their median. */
  add(figure: Figure): void {
    this.figures.push(figure);
    appendFileSync(this.file, `${JSON.stringify(figure)}\n`);
  }

  note(text: string): void {
    this.notes.push(text);
    appendFileSync(this.file, `${JSON.stringify({ note: text })}\n`);
    console.log(`  ${text}`);
  }

  print(topic: string): void {
    console.log(`\n${this.table(topic)}`);
  }

  /** A Markdown table: it reads well in a terminal and pastes into docs/. */
  table(topic: string): string {
    const figures = this.figures.filter(figure => figure.topic === topic);
    const contestants = [...new Set(figures.map(figure => figure.contestant))];
    const names = [...new Set(figures.map(figure => figure.name))];
    const rows = [[topic, ...contestants, `${OURS} vs best peer`]];
    for (const name of names) {
      const ofName = figures.filter(figure => figure.name === name);
      const cells = contestants.map(contestant => cell(ofName.filter(figure => figure.contestant === contestant)));
      rows.push([`${name} (${(ofName[0] as Figure).unit})`, ...cells, ratioToBest(ofName)]);
    }
    return align(rows);
  }
}

function cell(runs: Figure[]): string {
  if (runs.length === 0) return '-';
  const note = runs.find(run => run.note !== undefined)?.note;
  return format(median(runs.map(run => run.value))) + (note ? ` ${note}` : '');
}

/** Above 1: ours is better. Blank without ours or without a peer. */
function ratioToBest(figures: Figure[]): string {
  const better = (figures[0] as Figure).better;
  const values = new Map<string, number>();
  for (const contestant of new Set(figures.map(figure => figure.contestant))) {
    values.set(
      contestant,
      median(figures.filter(figure => figure.contestant === contestant).map(figure => figure.value)),
    );
  }
  const ours = values.get(OURS);
  values.delete(OURS);
  values.delete(BASE);
  if (ours === undefined || values.size === 0) return '';
  const peers = [...values.values()];
  const ratio = better === 'higher' ? ours / Math.max(...peers) : Math.min(...peers) / ours;
  return Number.isFinite(ratio) ? `${ratio.toFixed(2)}x` : '';
}

function format(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} K`;
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 3);
}

function align(rows: string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)));
  const line = (row: string[]): string => `| ${row.map((text, i) => text.padEnd(widths[i] as number)).join(' | ')} |`;
  const rule = `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`;
  return [line(rows[0] as string[]), rule, ...rows.slice(1).map(line)].join('\n');
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const below = sorted[low] as number;
  const above = sorted[Math.min(low + 1, sorted.length - 1)] as number;
  return below + (above - below) * (at - low);
}

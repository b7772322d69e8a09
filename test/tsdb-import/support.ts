/** A real Prometheus with a folder that outlives it, and comparisons of raw samples between two servers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { findProgram, freePort, until } from '../support/programs.ts';

export class Prometheus {
  readonly dir: string;
  url = '';
  private stopIt: () => Promise<void> = async () => {};

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async start(t: TestContext): Promise<Prometheus> {
    const dir = mkdtempSync(join(tmpdir(), 'sightline-import-'));
    mkdirSync(join(dir, 'data'));
    writeFileSync(join(dir, 'prometheus.yml'), 'storage: {tsdb: {out_of_order_time_window: 6h}}\n');
    const prometheus = new Prometheus(dir);
    t.after(async () => {
      await prometheus.stop();
      rmSync(dir, { recursive: true, force: true });
    });
    await prometheus.launch();
    return prometheus;
  }

  get dataDir(): string {
    return join(this.dir, 'data');
  }

  async launch(): Promise<void> {
    const port = await freePort();
    const child = spawn(
      findProgram('prometheus'),
      [
        `--config.file=${join(this.dir, 'prometheus.yml')}`,
        `--storage.tsdb.path=${this.dataDir}`,
        '--storage.tsdb.retention.time=90y',
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-remote-write-receiver',
        '--web.enable-admin-api',
        '--enable-feature=native-histograms,exemplar-storage',
        '--log.level=error',
      ],
      { stdio: 'ignore' },
    );
    const gone = new Promise(resolve => child.once('exit', resolve));
    this.stopIt = async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await gone;
    };
    this.url = `http://127.0.0.1:${port}`;
    await until('Prometheus', async () => (await fetch(`${this.url}/-/ready`)).ok);
  }

  /** As an operator stops it; the folder stays. */
  async stop(): Promise<void> {
    await this.stopIt();
    this.stopIt = async () => {};
  }

  /** The folder of a snapshot, with the head as a block. */
  async snapshot(): Promise<string> {
    const response = await fetch(`${this.url}/api/v1/admin/tsdb/snapshot`, { method: 'POST' });
    const { data } = (await response.json()) as { data: { name: string } };
    return join(this.dataDir, 'snapshots', data.name);
  }
}

export interface Row {
  metric: Record<string, string>;
  values?: [number, string][];
  histograms?: [number, unknown][];
}

/** All samples that a server has of a metric in the stretch before `timeS`. */
export async function rawSamples(url: string, selector: string, range: string, timeS: number): Promise<Row[]> {
  const query = encodeURIComponent(`${selector}[${range}]`);
  const response = await fetch(`${url}/api/v1/query?query=${query}&time=${timeS}`);
  const body = (await response.json()) as { status: string; error?: string; data: { result: Row[] } };
  assert.equal(body.status, 'success', body.error ?? '');
  return sortedRows(body.data.result);
}

/** Servers order series and labels as they like. */
export function sortedRows(rows: readonly Row[]): Row[] {
  const key = (row: Row): string => JSON.stringify(row.metric);
  return rows
    .map(row => ({ ...row, metric: sorted(row.metric), histograms: (row.histograms ?? []).map(roundedBounds) }))
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Versions of Prometheus differ in the last digit of bucket bounds. */
function roundedBounds([t, histogram]: [number, unknown]): [number, unknown] {
  const h = histogram as { buckets?: [number, string, string, string][] };
  const round = (bound: string): string => Number(bound).toPrecision(12);
  return [t, { ...h, buckets: (h.buckets ?? []).map(([kind, a, b, n]) => [kind, round(a), round(b), n]) }];
}

function sorted(metric: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(metric).sort((a, b) => (a[0] < b[0] ? -1 : 1)));
}

export async function metricNames(url: string): Promise<string[]> {
  const response = await fetch(`${url}/api/v1/label/__name__/values?start=0`);
  return ((await response.json()) as { data: string[] }).data;
}

/** Says where the first difference is; a diff of all of it would take for ever. */
export function assertSameRows(got: readonly Row[], want: readonly Row[], what: string): void {
  const key = (row: Row | undefined): string => JSON.stringify(row?.metric);
  for (let i = 0; i < Math.max(got.length, want.length); i++) {
    const g = got[i];
    const w = want[i];
    assert.equal(key(g), key(w), `${what}: series ${i}`);
    for (const kind of ['values', 'histograms'] as const) {
      const gs = g?.[kind] ?? [];
      const ws = w?.[kind] ?? [];
      for (let k = 0; k < Math.max(gs.length, ws.length); k++) {
        assert.equal(JSON.stringify(gs[k]), JSON.stringify(ws[k]), `${what} ${key(w)}: ${kind} ${k} of ${ws.length}`);
      }
    }
  }
}

export function sampleCount(rows: readonly Row[]): number {
  return rows.reduce((n, row) => n + (row.values?.length ?? 0) + (row.histograms?.length ?? 0), 0);
}

/** Every file below a folder with its contents' length and bytes, to tell whether anything changed. */
export function contentsOf(dir: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path, readFileSync(path).toString('latin1'));
  }
  return files;
}

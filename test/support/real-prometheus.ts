/** A real Prometheus on a free port with a folder of its own, ready, and gone after the test. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { findProgram, freePort, startProgram, until } from './programs.ts';

export interface PrometheusOptions {
  /** prometheus.yml; `PORT` in it becomes the own port. */
  config?: string;
  args?: readonly string[];
}

export async function startPrometheus(
  t: Pick<TestContext, 'after'>,
  options: PrometheusOptions = {},
): Promise<{ url: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-prometheus-'));
  const port = await freePort();
  mkdirSync(join(dir, 'data'));
  writeFileSync(
    join(dir, 'prometheus.yml'),
    (options.config ?? 'scrape_configs: []\n').replaceAll('PORT', String(port)),
  );
  startProgram(t, findProgram('prometheus'), [
    `--config.file=${join(dir, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--web.enable-remote-write-receiver',
    '--enable-feature=native-histograms',
    '--log.level=error',
    ...(options.args ?? []),
  ]);
  // Hooks run in the order of their registration: the program ends first.
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const url = `http://127.0.0.1:${port}`;
  await until('Prometheus', async () => (await fetch(`${url}/-/ready`)).ok);
  return { url };
}

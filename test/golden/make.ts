/**
 * Makes the golden folder of the present data format: known samples of several kinds and ages in two tenants, some in blocks and some
 * still in the log, and an object with history in the state store. Run once per format, when it is new.
 */
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FORMAT_VERSION } from '../../src/storage/data-dir.ts';
import { SqliteStateStore } from '../../src/storage/state/sqlite-state-store.ts';
import { Sightline } from '../support/sightline.ts';

/** 2025-01-01T00:00:00Z, in seconds: samples of a day from here on lie in blocks. */
const OLD = 1_735_689_600;

const target = join(import.meta.dirname, `data-format-${FORMAT_VERSION}`);
if (existsSync(target)) throw new Error(`${target} stands already: a format's folder is made once`);

const cleanups: (() => unknown)[] = [];
const scope = { after: (fn: () => unknown) => cleanups.push(fn) } as never;
const server = await Sightline.start(scope, {
  config:
    'host: {enabled: false}\nstorage: {shards: 2, retention: {raw: 100y, 1m: 100y, 1h: 100y}, downsample: {1m: 0s, 1h: 0s}}\n',
});
try {
  await make();
} finally {
  for (const cleanup of cleanups) await cleanup();
}

async function make(): Promise<void> {
  const lines: string[] = ['# TYPE golden_total counter', '# HELP golden_total A counter.'];
  for (let i = 0; i < 240; i++) {
    const at = (OLD + i * 60) * 1000;
    lines.push(
      `golden_total{n="1"} ${i * 3} ${at}`,
      `golden_gauge{n="2","ü"="ö"} ${Math.sin(i)} ${at}`,
      `golden_constant 1.5 ${at}`,
    );
  }
  await write('default', lines.join('\n'));
  await write(
    'other',
    `golden_total{n="9"} 7 ${OLD * 1000}\ngolden_special NaN ${OLD * 1000}\ngolden_special +Inf ${OLD * 1000 + 60_000}`,
  );
  const recent = Math.floor(Date.now() / 1000);
  await write('default', `golden_recent 42 ${recent * 1000}`);

  const expected: unknown[] = [];
  for (const [tenant, query, time] of [
    ['default', 'golden_total', OLD + 239 * 60],
    ['default', 'sum(rate(golden_total[10m]))', OLD + 200 * 60],
    ['default', 'sum_over_time(golden_gauge[1h])', OLD + 120 * 60],
    ['default', 'count_over_time(golden_constant[1d])', OLD + 239 * 60],
    ['default', 'golden_recent', recent],
    ['other', 'golden_total', OLD],
    ['other', 'golden_special', OLD + 60],
  ] as const) {
    const response = await fetch(`${server.url}/api/v1/query?query=${encodeURIComponent(query)}&time=${time}`, {
      headers: { 'x-scope-orgid': tenant },
    });
    const body = (await response.json()) as { data: { result: unknown[] } };
    if (body.data.result.length === 0) throw new Error(`${query} has no result`);
    expected.push({ tenant, query, time, result: body.data.result });
  }
  await server.stop();

  const copy = mkdtempSync(join(tmpdir(), 'sightline-golden-'));
  cpSync(join(server.dir, 'data'), copy, { recursive: true });
  const state = new SqliteStateStore(join(copy, 'state', 'state.sqlite'), () => OLD * 1000);
  await state.put({ kind: 'dashboard', tenant: 'default', id: 'golden', value: { title: 'v1' }, author: 'ann' });
  await state.put({
    kind: 'dashboard',
    tenant: 'default',
    id: 'golden',
    value: { title: 'v2' },
    author: 'bob',
    note: 'n',
  });
  state.close();
  for (const name of ['lock', 'lock.json']) rmSync(join(copy, name), { force: true });
  cpSync(copy, target, { recursive: true });
  rmSync(copy, { recursive: true });
  writeFileSync(`${target}.json`, `${JSON.stringify(expected, null, 2)}\n`);
  console.log(`made ${target}`);
}

async function write(tenant: string, text: string): Promise<void> {
  const answer = await server.post('/api/v1/import/prometheus', `${text}\n`, { 'x-scope-orgid': tenant });
  if (answer.status >= 300) throw new Error(`${answer.status} ${answer.body}`);
}

/** Our answers against the schemas that Prometheus publishes of its own (OpenAPI), endpoint by endpoint. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import type { RuleGroupState } from '../../src/contracts/admin.ts';
import type { TargetDirectory } from '../../src/contracts/targets.ts';
import { NOW, startServer, type TestServer } from './support.ts';

interface Schema {
  $ref?: string;
  type?: string | string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema | boolean;
  prefixItems?: Schema[];
  enum?: unknown[];
  const?: unknown;
  additionalProperties?: Schema | boolean;
}

interface Document {
  paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: Schema }> }> }>
  >;
  components: { schemas: Record<string, Schema> };
}

/** Where the value departs from the schema; '' where it does not. */
function fault(doc: Document, schema: Schema | boolean, value: unknown, at: string): string {
  if (typeof schema === 'boolean') return schema ? '' : `${at}: must not be there`;
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').pop() as string;
    return fault(doc, doc.components.schemas[name] as Schema, value, at);
  }
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants !== undefined) {
    const faults = variants.map(v => fault(doc, v, value, at));
    if (!faults.includes('')) return `${at}: no variant fits (${faults.join('; ')})`;
  }
  for (const part of schema.allOf ?? []) {
    const found = fault(doc, part, value, at);
    if (found !== '') return found;
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) return `${at}: ${String(value)} is not in the enum`;
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length > 0 && !types.some(t => isType(value, t)))
    return `${at}: ${JSON.stringify(value)} is no ${types.join(' or ')}`;
  if (Array.isArray(value)) return faultInArray(doc, schema, value, at);
  if (typeof value === 'object' && value !== null)
    return faultInObject(doc, schema, value as Record<string, unknown>, at);
  return '';
}

function faultInArray(doc: Document, schema: Schema, value: unknown[], at: string): string {
  for (const [i, item] of value.entries()) {
    const itemSchema = schema.prefixItems?.[i] ?? schema.items ?? true;
    const found = fault(doc, itemSchema, item, `${at}[${i}]`);
    if (found !== '') return found;
  }
  return '';
}

function faultInObject(doc: Document, schema: Schema, value: Record<string, unknown>, at: string): string {
  for (const name of schema.required ?? []) if (!(name in value)) return `${at}.${name} is missing`;
  for (const [name, item] of Object.entries(value)) {
    const known = schema.properties?.[name];
    // What we say beyond the schema is ours to say: clients skip it.
    const found =
      known !== undefined
        ? fault(doc, known, item, `${at}.${name}`)
        : typeof schema.additionalProperties === 'object'
          ? fault(doc, schema.additionalProperties, item, `${at}.${name}`)
          : '';
    if (found !== '') return found;
  }
  return '';
}

function isType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

const TARGETS: TargetDirectory = {
  active: () => [
    {
      discoveredLabels: ['__address__', 'a:80', 'job', 'x'],
      labels: ['instance', 'a:80', 'job', 'x'],
      scrapePool: 'x',
      scrapeUrl: 'http://a:80/metrics',
      globalUrl: 'http://a:80/metrics',
      lastError: '',
      lastScrapeMs: NOW,
      lastScrapeDurationMs: 12.5,
      health: 'up',
      scrapeIntervalMs: 15_000,
      scrapeTimeoutMs: 10_000,
    },
  ],
  dropped: () => [{ discoveredLabels: ['__address__', 'b:80'], scrapePool: 'y', reason: 'a rule', rule: 0 }],
  droppedCounts: () => ({ y: 1 }),
  scrapePools: () => ['x', 'y'],
  discovery: () => [],
  metadata: () => [
    { labels: ['instance', 'a:80', 'job', 'x'], entries: [{ metric: 'up', type: 'gauge', help: 'Up?', unit: '' }] },
    { labels: ['instance', 'c:80', 'job', 'z'], entries: [{ metric: 'm', type: 'counter', help: '', unit: '' }] },
  ],
};

const ruleBase = {
  labels: ['severity', 'page'],
  health: 'ok' as const,
  lastError: '',
  evaluationTimeMs: 3,
  lastEvaluationMs: NOW,
};
const GROUPS: RuleGroupState[] = [
  {
    name: 'g1',
    file: 'a.yml',
    intervalMs: 60_000,
    limit: 0,
    evaluationTimeMs: 5,
    lastEvaluationMs: NOW,
    rules: [
      { ...ruleBase, type: 'recording', name: 'r', query: 'sum(up)' },
      {
        ...ruleBase,
        type: 'alerting',
        name: 'Down',
        query: 'up == 0',
        state: 'firing',
        durationMs: 300_000,
        keepFiringForMs: 0,
        annotations: ['summary', 'it is down'],
        alerts: [
          {
            labels: ['alertname', 'Down'],
            annotations: [],
            state: 'firing',
            activeAtMs: NOW,
            keepFiringSinceMs: 0,
            value: 1,
          },
        ],
      },
    ],
  },
  { name: 'g2', file: 'b.yml', intervalMs: 60_000, limit: 0, evaluationTimeMs: 5, lastEvaluationMs: 0, rules: [] },
];

const s = NOW / 1000;
const CASES: [string, string][] = [
  ['/query', `?query=up&time=${s}&stats=all`],
  ['/query', '?query=1'],
  // Not strings: the schema has two strings there, Prometheus itself a number and a string.
  ['/query', `?query=up%5B1m%5D&time=${s}`],
  ['/query_range', `?query=up&start=${s - 60}&end=${s}&step=15`],
  ['/query_exemplars', '?query=up'],
  ['/format_query', '?query=up'],
  ['/parse_query', '?query=up'],
  ['/labels', ''],
  ['/labels', '?limit=1'],
  ['/label/{name}/values', ''],
  ['/series', '?match[]=up'],
  ['/metadata', ''],
  ['/scrape_pools', ''],
  ['/targets', ''],
  ['/targets/metadata', ''],
  ['/rules', ''],
  ['/alerts', ''],
  ['/alertmanagers', ''],
  ['/status/config', ''],
  ['/status/runtimeinfo', ''],
  ['/status/buildinfo', ''],
  ['/status/flags', ''],
  ['/status/tsdb', ''],
  ['/status/tsdb/blocks', ''],
  ['/status/walreplay', ''],
  ['/notifications', ''],
];

describe('shapes', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer(
      undefined,
      {},
      {
        targets: TARGETS,
        rules: { groups: () => GROUPS, alertmanagers: () => ({ active: ['http://am/api/v2/alerts'], dropped: [] }) },
        adminApiEnabled: true,
      },
    );
  });
  after(() => server.close());

  const suites = process.env.SIGHTLINE_SUITES;
  const get = async (path: string) => (await fetch(`${server.url}/api/v1${path}`)).json() as Promise<{ data: never }>;

  test('answers fit the published schemas', {
    skip: suites === undefined ? 'skipped: needs SIGHTLINE_SUITES' : false,
  }, async () => {
    const file = join(suites as string, '04-prom-rules-config', 'api', 'openapi_3.2_golden.yaml');
    const doc = parse(readFileSync(file, 'utf8')) as Document;
    for (const [path, params] of CASES) {
      const schema = doc.paths[path]?.get?.responses['200']?.content?.['application/json']?.schema;
      assert.ok(schema !== undefined, `${path} is described`);
      const body = await get(path.replace('{name}', 'job') + params);
      assert.equal(fault(doc, schema, body, path), '');
    }
    const wrong = fault(doc, { $ref: '#/components/schemas/TargetsOutputBody' }, { status: 'success', data: {} }, 'x');
    assert.match(wrong, /activeTargets is missing/);
    for (const call of ['delete_series?match[]=up', 'clean_tombstones']) {
      const response = await fetch(`${server.url}/api/v1/admin/tsdb/${call}`, { method: 'POST' });
      assert.equal(response.status, 204);
    }
    const snapshot = await fetch(`${server.url}/api/v1/admin/tsdb/snapshot?skip_head=true`, { method: 'PUT' });
    assert.deepEqual(await snapshot.json(), { status: 'success', data: { name: 'snap' } });
  });

  test('targets by state and pool, metadata by target and metric', async () => {
    const dropped = (await get('/targets?state=dropped')).data as {
      activeTargets: unknown[];
      droppedTargets: unknown[];
    };
    assert.deepEqual([dropped.activeTargets.length, dropped.droppedTargets.length], [0, 1]);
    const pool = (await get('/targets?scrapePool=y&state=active')).data as {
      activeTargets: unknown[];
      droppedTargets: unknown[];
    };
    assert.deepEqual([pool.activeTargets.length, pool.droppedTargets.length], [0, 0]);
    const all = (await get('/targets')).data as {
      activeTargets: { scrapeInterval: string; lastScrapeDuration: number }[];
    };
    assert.equal(all.activeTargets[0]?.scrapeInterval, '15s');
    assert.equal(all.activeTargets[0]?.lastScrapeDuration, 0.0125);
    assert.deepEqual((await get(`/targets/metadata?match_target=${encodeURIComponent('{job="x"}')}&metric=up`)).data, [
      { target: { instance: 'a:80', job: 'x' }, type: 'gauge', help: 'Up?', unit: '' },
    ]);
    assert.equal(((await get('/targets/metadata?limit=1')).data as unknown[]).length, 1);
  });

  test('rules by type, name, group, file, label, and page', async () => {
    interface Rules {
      groups: { name: string; rules: { name: string; alerts?: unknown[] }[] }[];
      groupNextToken?: string;
    }
    const names = async (params: string) =>
      ((await get(`/rules?${params}`)).data as Rules).groups.map(g => [g.name, ...g.rules.map(r => r.name)].join());
    assert.deepEqual(await names(''), ['g1,r,Down', 'g2']);
    assert.deepEqual(await names('type=alert'), ['g1,Down']);
    assert.deepEqual(await names('type=record'), ['g1,r']);
    assert.deepEqual(await names('rule_name[]=Down'), ['g1,Down']);
    assert.deepEqual(await names('rule_group[]=g2'), ['g2']);
    assert.deepEqual(await names('file[]=a.yml'), ['g1,r,Down']);
    assert.deepEqual(await names(`match[]=${encodeURIComponent('{severity="none"}')}`), []);
    const quiet = (await get('/rules?exclude_alerts=true&type=alert')).data as Rules;
    assert.deepEqual(quiet.groups[0]?.rules[0]?.alerts, []);
    const page = (await get('/rules?group_limit=1')).data as Rules;
    assert.equal(page.groups.length, 1);
    const next = (await get(`/rules?group_limit=1&group_next_token=${page.groupNextToken}`)).data as Rules;
    assert.deepEqual([next.groups[0]?.name, next.groupNextToken], ['g2', undefined]);
    const alerts = (await get('/alerts')).data as { alerts: { value: string }[] };
    assert.equal(alerts.alerts[0]?.value, '1e+00');
  });
});

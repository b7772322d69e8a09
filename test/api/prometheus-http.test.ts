import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { labelsFromRecord } from '../../src/model/labels.ts';
import { NOW, sampleData, startServer, type TestServer } from './support.ts';

interface Answer {
  status: number;
  type: string;
  json: {
    status: string;
    errorType?: string;
    error?: string;
    // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
    data?: any;
    warnings?: string[];
    infos?: string[];
  };
}

describe('the Prometheus API over HTTP', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.close());

  async function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(server.url + path, { headers });
    const text = await response.text();
    const type = response.headers.get('content-type') ?? '';
    return { status: response.status, type, json: text === '' ? { status: '' } : JSON.parse(text) };
  }

  async function post(path: string, form: Record<string, string>): Promise<Answer> {
    const response = await fetch(server.url + path, { method: 'POST', body: new URLSearchParams(form) });
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      json: JSON.parse(await response.text()),
    };
  }

  const seconds = NOW / 1000;
  const q = encodeURIComponent;

  test('instant queries', async () => {
    const health = await get('/api/v1/query?query=1%2B1');
    assert.deepEqual(health, {
      status: 200,
      type: 'application/json',
      json: { status: 'success', data: { resultType: 'scalar', result: [seconds, '2'] } },
    });
    const sum = await post('/prometheus/api/v1/query', {
      query: 'sum(requests_total)',
      time: String(seconds),
    });
    assert.deepEqual(sum.json.data, { resultType: 'vector', result: [{ metric: {}, value: [seconds, '21600'] }] });
    const matrix = await get(`/api/v1/query?query=${q('up{instance="host-0:80"}[30s]')}&time=${seconds}`);
    assert.equal(matrix.json.data.resultType, 'matrix');
    assert.deepEqual(matrix.json.data.result[0].values, [
      [seconds - 15, '1'],
      [seconds, '1'],
    ]);
    const text = await get(`/api/v1/query?query=${q('"hello"')}`);
    assert.deepEqual(text.json.data, { resultType: 'string', result: [seconds, 'hello'] });
    const limited = await get('/api/v1/query?query=up&limit=2');
    assert.equal(limited.json.data.result.length, 2);
    assert.deepEqual(limited.json.warnings, ['results truncated due to limit']);
    const odd = await get('/api/v1/query?query=odd');
    assert.deepEqual(odd.json.data.result[0].metric, { __name__: 'odd', 'service.name': 'ä"\\' });
    const all = await get(`/api/v1/query_range?query=up&start=${NOW / 1000 - 30}&end=${NOW / 1000}&step=15&stats=all`);
    assert.deepEqual(all.json.data.stats.samples.totalQueryableSamplesPerStep, [
      [NOW / 1000 - 30, 3],
      [NOW / 1000 - 15, 3],
      [NOW / 1000, 3],
    ]);
    assert.equal(all.json.data.stats.samples.totalQueryableSamples, 9);
    const stats = await get('/api/v1/query?query=up&stats=true');
    assert.equal(stats.json.data.stats.samples.totalQueryableSamplesPerStep, undefined);
    assert.equal(typeof stats.json.data.stats.samples.totalQueryableSamples, 'number');
    assert.equal(typeof stats.json.data.stats.timings.evalTotalTime, 'number');
    const lookback = await get(`/api/v1/query?query=up&time=${seconds + 60}&lookback_delta=30s`);
    assert.deepEqual(lookback.json.data.result, []);
  });

  test('range queries', async () => {
    const range = `start=${seconds - 60}&end=${seconds}&step=30`;
    const up = await get(`/api/v1/query_range?query=${q('up{instance="host-2:80"}')}&${range}`);
    assert.deepEqual(up.json.data, {
      resultType: 'matrix',
      result: [
        {
          metric: { __name__: 'up', instance: 'host-2:80', job: 'api' },
          values: [
            [seconds - 60, '0'],
            [seconds - 30, '0'],
            [seconds, '0'],
          ],
        },
      ],
    });
    const scalar = await get(`/api/v1/query_range?query=1&${range}`);
    assert.equal(scalar.json.data.result[0].values.length, 3);
    const form = await post('/api/v1/query_range', {
      query: 'up',
      start: String(seconds - 60),
      end: String(seconds),
      step: '1m',
    });
    assert.equal(form.json.data.result.length, 3);
    const info = await get(`/api/v1/query_range?query=${q('rate(up[5m])')}&${range}`);
    assert.match(info.json.infos?.[0] ?? '', /metric might not be a counter/);
  });

  test('refusals have the codes and texts of Prometheus', async () => {
    const range = `start=${seconds - 60}&end=${seconds}&step=30`;
    const cases: [string, number, string, RegExp][] = [
      ['query?query=up(', 400, 'bad_data', /^invalid parameter "query": 1:\d+: parse error: /],
      ['query?query=', 400, 'bad_data', /^invalid parameter "query": .*no expression found in input/],
      ['query?query=up&time=x', 400, 'bad_data', /^invalid parameter "time": Invalid time value for 'time'/],
      [
        'query?query=up&timeout=x',
        400,
        'bad_data',
        /^invalid parameter "timeout": cannot parse "x" to a valid duration/,
      ],
      ['query?query=up&timeout=0', 503, 'timeout', /^query timed out in expression evaluation/],
      ['query?query=up&limit=x', 400, 'bad_data', /^invalid parameter "limit": strconv.Atoi/],
      [
        `query_range?query=up&end=1&step=1`,
        400,
        'bad_data',
        /^invalid parameter "start": cannot parse "" to a valid timestamp/,
      ],
      [`query_range?query=up&start=1&step=1`, 400, 'bad_data', /^invalid parameter "end"/],
      [`query_range?query=up&start=2&end=1&step=1`, 400, 'bad_data', /end timestamp must not be before start time/],
      [`query_range?query=up&start=1&end=2&step=0`, 400, 'bad_data', /^invalid parameter "step": zero or negative/],
      [
        `query_range?query=up&start=0&end=11001&step=1`,
        400,
        'bad_data',
        /^exceeded maximum resolution of 11,000 points/,
      ],
      [
        `query_range?query=${q('up[5m]')}&${range}`,
        400,
        'bad_data',
        /^invalid parameter "query": invalid expression type "range vector"/,
      ],
      [`query?query=${q('up + on(job) up')}`, 422, 'execution', /many-to-many matching not allowed/],
      ['series', 400, 'bad_data', /^no match\[\] parameter provided$/],
      [
        `series?match[]=${q('{a=""}')}`,
        400,
        'bad_data',
        /^invalid parameter "match\[\]": match\[\] must contain at least one non-empty matcher/,
      ],
      [`labels?match[]=${q('{')}`, 400, 'bad_data', /parse error/],
      ['labels?start=x', 400, 'bad_data', /^invalid parameter "start"/],
      ['metadata?limit=x', 400, 'bad_data', /^limit must be a number$/],
      ['query_exemplars?query=up&start=2&end=1', 400, 'bad_data', /^end timestamp must not be before start timestamp$/],
      ['format_query?query=sum(', 400, 'bad_data', /^invalid parameter "query"/],
      ['export', 400, 'bad_data', /no match/],
      ['rules?type=x', 400, 'bad_data', /^invalid parameter "type": not supported value "x"$/],
      ['status/tsdb?limit=0', 400, 'bad_data', /^limit must be a positive number$/],
    ];
    for (const [path, status, type, text] of cases) {
      const answer = await get(`/api/v1/${path}`);
      assert.equal(answer.status, status, path);
      assert.equal(answer.type, 'application/json', path);
      assert.equal(answer.json.status, 'error', path);
      assert.equal(answer.json.errorType, type, path);
      assert.match(answer.json.error ?? '', text, path);
    }
  });

  test('labels, values, series, metadata, exemplars', async () => {
    assert.deepEqual((await get('/api/v1/labels')).json.data, ['__name__', 'code', 'instance', 'job', 'service.name']);
    assert.deepEqual((await post('/api/v1/labels', { 'match[]': 'up' })).json.data, ['__name__', 'instance', 'job']);
    const limited = await get('/api/v1/labels?limit=2');
    assert.deepEqual(limited.json, {
      status: 'success',
      data: ['__name__', 'code'],
      warnings: ['results truncated due to limit'],
    });
    assert.deepEqual((await get('/api/v1/label/code/values')).json.data, ['200', '300', '400']);
    assert.deepEqual((await get('/api/v1/label/code/values?match[]=up')).json.data, []);
    assert.deepEqual((await get('/api/v1/label/U__service_2e_name/values')).json.data, ['ä"\\']);
    assert.deepEqual((await get(`/api/v1/label/${q('service.name')}/values`)).json.data, ['ä"\\']);
    assert.deepEqual((await get(`/api/v1/label/${'x'.repeat(3000)}/values`)).json.data, []);
    assert.deepEqual((await get('/api/v1/label/a%2Fb/values')).json.data, []);
    assert.equal((await get('/api/v1/label/a/b')).status, 404);
    const series = await get(`/api/v1/series?match[]=${q('up{instance=~"host-[01].*"}')}&match[]=up`);
    assert.deepEqual(
      series.json.data.map((s: { instance: string }) => s.instance),
      ['host-0:80', 'host-1:80', 'host-2:80'],
    );
    assert.deepEqual((await get('/api/v1/series?match[]=up&limit=1')).json.warnings, [
      'results truncated due to limit',
    ]);
    assert.deepEqual((await get(`/api/v1/series?match[]=up&end=1000`)).json.data, []);
    assert.deepEqual((await get('/api/v1/metadata')).json.data, {
      requests_total: [{ type: 'counter', help: 'Requests.', unit: '' }],
      up: [{ type: 'gauge', help: 'Up?', unit: '' }],
    });
    assert.deepEqual((await get('/api/v1/metadata?metric=up')).json.data, {
      up: [{ type: 'gauge', help: 'Up?', unit: '' }],
    });
    assert.deepEqual((await get('/api/v1/metadata?limit=1')).json.data, {
      requests_total: [{ type: 'counter', help: 'Requests.', unit: '' }],
    });
    assert.deepEqual((await get('/api/v1/query_exemplars?query=up')).json.data, []);
    assert.equal((await get('/api/v1/query_exemplars?query=1')).status, 204);
  });

  test('format and parse', async () => {
    assert.equal((await get(`/api/v1/format_query?query=${q('sum   by(job)(up)')}`)).json.data, 'sum by (job) (up)');
    const tree = (await post('/api/v1/parse_query', { query: 'rate(up[5m])' })).json.data;
    assert.equal(tree.type, 'call');
    assert.equal(tree.func.name, 'rate');
  });

  test('tenants are apart', async () => {
    assert.deepEqual((await get('/api/v1/query?query=secret')).json.data.result, []);
    const other = await get('/api/v1/query?query=secret', { 'x-scope-orgid': 'other' });
    assert.equal(other.json.data.result.length, 1);
    assert.deepEqual((await get('/api/v1/labels', { 'x-scope-orgid': 'other' })).json.data, ['__name__']);
    const invalid = await get('/api/v1/labels', { 'x-scope-orgid': '../etc' });
    assert.equal(invalid.status, 400);
    assert.match(invalid.json.error ?? '', /invalid tenant in X-Scope-OrgID/);
  });

  test('what the server says of itself', async () => {
    const build = (await get('/api/v1/status/buildinfo')).json.data;
    assert.match(build.version, /^3\./);
    assert.equal(build.applicationVersion, '0.1.0');
    assert.deepEqual((await get('/api/v1/status/config')).json.data, { yaml: 'scrape_configs: []\n' });
    assert.deepEqual((await get('/api/v1/status/flags')).json.data, { 'http.listen': '127.0.0.1:7070' });
    const runtime = (await get('/api/v1/status/runtimeinfo')).json.data;
    assert.equal(runtime.startTime, new Date(NOW).toISOString());
    assert.equal(runtime.lastConfigTime, '0001-01-01T00:00:00Z');
    assert.equal((await get('/api/v1/status/tsdb')).json.data.headStats.numSeries, 7);
    assert.deepEqual((await get('/api/v1/status/tsdb/blocks')).json.data, { blocks: [] });
    assert.equal((await get('/api/v1/status/walreplay')).json.data.max, 2);
    assert.deepEqual((await get('/api/v1/rules')).json.data, { groups: [] });
    assert.deepEqual((await get('/api/v1/alerts')).json.data, { alerts: [] });
    assert.deepEqual((await get('/api/v1/alertmanagers')).json.data, {
      activeAlertmanagers: [],
      droppedAlertmanagers: [],
    });
    assert.deepEqual((await get('/api/v1/targets')).json.data, {
      activeTargets: [],
      droppedTargets: [],
      droppedTargetCounts: {},
    });
    assert.deepEqual((await get('/api/v1/scrape_pools')).json.data, { scrapePools: [] });
    assert.deepEqual((await get('/api/v1/targets/metadata')).json.data, []);
    const admin = await post('/api/v1/admin/tsdb/delete_series', { 'match[]': 'up' });
    assert.deepEqual(admin.json, { status: 'error', errorType: 'unavailable', error: 'admin APIs disabled' });
    const openapi = await fetch(`${server.url}/sightline/api/openapi.json`);
    const described = (await openapi.json()) as { paths: Record<string, unknown> };
    assert.deepEqual(Object.keys(described.paths), ['/sightline/api/queries', '/sightline/api/queries/{id}']);
  });

  test('answers are compressed as the client likes', async () => {
    const path = `/api/v1/query_range?query=requests_total&start=${seconds - 3600}&end=${seconds}&step=15`;
    const plain = await rawGet(path, {});
    assert.ok(plain.body.length > 5000);
    const gzip = await rawGet(path, { 'accept-encoding': 'gzip' });
    assert.equal(gzip.headers['content-encoding'], 'gzip');
    assert.deepEqual(gunzipSync(gzip.body), plain.body);
    const zstd = await rawGet(path, { 'accept-encoding': 'gzip, zstd' });
    assert.equal(zstd.headers['content-encoding'], 'zstd');
    assert.deepEqual(zstdDecompressSync(zstd.body), plain.body);
    assert.equal(zstd.headers.vary, 'Accept-Encoding');
  });

  /** Without fetch's own decompression. */
  function rawGet(path: string, headers: Record<string, string>) {
    return new Promise<{ body: Buffer; headers: NodeJS.Dict<string | string[]> }>((resolve, reject) => {
      request(server.url + path, { headers }, response => {
        const chunks: Buffer[] = [];
        response.on('data', chunk => chunks.push(chunk));
        response.on('end', () => resolve({ body: Buffer.concat(chunks), headers: response.headers }));
        response.on('error', reject);
      })
        .on('error', reject)
        .end();
    });
  }

  test('federation', async () => {
    const response = await fetch(`${server.url}/federate?match[]=up&match[]=${q('{__name__="odd"}')}`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.equal(
      await response.text(),
      `# TYPE odd untyped\nodd{service_name="ä\\"\\\\",instance=""} 0.1 ${NOW}\n` +
        `# TYPE up untyped\nup{instance="host-0:80",job="api"} 1 ${NOW}\n` +
        `up{instance="host-1:80",job="api"} 1 ${NOW}\nup{instance="host-2:80",job="api"} 0 ${NOW}\n`,
    );
    const bad = await fetch(`${server.url}/federate?match[]={`);
    assert.equal(bad.status, 400);
    assert.match(bad.headers.get('content-type') ?? '', /^text\/plain/);
  });

  test('federation as OpenMetrics', async () => {
    const headers = {
      accept: 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3',
    };
    const response = await fetch(`${server.url}/federate?match[]=odd`, { headers });
    assert.match(response.headers.get('content-type') ?? '', /^application\/openmetrics-text; version=1\.0\.0/);
    const text = await response.text();
    assert.equal(text, `# TYPE odd unknown\nodd{"service.name"="ä\\"\\\\",instance=""} 0.1 ${NOW / 1000}\n# EOF\n`);
    const none = await fetch(`${server.url}/federate?match[]=nothing`, { headers });
    assert.equal(await none.text(), '# EOF\n');
  });

  test('federation with external labels', async () => {
    const external = labelsFromRecord({ cluster: 'eu', job: 'other' });
    const own = await startServer(sampleData(), {}, { externalLabels: () => external });
    const text = await (await fetch(`${own.url}/federate?match[]=odd&match[]=${q('up{instance="host-1:80"}')}`)).text();
    await own.close();
    assert.deepEqual(
      text.split('\n').filter(line => !line.startsWith('#')),
      [
        `odd{service_name="ä\\"\\\\",cluster="eu",instance="",job="other"} 0.1 ${NOW}`,
        `up{instance="host-1:80",job="api",cluster="eu"} 1 ${NOW}`,
        '',
      ],
    );
  });

  test('export', async () => {
    const response = await fetch(
      `${server.url}/api/v1/export?match[]=${q('up{instance=~"host-[12].*"}')}&start=${seconds - 15}&end=${seconds}`,
    );
    const lines = (await response.text())
      .trim()
      .split('\n')
      .map(l => JSON.parse(l));
    assert.deepEqual(lines, [
      {
        metric: { __name__: 'up', instance: 'host-1:80', job: 'api' },
        values: [1, 1],
        timestamps: [NOW - 15_000, NOW],
      },
      {
        metric: { __name__: 'up', instance: 'host-2:80', job: 'api' },
        values: [0, 0],
        timestamps: [NOW - 15_000, NOW],
      },
    ]);
  });

  test('no query is left behind', async () => {
    assert.deepEqual(await server.handler.activeQueries(null), []);
    assert.deepEqual(server.handler.queueCounts(), { running: 0, waiting: 0 });
  });
});

/**
 * The OpenTelemetry SDK for Node at its default settings, through each of its three exporters, against the real server: nothing is
 * configured but where the server is, and only because tests do not use the well-known ports.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { Sightline } from '../support/sightline.ts';

/** An application's instruments, each used a little, then flushed. */
async function runApp(exporter: PushMetricExporter, service: string): Promise<void> {
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 600_000 });
  const provider = new MeterProvider({
    resource: resourceFromAttributes({
      'service.name': service,
      'service.namespace': 'shop',
      'service.instance.id': 'one',
      'deployment.environment.name': 'test',
    }),
    readers: [reader],
    views: [{ instrumentName: 'exp.size', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
  });
  const meter = provider.getMeter('shop', '1.0');
  const requests = meter.createCounter('http.server.requests', { description: 'Requests.', unit: '{request}' });
  requests.add(2, { 'http.method': 'GET', code: 200 });
  requests.add(3, { 'http.method': 'POST', code: 200 });
  meter.createUpDownCounter('queue.length').add(-4);
  const duration = meter.createHistogram('http.server.duration', {
    unit: 's',
    advice: { explicitBucketBoundaries: [0.1, 1] },
  });
  for (const seconds of [0.05, 0.5, 0.7, 5]) duration.record(seconds, { route: '/a' });
  const size = meter.createHistogram('exp.size', { unit: 'By' });
  for (const bytes of [0, 1, 2, 3, 4]) size.record(bytes);
  meter.createObservableGauge('heap.used', { unit: 'By' }).addCallback(result => result.observe(12.5, { pool: 'old' }));
  await provider.forceFlush();
  // What the last flush left, and the timers.
  await provider.shutdown();
}

async function values(server: Sightline, query: string): Promise<Record<string, number>> {
  const result = await server.query(query);
  return Object.fromEntries(
    result.map(({ metric, value }) => [
      Object.entries(metric)
        .filter(([name]) => !['__name__', 'job', 'instance'].includes(name))
        .map(([name, text]) => `${name}=${text}`)
        .sort()
        .join(','),
      Number(value[1]),
    ]),
  );
}

async function check(server: Sightline, service: string): Promise<void> {
  const job = `job="shop/${service}",instance="one"`;
  assert.deepEqual(await values(server, `http_server_requests_total{${job}}`), {
    'code=200,http_method=GET': 2,
    'code=200,http_method=POST': 3,
  });
  assert.deepEqual(await values(server, `queue_length{${job}}`), { '': -4 });
  assert.deepEqual(await values(server, `heap_used_bytes{${job}}`), { 'pool=old': 12.5 });
  assert.deepEqual(await values(server, `http_server_duration_seconds_bucket{${job}}`), {
    'le=0.1,route=/a': 1,
    'le=1,route=/a': 3,
    'le=+Inf,route=/a': 4,
  });
  assert.deepEqual(await values(server, `http_server_duration_seconds_sum{${job}}`), { 'route=/a': 6.25 });
  assert.deepEqual(await values(server, `histogram_count(exp_size_bytes{${job}})`), { '': 5 });
  assert.deepEqual(await values(server, `histogram_sum(exp_size_bytes{${job}})`), { '': 10 });
  assert.deepEqual(await values(server, `histogram_fraction(-1, 2, exp_size_bytes{${job}})`), { '': 0.6 });
  const [info] = await server.query(`target_info{${job}}`);
  assert.equal(info?.metric.deployment_environment_name, 'test');
  assert.equal(info?.metric.service_name, undefined);
}

test('the Node SDK over gRPC, HTTP with protobuf and HTTP with JSON', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  await runApp(new GrpcExporter({ url: `http://${server.otlpGrpc}` }), 'grpc');
  await runApp(new ProtoExporter({ url: `${server.otlpHttp}/v1/metrics` }), 'proto');
  await runApp(new JsonExporter({ url: `${server.otlpHttp}/v1/metrics` }), 'json');
  await runApp(new ProtoExporter({ url: `${server.url}/api/v1/otlp/v1/metrics` }), 'main-port');
  for (const service of ['grpc', 'proto', 'json', 'main-port']) await check(server, service);
  const metadata = JSON.parse(await server.get('/api/v1/metadata?metric=http_server_requests_total'));
  assert.deepEqual(metadata.data.http_server_requests_total, [
    { type: 'counter', help: 'Requests.', unit: '{request}' },
  ]);
});

test('delta temporality becomes running totals, whichever worker a report lands at', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n', args: ['--shards', '3'] });
  const exporter = new ProtoExporter({
    url: `${server.otlpHttp}/v1/metrics`,
    temporalityPreference: AggregationTemporality.DELTA,
  });
  const provider = new MeterProvider({
    resource: resourceFromAttributes({ 'service.name': 'delta' }),
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 600_000 })],
  });
  const counter = provider.getMeter('m').createCounter('jobs');
  const histogram = provider.getMeter('m').createHistogram('wait', { advice: { explicitBucketBoundaries: [1, 10] } });
  for (let i = 1; i <= 5; i++) {
    counter.add(i);
    histogram.record(i);
    await provider.forceFlush();
  }
  assert.deepEqual(await values(server, 'jobs_total'), { '': 15 });
  assert.deepEqual(await values(server, 'wait_bucket'), { 'le=1': 1, 'le=10': 5, 'le=+Inf': 5 });
  assert.deepEqual(await values(server, 'wait_sum'), { '': 15 });
  await provider.shutdown();
});

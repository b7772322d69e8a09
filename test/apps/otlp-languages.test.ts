/**
 * OpenTelemetry's SDKs for Python and Go, and its Java agent, against the real server: told where it is by the one variable that all of them
 * read, and nothing else.
 *
 * They come from their languages' package registries, at the versions pinned in test/fixtures/otel-sdks, into the folder that
 * SIGHTLINE_OTEL_SDKS names (filled on the first run, which takes some minutes).
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needs, runProgramOrThrow, until } from '../support/programs.ts';
import { runProgram, Sightline } from '../support/sightline.ts';

const FIXTURES = join(import.meta.dirname, '..', 'fixtures', 'otel-sdks');
const FOLDER = process.env.SIGHTLINE_OTEL_SDKS ?? '';
const AGENT = 'opentelemetry-javaagent-2.20.1.jar';

function missing(...programs: string[]): string | false {
  return FOLDER === '' ? 'needs SIGHTLINE_OTEL_SDKS' : needs(...programs);
}

function folder(name: string): string {
  const path = join(FOLDER, name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** Runs the small application of one language over each door and looks at what arrived. */
async function checkApp(
  server: Sightline,
  service: string,
  command: string,
  args: readonly string[],
  grpcScheme: string,
): Promise<void> {
  for (const door of ['grpc', 'http']) {
    const endpoint = door === 'grpc' ? `${grpcScheme}${server.otlpGrpc}` : server.otlpHttp;
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: `${service}-${door}` };
    const result = await runProgram(command, [...args, door], { env });
    assert.equal(result.code, 0, result.stderr);
    const job = `job="${service}-${door}"`;
    const [jobs] = await server.query(`jobs_done_total{${job},kind="a"}`);
    assert.equal(jobs?.value[1], '3', result.stderr);
    const [below] = await server.query(`wait_seconds_bucket{${job},le="5"}`);
    assert.equal(below?.value[1], '1');
    const [info] = await server.query(`target_info{${job}}`);
    assert.equal(info?.metric.telemetry_sdk_language, service);
  }
}

test('the Python SDK', { skip: missing('python3') }, async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const venv = folder('python');
  const python = join(venv, 'bin', 'python');
  if (!existsSync(join(venv, 'done'))) {
    runProgramOrThrow('python3', ['-m', 'venv', venv], FOLDER);
    runProgramOrThrow(python, ['-m', 'pip', 'install', '-q', '-r', join(FIXTURES, 'requirements.txt')], FOLDER);
    copyFileSync(join(FIXTURES, 'requirements.txt'), join(venv, 'done'));
  }
  await checkApp(server, 'python', python, [join(FIXTURES, 'app.py')], 'http://');
});

test('the Go SDK', { skip: missing('go') }, async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const app = join(folder('go'), 'app');
  if (!existsSync(app)) runProgramOrThrow('go', ['build', '-o', app, '.'], FIXTURES);
  await checkApp(server, 'go', app, [], 'http://');
});

test('the Java agent', { skip: missing('java', 'mvn') }, async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const agent = join(folder('java'), AGENT);
  if (!existsSync(agent)) {
    const artifact = `-Dartifact=io.opentelemetry.javaagent:opentelemetry-javaagent:${AGENT.replace(/.*-|\.jar/g, '')}`;
    runProgramOrThrow('mvn', ['-q', '-B', 'dependency:copy', artifact, `-DoutputDirectory=${folder('java')}`], FOLDER);
  }
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: server.otlpHttp,
    OTEL_SERVICE_NAME: 'java',
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
  };
  const result = await runProgram('java', [`-javaagent:${agent}`, join(FIXTURES, 'App.java')], { env });
  assert.equal(result.code, 0, result.stderr);
  const used = await until('JVM metrics', async () => {
    const found = await server.query('sum(jvm_memory_used_bytes{job="java"})');
    return found.length > 0 && found;
  });
  assert.ok(Number(used[0]?.value[1]) > 1e6);
  const [info] = await server.query('target_info{job="java"}');
  assert.equal(info?.metric.telemetry_distro_name, 'opentelemetry-java-instrumentation');
});

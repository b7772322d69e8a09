/**
 * docs/running-proxy.md, taken at its word: its snippets for nginx and Caddy, with only names, ports and TLS replaced, before the real
 * server: the page, a query, a change from a browser and a large import under a name and under a path, and OTLP over gRPC.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { Sightline } from '../support/sightline.ts';

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'running-proxy.md'), 'utf8');

/** Fenced blocks under a heading. */
function blocks(heading: string): string[] {
  const section = page.split(/^## /m).find(text => text.startsWith(`${heading}\n`)) ?? '';
  return [...section.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(m => m[1] as string);
}

/** Names are this machine, TLS is left out: what is tried is how requests are passed on. */
function here(text: string, server: Sightline): string {
  return text
    .replaceAll('127.0.0.1:7070', server.url.replace('http://', ''))
    .replaceAll('127.0.0.1:4317', server.otlpGrpc)
    .replaceAll(/^\s*(ssl_certificate|http2|server_name).*$/gm, '');
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-proxy-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function start(t: TestContext, path: string): Promise<Sightline> {
  const config = `host: {enabled: false}\nhttp: {external_url: "https://example.org${path}", trusted_proxies: [127.0.0.1]}\n`;
  return Sightline.start(t, { config });
}

/** What people and programs do through a proxy. */
async function use(url: string, label: string): Promise<void> {
  const answer = await until('the proxy', async () => {
    const response = await fetch(`${url}/`);
    return response.ok ? response : null;
  });
  assert.match(await answer.text(), /<!doctype html>/i);
  // A change from a page that people reach by the external URL's name.
  const origin = { origin: 'https://example.org', 'x-forwarded-host': 'example.org', 'sec-fetch-site': 'same-origin' };
  const now = Date.now();
  const line = (i: number): string => `through_proxy{by="${label}",i="${i}"} ${i} ${now}\n`;
  const body = Array.from({ length: 30_000 }, (_, i) => line(i)).join('');
  assert.ok(body.length > 1_200_000);
  const imported = await fetch(`${url}/api/v1/import/prometheus`, { method: 'POST', body, headers: origin });
  assert.ok(imported.ok, `${imported.status} ${await imported.text()}`);
  const query = `count(through_proxy{by="${label}"})`;
  const found = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query, time: String(now / 1000 + 1) })}`);
  assert.match(await found.text(), /"30000"/);
}

async function sendOtlp(address: string, server: Sightline): Promise<void> {
  const exporter = new OTLPMetricExporter({ url: `http://${address}` });
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 600_000 })],
  });
  provider.getMeter('m').createCounter('through_proxy_otlp').add(3);
  await provider.forceFlush();
  await provider.shutdown();
  assert.equal((await server.query('through_proxy_otlp_total'))[0]?.value[1], '3');
}

async function startNginx(t: TestContext, servers: string): Promise<void> {
  const dir = folder(t);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi', 'grpc']
    .map(name => (name === 'grpc' ? '' : `${name}_temp_path ${join(dir, name)};`))
    .join('\n');
  mkdirSync(join(dir, 'logs'));
  const file = join(dir, 'nginx.conf');
  const main = `daemon off; pid ${join(dir, 'pid')}; error_log ${join(dir, 'error.log')};\nevents {}\n`;
  writeFileSync(file, `${main}http {\naccess_log off;\n${temporary}\n${servers}\n}\n`);
  startProgram(t, findProgram('nginx'), ['-p', dir, '-c', file], dir);
}

test('nginx at a name of its own, and OTLP over gRPC', { skip: needs('nginx') }, async t => {
  const server = await start(t, '/');
  const [web, grpc] = [await freePort(), await freePort()];
  const [site = '', , otlp = ''] = blocks('nginx').map(text => here(text, server));
  await startNginx(
    t,
    site.replace('listen 443 ssl', `listen 127.0.0.1:${web}`) +
      otlp.replace('listen 4317 ssl', `listen 127.0.0.1:${grpc} http2`),
  );
  await use(`http://127.0.0.1:${web}`, 'nginx');
  await sendOtlp(`127.0.0.1:${grpc}`, server);
});

test('nginx under a path', { skip: needs('nginx') }, async t => {
  const server = await start(t, '/sightline/');
  const web = await freePort();
  const [site = '', path = ''] = blocks('nginx').map(text => here(text, server));
  // "the same with": what the location says besides where to.
  const settings = (/location \/ \{\s*proxy_pass[^\n]*\n([\s\S]*?)\n\s*\}/.exec(site)?.[1] ?? '').trim();
  assert.match(settings, /proxy_request_buffering off/);
  await startNginx(t, `server {\nlisten 127.0.0.1:${web};\n${path.replace('...', settings)}\n}`);
  await use(`http://127.0.0.1:${web}/sightline`, 'nginx-path');
});

test('Caddy: a name, a path, and OTLP over gRPC', { skip: needs('caddy') }, async t => {
  for (const path of ['/', '/sightline/']) {
    const server = await start(t, path);
    const [web, grpc, other] = [await freePort(), await freePort(), await freePort()];
    const text = here(blocks('Caddy')[0] as string, server)
      .replace(/^metrics\.example\.org \{/m, `http://127.0.0.1:${path === '/' ? web : other} {`)
      .replace(/^example\.org \{/m, `http://127.0.0.1:${path === '/' ? other : web} {`)
      .replace('metrics.example.org:4317', `http://127.0.0.1:${grpc}`);
    const dir = folder(t);
    const cleartext = 'servers {\nprotocols h1 h2 h2c\n}\n';
    writeFileSync(join(dir, 'Caddyfile'), `{\nadmin off\nauto_https off\n${cleartext}}\n${text}`);
    startProgram(t, findProgram('caddy'), ['run', '--config', join(dir, 'Caddyfile'), '--adapter', 'caddyfile'], dir);
    await use(`http://127.0.0.1:${web}${path.replace(/\/$/, '')}`, `caddy${path}`);
    if (path === '/') await sendOtlp(`127.0.0.1:${grpc}`, server);
  }
});

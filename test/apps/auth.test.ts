/** Sign-in of the real program: who gets in, for which tenant, with which right; tokens made while it runs; TLS; the audit. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { hashPassword, hashToken } from '../../src/api/auth/passwords.ts';
import { needs, runProgramOrThrow } from '../support/programs.ts';
import { runCli, runProgram, Sightline } from '../support/sightline.ts';

const READER = 'reader-token-0123456789';
const WRITER = 'writer-token-0123456789';
const ADMIN = 'admin-token-0123456789';
const BOTH = 'tenant-b-token-0123456789';

async function config(): Promise<string> {
  return `
host: {enabled: false}
query: {adhoc_range_max: 1d}
auth:
  tokens:
    - {name: grafana, sha256: ${hashToken(READER)}, tenant: a}
    - {name: agent, sha256: ${hashToken(WRITER)}, tenant: a, rights: [write]}
    - {name: root, file: admin.token, tenants: '*', rights: [read, write, admin, long-range]}
    - {name: two, sha256: ${hashToken(BOTH)}, tenant: b, tenants: [a], rights: [read, write]}
  users:
    - {name: alice, password_hash: '${await hashPassword('long enough')}', tenant: a}
`;
}

async function started(
  t: Parameters<typeof Sightline.start>[0],
  extra: { args?: string[]; env?: Record<string, string> } = {},
) {
  return Sightline.start(t, {
    config: await config(),
    files: { 'admin.token': `${ADMIN}\n` },
    args: ['--admin-api', ...(extra.args ?? [])],
  });
}

interface Asked {
  status: number;
  body: string;
  headers: Headers;
}

async function ask(server: Sightline, path: string, token: string, init: RequestInit = {}): Promise<Asked> {
  const headers = { ...(token === '' ? {} : { authorization: `Bearer ${token}` }), ...(init.headers as object) };
  const response = await fetch(server.url + path, { ...init, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
}

const countOf = async (server: Sightline, token: string, tenant = ''): Promise<string> => {
  const headers: Record<string, string> = tenant === '' ? {} : { 'x-scope-orgid': tenant };
  const { status, body } = await ask(server, '/api/v1/query?query=count(m)&time=1700000001', token, { headers });
  if (status !== 200) return String(status);
  return (JSON.parse(body) as { data: { result: { value: [number, string] }[] } }).data.result[0]?.value[1] ?? 'none';
};

test('who may what: rights, tenants, the page, health', async t => {
  const server = await started(t);
  assert.equal((await ask(server, '/-/healthy', '')).status, 200);
  assert.equal((await ask(server, '/-/ready', '')).status, 200);
  assert.equal((await ask(server, '/', '')).status, 200);
  const refused = await ask(server, '/api/v1/query?query=1', '');
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get('www-authenticate') ?? '', /^Basic /);
  assert.match(refused.body, /sign-in needed/);
  for (const path of [
    '/metrics',
    '/api/v1/status/config',
    '/federate?match[]=m',
    '/sightline/api/queries',
    '/nowhere',
  ]) {
    assert.equal((await ask(server, path, '')).status, 401, path);
  }
  assert.equal((await ask(server, '/api/v1/query?query=1', 'wrong')).status, 401);

  const write = (token: string, tenant = '') =>
    ask(server, '/api/v1/import/prometheus', token, {
      method: 'POST',
      body: 'm{i="1"} 1 1700000000000\n',
      headers: tenant === '' ? {} : { 'x-scope-orgid': tenant },
    });
  assert.equal((await write('')).status, 401);
  const mayNot = await write(READER);
  assert.equal(mayNot.status, 403);
  assert.match(mayNot.body, /grafana may not do this: it takes the right .*write.*has: read/);
  assert.equal((await write(WRITER)).status, 204);
  assert.equal((await write(WRITER, 'b')).status, 403);
  // Any spelling of the path goes by its route.
  assert.equal((await ask(server, '/api/v1/adm%69n/tsdb/clean_tombstones', WRITER, { method: 'POST' })).status, 403);

  assert.equal(await countOf(server, WRITER), '403');
  assert.equal(await countOf(server, READER), '1');
  assert.equal(await countOf(server, READER, 'a'), '1');
  assert.equal(await countOf(server, READER, 'b'), '403');
  assert.equal(await countOf(server, READER, '_self'), '403');
  assert.equal(await countOf(server, BOTH), 'none');
  assert.equal(await countOf(server, BOTH, 'a'), '1');
  assert.equal(await countOf(server, ADMIN, 'a'), '1');
  const basic = Buffer.from('alice:long enough').toString('base64');
  const asAlice = await ask(server, '/sightline/api/whoami', '', { headers: { authorization: `Basic ${basic}` } });
  assert.deepEqual(JSON.parse(asAlice.body), {
    name: 'alice',
    via: 'password',
    tenant: 'a',
    tenants: ['a'],
    rights: ['read'],
  });
});

test('a long range takes a right of its own', async t => {
  const server = await started(t);
  const range = '/api/v1/query_range?query=m&start=1700000000&end=1701000000&step=3600';
  const refused = await ask(server, range, READER);
  assert.equal(refused.status, 422);
  assert.match(refused.body, /exceeds the limit of 24 h .*long-range right/);
  assert.equal((await ask(server, range, ADMIN)).status, 200);
});

test('tokens made by the API and on the command line, revoked, and the audit of it all', async t => {
  const server = await started(t);
  const made = await ask(server, '/sightline/api/tokens', ADMIN, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'ci', tenant: 'a', rights: ['read'] }),
  });
  assert.equal(made.status, 201, made.body);
  const { id, token } = JSON.parse(made.body) as { id: string; token: string };
  assert.equal((await ask(server, '/api/v1/query?query=1', token)).status, 200);
  assert.equal((await ask(server, '/sightline/api/tokens', token)).status, 403);
  const listed = await ask(server, '/sightline/api/tokens', ADMIN);
  assert.ok(listed.body.includes(id));
  assert.ok(!listed.body.includes(token) && !listed.body.includes('sha256'));
  for (const bad of [
    '{"name":""}',
    '{"name":"x","rights":["all"]}',
    '{"name":"x","tenant":"a/b"}',
    '{"nam":"x"}',
    '[]',
  ]) {
    const answer = await ask(server, '/sightline/api/tokens', ADMIN, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: bad,
    });
    assert.equal(answer.status, 400, bad);
  }
  assert.equal((await ask(server, `/sightline/api/tokens/${id}`, ADMIN, { method: 'DELETE' })).status, 200);
  assert.equal((await ask(server, '/api/v1/query?query=1', token)).status, 401);
  assert.equal((await ask(server, `/sightline/api/tokens/${id}`, ADMIN, { method: 'DELETE' })).status, 404);

  const data = join(server.dir, 'data');
  const cli = await runCli(['auth', 'create-token', '--data-dir', data, '--name', 'ops', '--rights', 'read,admin']);
  assert.equal(cli.code, 0, cli.stderr);
  const ops = cli.stdout.trim();
  assert.equal((await ask(server, '/-/reload', ops, { method: 'POST' })).status, 200);
  assert.equal((await ask(server, '/-/reload', READER, { method: 'POST' })).status, 403);

  const audit = JSON.parse((await ask(server, '/sightline/api/audit?limit=50', ADMIN)).body) as {
    entries: { who: string; action: string; status: number }[];
  };
  const seen = audit.entries.map(e => `${e.who} ${e.action} ${e.status}`);
  assert.deepEqual(seen.slice(0, 3), [
    'grafana POST /-/reload 403',
    'ops POST /-/reload 200',
    `root DELETE /sightline/api/tokens/${id} 404`,
  ]);
  assert.ok(seen.includes('root POST /sightline/api/tokens 201'));
  const files = readFileSync(join(data, 'state', 'audit.jsonl'), 'utf8') + server.stderr + server.stdout;
  for (const secret of [token, ops, ADMIN, READER]) assert.ok(!files.includes(secret), 'no secret in logs');

  await server.kill();
  await server.launch();
  assert.equal((await ask(server, '/api/v1/query?query=1', ops)).status, 200, 'kept over kill -9');
});

test('a reload changes who gets in', async t => {
  const server = await started(t);
  writeFileSync(
    join(server.dir, 'sightline.yaml'),
    (await config()).replace(hashToken(READER), hashToken('another-token-012345')),
  );
  assert.equal((await ask(server, '/-/reload', ADMIN, { method: 'POST' })).status, 200);
  assert.equal((await ask(server, '/api/v1/query?query=1', READER)).status, 401);
  assert.equal((await ask(server, '/api/v1/query?query=1', 'another-token-012345')).status, 200);
});

test('pages of other sites change nothing, signed in or not', async t => {
  const server = await Sightline.start(t, { config: 'host: {enabled: false}\n' });
  const write = (headers: Record<string, string>) => server.post('/api/v1/import/prometheus', 'm 1\n', headers);
  assert.equal((await write({})).status, 204);
  assert.equal((await write({ origin: server.url })).status, 204);
  const refused = await write({ origin: 'https://evil.example' });
  assert.equal(refused.status, 403);
  assert.match(refused.body, /allowed_hosts/);
});

test('another address than loopback needs keys', async t => {
  const server = await started(t, { args: ['--http', '0.0.0.0:0'] });
  assert.equal((await ask(server, '/api/v1/query?query=1', READER)).status, 200);
  assert.match(server.stdout + server.stderr, /unencrypted/);
});

test('TLS with client certificates, renewed while it runs', { skip: needs('openssl') }, async t => {
  const server = await Sightline.start(t, {
    prepare: dir => makeCertificates(dir),
    config: `
host: {enabled: false}
http: {tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, client_auth: request}}
auth:
  certificates: [{name: edge, common_name: edge.example, tenant: a, rights: [read, write]}]
`,
  });
  assert.match(server.url, /^https:/);
  const get = (path: string, client: boolean) =>
    new Promise<{ status: number; body: string; serial: string }>((resolve, reject) => {
      const file = (name: string) => readFileSync(join(server.dir, name));
      const identity = client ? { cert: file('client.pem'), key: file('client.key') } : {};
      httpsRequest(server.url + path, { ca: file('ca.pem'), agent: false, ...identity }, response => {
        let body = '';
        const peer = (response.socket as import('node:tls').TLSSocket).getPeerCertificate();
        response.setEncoding('utf8').on('data', text => {
          body += text;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body, serial: peer.serialNumber }));
      })
        .on('error', reject)
        .end();
    });
  assert.equal((await get('/-/healthy', false)).status, 200);
  assert.equal((await get('/api/v1/query?query=1', false)).status, 401);
  const who = await get('/sightline/api/whoami', true);
  assert.equal((JSON.parse(who.body) as { name: string }).name, 'edge');
  const { serial } = await get('/-/healthy', false);
  makeCertificates(server.dir, true);
  const deadline = performance.now() + 60_000;
  while ((await get('/-/healthy', false)).serial === serial && performance.now() < deadline) {
    await new Promise(resolve => setTimeout(resolve, 500));
  }
  assert.notEqual((await get('/-/healthy', false)).serial, serial, 'the new certificate is in use');
});

/** A CA, a server certificate for 127.0.0.1, a client certificate for edge.example. */
function makeCertificates(dir: string, serverOnly = false): void {
  const run = (...args: string[]): void => runProgramOrThrow('openssl', args, dir);
  const leaf = (name: string, subject: string, extension: string): void => {
    writeFileSync(join(dir, `${name}.ext`), extension);
    run(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      subject,
    );
    run(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      `${name}.pem`,
      '-extfile',
      `${name}.ext`,
    );
  };
  if (!serverOnly) {
    run(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      '/CN=test CA',
    );
    leaf('client', '/CN=edge.example', 'extendedKeyUsage=clientAuth\n');
  }
  leaf('server', '/CN=127.0.0.1', 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n');
}

test('promtool asks with a token as the password', { skip: needs('promtool') }, async t => {
  const server = await started(t);
  const url = server.url.replace('://', `://any:${READER}@`);
  const known = await runProgram('promtool', ['query', 'instant', url, '1+1']);
  assert.equal(known.code, 0, known.stderr);
  assert.match(known.stdout, /2/);
  assert.notEqual((await runProgram('promtool', ['query', 'instant', server.url, '1+1'])).code, 0);
});

test('a password hash and a token for the file, from the command line', async t => {
  const made = await runCli(['auth', 'new-token']);
  const [, token, sha256] = /token: +(\S+)\nsha256: (\S+)\n/.exec(made.stdout) ?? [];
  assert.equal(hashToken(token as string), sha256);
  assert.equal((await runCli(['auth', 'nonsense'])).code, 2);
  assert.equal((await runCli(['auth', 'create-token', '--name', 'x', '--data-dir', '/nonexistent'])).code, 2);
  t.diagnostic('hash-password reads standard input: see passwords in src/api/auth/auth.test.ts');
});

/** Passwords, tokens, the table of rights, pages of other sites, wrong tries: each by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { AuthError, type Principal } from '../../contracts/auth.ts';
import { rightFor } from './access-rules.ts';
import { EMPTY_KEYRING, type Holder, type Keyring, KeyringAuthenticator } from './authenticator.ts';
import { crossSiteProblem } from './browser-check.ts';
import { FailedSignIns, networkOf } from './failures.ts';
import { hashPassword, hashToken, newToken, passwordHashProblem, verifyPassword } from './passwords.ts';

test('a password is known by its hash, and by nothing else', async () => {
  const hash = await hashPassword('correct horse');
  assert.equal(passwordHashProblem(hash), '');
  assert.equal(await verifyPassword('correct horse', hash), true);
  assert.equal(await verifyPassword('correct horses', hash), false);
  assert.notEqual(hash, await hashPassword('correct horse'));
  for (const bad of ['', 'plain', hash.replace('scrypt:', 'bcrypt:'), hash.replace(':8:', ':99:'), `${hash}:x`]) {
    assert.notEqual(passwordHashProblem(bad), '', bad);
    assert.equal(await verifyPassword('correct horse', bad), false);
  }
});

test('rights by route: closed unless named', () => {
  const table: [string, string, string | null][] = [
    ['GET', '/', null],
    ['GET', '/assets/*', null],
    ['GET', '/-/healthy', null],
    ['GET', '/-/ready', null],
    ['POST', '/-/ready', 'admin'],
    ['GET', '/metrics', 'read'],
    ['GET', '/api/v1/query', 'read'],
    ['POST', '/prometheus/api/v1/query_range', 'read'],
    ['POST', '/api/v1/read', 'read'],
    ['GET', '/api/v1/label/*', 'read'],
    ['GET', '/federate', 'read'],
    ['POST', '/api/v1/write', 'write'],
    ['POST', '/prometheus/api/v1/write', 'write'],
    ['POST', '/api/v1/import/prometheus', 'write'],
    ['POST', '/v1/metrics', 'write'],
    ['POST', '/api/v2/write', 'write'],
    ['POST', '/write', 'write'],
    ['PUT', '/metrics/job/*', 'write'],
    ['DELETE', '/pushgateway/metrics/job@base64/*', 'write'],
    ['GET', '/influx/ping', 'write'],
    ['POST', '/query', 'write'],
    ['GET', '/api/v1/metrics', 'read'],
    ['PUT', '/api/v1/admin/wipe', 'admin'],
    ['POST', '/datadog/api/v2/series', 'write'],
    ['POST', '/api/v1/admin/tsdb/delete_series', 'admin'],
    ['POST', '/-/reload', 'admin'],
    ['GET', '/sightline/api/tokens', 'admin'],
    ['DELETE', '/sightline/api/tokens/:id', 'admin'],
    ['GET', '/sightline/api/audit', 'admin'],
    ['GET', '/sightline/api/queries', 'read'],
    ['DELETE', '/sightline/api/queries/:id', 'read'],
    ['POST', '/something/new', 'admin'],
    ['GET', '/something/new', 'read'],
    ['GET', '', 'read'],
    ['POST', '/api/v1/query/../write', 'admin'],
  ];
  for (const [method, path, right] of table) assert.equal(rightFor(method, path), right, `${method} ${path}`);
});

test('a page of another site changes nothing; programs are not concerned', () => {
  const trusted = { names: new Set(['metrics.example.org']) };
  const problem = (host: string, origin = '', site = '') => crossSiteProblem({ host, origin, site }, trusted);
  assert.equal(problem('anything.example'), '');
  assert.equal(problem('127.0.0.1:7070', 'http://127.0.0.1:7070', 'same-origin'), '');
  assert.equal(problem('localhost:7070', 'http://localhost:7070'), '');
  assert.equal(problem('[::1]:7070', 'http://[::1]:7070'), '');
  assert.equal(problem('metrics.example.org', 'https://metrics.example.org'), '');
  assert.equal(problem('127.0.0.1:7070', 'https://metrics.example.org'), '');
  assert.match(problem('127.0.0.1:7070', 'https://evil.example'), /may not change anything/);
  assert.match(problem('127.0.0.1:7070', 'null'), /may not change anything/);
  assert.match(problem('127.0.0.1:7070', '', 'cross-site'), /another site/);
  // A name that was made to point here.
  assert.match(problem('evil.example:7070', 'http://evil.example:7070', 'same-origin'), /allowed_hosts/);
});

test('wrong tries: ten at once, then one in six seconds, by key', () => {
  let now = 0;
  const failures = new FailedSignIns(() => now, 10, 6000);
  for (let i = 0; i < 10; i++) {
    assert.equal(failures.waitS('10.0.0.1'), 0);
    failures.failed('10.0.0.1');
  }
  assert.equal(failures.waitS('10.0.0.1'), 6);
  assert.equal(failures.waitS('10.0.0.2'), 0);
  now += 6000;
  assert.equal(failures.waitS('10.0.0.1'), 0);
  assert.equal(networkOf('2001:db8:0:1::5'), networkOf('2001:db8:0:1:ffff::9'));
  assert.notEqual(networkOf('2001:db8:0:1::5'), networkOf('2001:db8:0:2::5'));
  assert.equal(networkOf('10.0.0.1'), '10.0.0.1');
});

const holder = (name: string, extra: Partial<Holder> = {}): Holder => ({
  name,
  tenant: 'default',
  tenants: ['default'],
  rights: new Set(['read']),
  ...extra,
});

async function harness(keyring: Partial<Keyring>) {
  const clock = new ManualClock();
  const made = new Map<string, Holder>();
  const failed: string[] = [];
  const keys = new KeyringAuthenticator({
    keyring: { ...EMPTY_KEYRING, ...keyring },
    tokens: { find: async hash => made.get(hash) ?? null },
    clock,
    onFailure: address => failed.push(address),
  });
  const ask = (authorization: string, address = '10.0.0.1'): Promise<Principal> =>
    keys.authenticate({ authorization, certificate: null, address });
  return { clock, made, failed, keys, ask };
}

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

test('off while nobody has a key: everyone may do everything', async () => {
  const { keys, ask } = await harness({});
  assert.equal(keys.required, false);
  assert.equal((await ask('')).rights.has('admin'), true);
  assert.equal((await ask('Bearer whatever')).name, 'anonymous');
});

test('tokens and passwords, as bearer and basic', async () => {
  const token = newToken();
  const { ask } = await harness({
    tokens: new Map([[hashToken(token), holder('grafana')]]),
    users: new Map([['alice', { holder: holder('alice'), passwordHash: await hashPassword('long enough') }]]),
  });
  assert.equal((await ask(`Bearer ${token}`)).name, 'grafana');
  assert.equal((await ask(`bearer  ${token}`)).via, 'token');
  assert.equal((await ask(basic('any', token))).name, 'grafana');
  assert.equal((await ask(basic('alice', 'long enough'))).via, 'password');
  for (const wrong of [
    '',
    'Bearer ',
    `Bearer ${token}x`,
    basic('alice', 'x'),
    basic('bob', 'long enough'),
    'Digest x',
    'Basic !',
  ]) {
    await assert.rejects(ask(wrong, `10.1.0.${wrong.length}`), { name: 'AuthError', status: 401 }, wrong);
  }
});

test('after ten wrong passwords a user waits at that address; tokens and other users do not', async () => {
  const token = newToken();
  const { clock, failed, ask } = await harness({
    tokens: new Map([[hashToken(token), holder('agent')]]),
    users: new Map([
      ['alice', { holder: holder('alice'), passwordHash: await hashPassword('long enough') }],
      ['bob', { holder: holder('bob'), passwordHash: await hashPassword('long enough') }],
    ]),
  });
  for (let i = 0; i < 10; i++) await assert.rejects(ask(basic('alice', `wrong${i}`)), { status: 401 });
  const refused = await ask(basic('alice', 'long enough')).catch((error: AuthError) => error);
  assert.ok(refused instanceof AuthError);
  assert.equal(refused.status, 429);
  assert.equal(refused.retryAfterS, 6);
  assert.equal(failed.length, 10);
  assert.equal((await ask(`Bearer ${token}`)).name, 'agent');
  assert.equal((await ask(basic('bob', 'long enough'))).name, 'bob');
  assert.equal((await ask(basic('alice', 'long enough'), '10.0.0.2')).name, 'alice');
  await clock.advance(10_001);
  assert.equal((await ask(basic('alice', 'long enough'))).name, 'alice');
});

test('a hundred wrong tokens from one network, and only right ones get through', async () => {
  const token = newToken();
  const { ask } = await harness({ tokens: new Map([[hashToken(token), holder('agent')]]) });
  for (let i = 0; i < 100; i++) await assert.rejects(ask(`Bearer wrong${i}`), { status: 401 });
  await assert.rejects(ask('Bearer wrong'), { status: 429 });
  assert.equal((await ask(`Bearer ${token}`)).name, 'agent');
});

test('a revoked token ends at once where it is told, within ten seconds where it is not', async () => {
  const token = newToken();
  const { clock, made, keys, ask } = await harness({ required: true });
  made.set(hashToken(token), holder('ci'));
  await ask(`Bearer ${token}`);
  made.clear();
  assert.equal((await ask(`Bearer ${token}`)).name, 'ci');
  await clock.advance(10_001);
  await assert.rejects(ask(`Bearer ${token}`), { status: 401 });
  made.set(hashToken(token), holder('ci'));
  await ask(`Bearer ${token}`);
  made.clear();
  keys.forget();
  await assert.rejects(ask(`Bearer ${token}`), { status: 401 });
});

test('certificates by name or fingerprint', async () => {
  const { keys } = await harness({
    certificates: [
      { holder: holder('edge'), commonName: 'edge.example', fingerprint: '' },
      { holder: holder('one'), commonName: '', fingerprint: 'ab'.repeat(32) },
    ],
  });
  const ask = (commonName: string, fingerprint: string) =>
    keys.authenticate({ authorization: '', certificate: { commonName, fingerprint }, address: 'x' });
  assert.equal((await ask('edge.example', '00')).name, 'edge');
  assert.equal((await ask('other', 'ab'.repeat(32))).name, 'one');
  await assert.rejects(ask('', ''), { status: 401 });
  await assert.rejects(ask('other', 'cd'.repeat(32)), { status: 401 });
});

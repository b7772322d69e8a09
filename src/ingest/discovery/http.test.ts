import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  type DiscoveryRig,
  discoveryRig,
  type ScriptedServer,
  scriptedServer,
  sendJson,
} from '../../../test/support/discovery-rig.ts';

async function rigOf(
  t: TestContext,
  answer: ScriptedServer['answer'],
  httpClient = {},
): Promise<DiscoveryRig & { server: ScriptedServer }> {
  const server = await scriptedServer(t, answer);
  const url = `${server.url}/targets?env=a`;
  const rig = discoveryRig(t, { mechanism: 'http', url, refreshIntervalMs: 20_000, httpClient, baseDir: '/' });
  return { ...rig, server };
}

test('groups of a URL, with what the request says', async t => {
  const groups = [{ targets: ['a:1', 'b:2'], labels: { zone: 'x' } }, { targets: ['c:3'] }];
  const rig = await rigOf(
    t,
    (_q, response) => sendJson(response, groups, { 'content-type': 'application/json; charset=utf-8' }),
    {
      basic_auth: { username: 'me', password: 'secret' },
    },
  );
  await rig.until(() => rig.addresses().length === 3);
  const url = `${rig.server.url}/targets?env=a`;
  assert.deepEqual(rig.found()[`${url}:0`], [
    { zone: 'x', __meta_url: url, __address__: 'a:1' },
    { zone: 'x', __meta_url: url, __address__: 'b:2' },
  ]);
  const { headers } = rig.server.requests[0] ?? assert.fail();
  assert.equal(headers['x-prometheus-refresh-interval-seconds'], '20');
  assert.equal(headers.authorization, `Basic ${Buffer.from('me:secret').toString('base64')}`);
  rig.server.answer = (_q, response) =>
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
      .end(gzipSync('[{"targets": ["d:4"]}]'));
  await rig.until(() => rig.addresses().join() === 'd:4', 'groups that are gone go');
});

test('what is no answer keeps the last good one', async t => {
  const good: ScriptedServer['answer'] = (_q, response) => sendJson(response, [{ targets: ['a:1'] }]);
  const rig = await rigOf(t, good);
  await rig.until(() => rig.addresses().length === 1);
  const bad: [RegExp, ScriptedServer['answer']][] = [
    [/HTTP status 500 .*: broken/, (_q, response) => response.writeHead(500).end('broken')],
    [
      /content type is "text\/html"/,
      (_q, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('[]'),
    ],
    [/no JSON/, (_q, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('[{')],
    [/target group 1 is empty/, (_q, response) => sendJson(response, [null])],
    [/a list of target groups/, (_q, response) => sendJson(response, { data: [] })],
    [/closed|hang up|reset/, request => request.socket.destroy()],
    [/no answer within 20 s/, () => {}],
    [
      /body size limit exceeded/,
      (_q, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const blanks = Buffer.alloc(1 << 20, ' ');
        const more = (): void => {
          while (!response.destroyed && response.write(blanks));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      },
    ],
  ];
  for (const [message, answer] of bad) {
    rig.server.answer = answer;
    await rig.until(() => message.test(rig.provider.status.lastError), String(message));
    assert.deepEqual(rig.addresses(), ['a:1']);
    rig.server.answer = good;
    await rig.until(() => rig.provider.status.lastError === '', `mended after ${message}`);
  }
});

test('too many labels or targets are refused, the rest is taken', async t => {
  const labels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`l${i}`, 'v']));
  const rig = await rigOf(t, (_q, response) =>
    sendJson(response, [{ targets: ['a:1'], labels }, { targets: ['b:1'] }]),
  );
  await rig.until(() => rig.provider.hasSynced);
  assert.deepEqual(rig.addresses(), ['b:1']);
  assert.match(rig.provider.status.lastError, /5002 labels, the limit is 4000/);
  const targets = Array.from({ length: 100_001 }, (_, i) => `h${i}:1`);
  rig.server.answer = (_q, response) => sendJson(response, [{ targets: ['b:1'] }, { targets }]);
  await rig.until(() => /more than 100000 targets/.test(rig.provider.status.lastError));
  assert.deepEqual(rig.addresses(), ['b:1']);
  rig.server.answer = (_q, response) => sendJson(response, [{ targets: ['b:1'] }]);
  await rig.until(() => rig.provider.status.lastError === '', 'fewer targets again');
});

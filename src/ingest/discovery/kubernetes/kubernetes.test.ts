/** Against a scripted API server: what a real one does rarely or never. test/apps/discovery-kubernetes.test.ts has the real one. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type DiscoveryRig,
  discoveryRig,
  type ScriptedServer,
  scriptedServer,
  sendJson,
} from '../../../../test/support/discovery-rig.ts';
import type { KubernetesSection } from '../sections.ts';
import { accessOf, fromKubeconfig, namespacesOf } from './access.ts';
import { buildGroup } from './groups.ts';
import { objectOf } from './objects.ts';

function service(name: string, version: number, port = 80): Record<string, unknown> {
  return { metadata: { name, namespace: 'n', resourceVersion: String(version) }, spec: { ports: [{ port }] } };
}

function section(changes: Partial<KubernetesSection> = {}): KubernetesSection {
  return {
    mechanism: 'kubernetes',
    role: 'service',
    apiServer: '',
    kubeconfigFile: '',
    ownNamespace: false,
    namespaces: [],
    selectors: [],
    attachNode: false,
    attachNamespace: false,
    httpClient: {},
    baseDir: '/',
    ...changes,
  };
}

interface Rig extends DiscoveryRig {
  server: ScriptedServer;
  /** Objects of the next list. */
  items: Record<string, unknown>[];
  version: number;
  lists: URLSearchParams[];
  watches: { query: URLSearchParams; response: ServerResponse }[];
  /** Instead of the usual answer; true = it was given. */
  special: (query: URLSearchParams, response: ServerResponse) => boolean;
  /** To the watch that was opened last. */
  event(type: string, object: Record<string, unknown>): void;
}

async function rigOf(t: TestContext, items: Record<string, unknown>[]): Promise<Rig> {
  const lists: Rig['lists'] = [];
  const watches: Rig['watches'] = [];
  const server = await scriptedServer(t, (_request, response, _path, query) => {
    if (rig.special(query, response)) return;
    if (query.get('watch') === 'true') {
      watches.push({ query, response });
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      return;
    }
    lists.push(query);
    sendJson(response, { metadata: { resourceVersion: String(rig.version) }, items: rig.items });
  });
  const rig: Rig = {
    ...discoveryRig(t, section({ apiServer: server.url })),
    server,
    items,
    version: 100,
    lists,
    watches,
    special: () => false,
    event(type, object) {
      watches.at(-1)?.response.write(`${JSON.stringify({ type, object })}\n`);
    },
  };
  return rig;
}

test('a watch goes on from the last version seen, bookmarks included', async t => {
  const rig = await rigOf(t, [service('a', 5)]);
  await rig.until(() => rig.watches.length === 1 && rig.addresses().join() === 'a.n.svc:80');
  const query = rig.watches[0]?.query;
  assert.deepEqual([query?.get('resourceVersion'), query?.get('allowWatchBookmarks')], ['100', 'true']);
  rig.event('ADDED', service('b', 101));
  rig.event('MODIFIED', service('a', 102, 81));
  await rig.until(() => rig.addresses().join() === 'a.n.svc:81,b.n.svc:80');
  rig.event('BOOKMARK', { kind: 'Service', metadata: { resourceVersion: '150' } });
  rig.event('DELETED', service('b', 151));
  await rig.until(() => rig.addresses().join() === 'a.n.svc:81');
  rig.event('BOOKMARK', { metadata: { resourceVersion: '160' } });
  rig.watches[0]?.response.end();
  await rig.until(() => rig.watches.length === 2);
  assert.equal(rig.watches[1]?.query.get('resourceVersion'), '160');
  assert.equal(rig.lists.length, 1);
  assert.equal(rig.provider.status.lastError, '');
});

test('a version that is gone makes a new list, which says what is gone', async t => {
  const rig = await rigOf(t, [service('a', 5), service('b', 6)]);
  await rig.until(() => rig.watches.length === 1);
  rig.items = [service('b', 6), service('c', 200)];
  rig.version = 300;
  rig.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' });
  await rig.until(() => rig.watches.length === 2, 'a list after an event of 410');
  assert.equal(rig.lists.length, 2);
  await rig.until(() => rig.addresses().join() === 'b.n.svc:80,c.n.svc:80');
  rig.items = [service('c', 200)];
  rig.special = (query, response) => {
    if (query.get('watch') !== 'true') return false;
    rig.special = () => false;
    response.writeHead(410, { 'content-type': 'application/json' }).end('{"kind":"Status","code":410}');
    return true;
  };
  rig.watches[1]?.response.end();
  await rig.until(() => rig.watches.length === 3, 'a list after an answer of 410');
  assert.equal(rig.lists.length, 3);
  await rig.until(() => rig.addresses().join() === 'c.n.svc:80');
  assert.deepEqual([rig.attempts.failed, rig.provider.status.lastError], [0, '']);
});

test('a list that expires between its pages begins anew', async t => {
  const rig = await rigOf(t, []);
  let pages = 0;
  rig.special = (query, response) => {
    if (query.get('watch') === 'true') return false;
    pages++;
    const next = query.get('continue');
    if (next === null) {
      sendJson(response, { metadata: { resourceVersion: '7', continue: 'more' }, items: [service('a', 1)] });
    } else if (pages === 2) {
      response.writeHead(410).end('{"code":410}');
    } else {
      sendJson(response, { metadata: { resourceVersion: '7' }, items: [service('b', 2)] });
    }
    return true;
  };
  await rig.until(() => rig.watches.length === 1);
  assert.equal(pages, 4);
  await rig.until(() => rig.addresses().join() === 'a.n.svc:80,b.n.svc:80');
});

test('connections that break, servers that fail or send nonsense: nothing is lost, and all is well again', async t => {
  const rig = await rigOf(t, [service('a', 5)]);
  await rig.until(() => rig.watches.length === 1);
  rig.event('ADDED', service('b', 101));
  await rig.until(() => rig.addresses().length === 2);
  const troubles: [RegExp, (response: ServerResponse) => void][] = [
    [/closed|aborted|terminated|reset/, response => response.socket?.destroy()],
    [/JSON|Unexpected/, response => response.write('{"type":"ADDED","obj\n')],
    [/unknown type "NEWS"/, response => response.write('{"type":"NEWS","object":{}}\n')],
    [
      /500 InternalError oops/,
      response => response.write('{"type":"ERROR","object":{"code":500,"reason":"InternalError","message":"oops"}}\n'),
    ],
  ];
  for (const [message, make] of troubles) {
    const before = rig.watches.length;
    make(rig.watches.at(-1)?.response ?? assert.fail());
    await rig.until(() => rig.watches.length > before, `a new watch after ${message}`);
    assert.deepEqual(rig.addresses(), ['a.n.svc:80', 'b.n.svc:80']);
    assert.equal(rig.watches.at(-1)?.query.get('resourceVersion'), '101');
    await rig.until(() => rig.provider.status.lastError === '', 'recovery');
  }
  assert.equal(rig.attempts.failed, troubles.length);
  assert.equal(rig.lists.length, 1);
});

test('a watch that hangs beyond its time is given up', async t => {
  const rig = await rigOf(t, [service('a', 5)]);
  await rig.until(() => rig.watches.length === 1);
  await rig.until(() => rig.watches.length === 2, 'a second watch');
  await rig.until(() => rig.addresses().join() === 'a.n.svc:80');
  assert.equal(rig.attempts.failed, 1);
});

test('no list, no targets, but the reason; forbidden by half keeps what is known', async t => {
  const rig = await rigOf(t, []);
  rig.special = (_query, response) => {
    response.writeHead(403).end('{"kind":"Status","message":"services is forbidden"}');
    return true;
  };
  await rig.until(() =>
    /service: server returned HTTP status 403.*services is forbidden/.test(rig.provider.status.lastError),
  );
  assert.equal(rig.provider.hasSynced, false);
  rig.special = (_query, response) => {
    sendJson(response, { metadata: {}, items: 'none' });
    return true;
  };
  await rig.until(() => /no list of objects/.test(rig.provider.status.lastError));
  rig.special = () => false;
  rig.items = [service('a', 1)];
  await rig.until(() => rig.provider.hasSynced && rig.addresses().length === 1);
  await rig.until(() => rig.provider.status.lastError === '');
});

test('objects that lie about their shape are empty, not fatal', () => {
  for (const kind of ['pod', 'service', 'endpoints', 'endpointslice', 'node', 'ingress', 'namespace'] as const) {
    for (const value of [
      null,
      7,
      [],
      { metadata: 'x', spec: [], status: 3, subsets: {}, endpoints: [null, 5], ports: [[]], addressType: {} },
      {
        metadata: { name: 1, labels: { a: 1 }, ownerReferences: [null] },
        spec: {
          containers: [null, { ports: 'x' }],
          ports: [{ port: '80' }],
          rules: [{ http: { paths: [null] } }],
          tls: [null],
        },
        status: { conditions: [{}], containerStatuses: 'x', addresses: [{ type: 5 }], podIP: '1.2.3.4' },
        subsets: [{ addresses: [null], ports: [null], notReadyAddresses: 'x' }],
        endpoints: [{ addresses: [1, 'a'], conditions: 'x', targetRef: {} }],
      },
    ]) {
      const object = objectOf(kind, value);
      const group = buildGroup(object, { find: () => undefined, attachNode: true, attachNamespace: true });
      for (const target of group.targets) for (const text of target.values()) assert.equal(typeof text, 'string');
    }
  }
});

test('hosts of an ingress are secure where a certificate covers them', () => {
  const schemes = (hosts: string[], tls: string[]): (string | undefined)[] => {
    const ingress = objectOf('ingress', {
      metadata: { name: 'i', namespace: 'n' },
      spec: { tls: [{ hosts: tls }], rules: hosts.map(host => ({ host })) },
    });
    const { targets } = buildGroup(ingress, { find: () => undefined, attachNode: false, attachNamespace: false });
    return targets.map(target => target.get('__meta_kubernetes_ingress_scheme'));
  };
  assert.deepEqual(schemes(['a.x', 'b.a.x', 'x', 'other'], ['*.x']), ['https', 'http', 'http', 'http']);
  assert.deepEqual(schemes(['a.x', 'b.x'], ['a.x']), ['https', 'http']);
});

test('how the server is reached', t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-kubeconfig-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const environment = { variables: {}, accountFolder: join(dir, 'account') };
  assert.deepEqual(accessOf(section({ apiServer: 'https://k:6443/' }), environment).server, 'https://k:6443');
  assert.throws(() => accessOf(section(), environment), /not in a cluster/);
  const variables = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  assert.deepEqual(accessOf(section(), { ...environment, variables }), {
    server: 'https://[fd00::1]:443',
    settings: {
      authorization: { type: 'Bearer', credentials_file: join(dir, 'account', 'token') },
      tls_config: { ca_file: join(dir, 'account', 'ca.crt') },
    },
    baseDir: join(dir, 'account'),
  });
  assert.throws(() => namespacesOf(section({ ownNamespace: true }), environment), /own_namespace/);
  mkdirSync(join(dir, 'account'));
  writeFileSync(join(dir, 'account', 'namespace'), 'mine\n');
  assert.deepEqual(namespacesOf(section({ ownNamespace: true, namespaces: ['a', 'mine'] }), environment), [
    'a',
    'mine',
  ]);
  assert.deepEqual(namespacesOf(section(), environment), ['']);
  const kubeconfig = (user: string, cluster = ''): string => {
    const file = join(dir, 'config');
    const ca = Buffer.from('CA').toString('base64');
    writeFileSync(
      file,
      [
        'current-context: c',
        'contexts: [{name: c, context: {cluster: k, user: u}}]',
        `clusters: [{name: k, cluster: {server: "https://k", certificate-authority-data: ${ca}${cluster}}}]`,
        `users: [{name: u, user: ${user}}]`,
      ].join('\n'),
    );
    return file;
  };
  assert.deepEqual(
    fromKubeconfig(kubeconfig('{client-certificate: a.crt, client-key-data: S0VZ}', ', tls-server-name: x')),
    {
      server: 'https://k',
      settings: { tls_config: { ca: 'CA', cert_file: 'a.crt', key: 'KEY', server_name: 'x' } },
      baseDir: dir,
    },
  );
  assert.deepEqual(fromKubeconfig(kubeconfig('{token: t, tokenFile: f}')).settings.authorization, {
    type: 'Bearer',
    credentials_file: 'f',
  });
  assert.throws(() => fromKubeconfig(kubeconfig('{exec: {command: x}}')), /sign in by exec are not supported/);
});

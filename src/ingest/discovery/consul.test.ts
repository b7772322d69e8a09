/** Against a peer of our own that speaks the protocol; test/apps/discovery-consul.test.ts does it with the real program. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ConsulPeer, type Instance } from '../../../test/support/consul-peer.ts';
import { type DiscoveryRig, discoveryRig } from '../../../test/support/discovery-rig.ts';
import type { ConsulSection } from './sections.ts';

function instance(service: string, port: number, changes: Record<string, unknown> = {}): Instance {
  return {
    Node: {
      Node: 'n1',
      Address: '10.0.0.1',
      Datacenter: 'dc1',
      Meta: { 'rack-id': '7' },
      TaggedAddresses: { lan: '10.0.0.1' },
    },
    Service: {
      Service: service,
      ID: `${service}-${port}`,
      Address: '',
      Port: port,
      Tags: ['a', 'b'],
      Meta: { v: '2' },
      ...changes,
    },
    Checks: [{ CheckID: 'serfHealth', Status: 'passing' }],
  };
}

async function rigOf(
  t: TestContext,
  instances: Instance[],
  changes: Partial<ConsulSection> = {},
): Promise<DiscoveryRig & { peer: ConsulPeer }> {
  const peer = await ConsulPeer.start(t);
  peer.instances = instances;
  const rig = discoveryRig(t, {
    mechanism: 'consul',
    server: peer.server.url.replace('http://', ''),
    scheme: 'http',
    pathPrefix: '',
    token: '',
    datacenter: '',
    namespace: '',
    partition: '',
    tagSeparator: ',',
    allowStale: true,
    services: [],
    tags: [],
    nodeMeta: new Map(),
    filter: '',
    healthFilter: '',
    refreshIntervalMs: 0,
    httpClient: {},
    baseDir: '/',
    ...changes,
  });
  return { ...rig, peer };
}

test('instances with all their labels', async t => {
  const rig = await rigOf(t, [
    instance('web', 80),
    instance('web', 81, { Address: 'fe80::2', Namespace: 'ns', Partition: 'p' }),
  ]);
  await rig.until(() => rig.provider.hasSynced);
  const [first, second] = rig.found().web ?? [];
  assert.deepEqual(first, {
    __address__: '10.0.0.1:80',
    __meta_consul_address: '10.0.0.1',
    __meta_consul_node: 'n1',
    __meta_consul_dc: 'dc1',
    __meta_consul_namespace: '',
    __meta_consul_partition: '',
    __meta_consul_tags: ',a,b,',
    __meta_consul_service: 'web',
    __meta_consul_service_address: '',
    __meta_consul_service_port: '80',
    __meta_consul_service_id: 'web-80',
    __meta_consul_health: 'passing',
    __meta_consul_metadata_rack_id: '7',
    __meta_consul_service_metadata_v: '2',
    __meta_consul_tagged_address_lan: '10.0.0.1',
  });
  assert.deepEqual(
    [second?.__address__, second?.__meta_consul_namespace, second?.__meta_consul_partition],
    ['[fe80::2]:81', 'ns', 'p'],
  );
});

test('blocking queries: changes come at once, services come and go', async t => {
  const rig = await rigOf(t, [instance('web', 80), instance('db', 5432)]);
  await rig.until(() => rig.peer.blocked.length === 3, 'three waiting queries');
  assert.deepEqual(rig.peer.blocked, ['/v1/catalog/services', '/v1/health/service/db', '/v1/health/service/web']);
  const waiting = rig.peer.server.requests.filter(request => request.query.has('index'));
  assert.equal(waiting[0]?.query.get('wait'), '120s');
  assert.ok(waiting[0]?.query.has('stale'));
  rig.peer.set([instance('web', 80), instance('web', 81), instance('new', 1)]);
  await rig.until(() => rig.addresses().join() === '10.0.0.1:1,10.0.0.1:80,10.0.0.1:81', 'the change');
  await rig.until(() => rig.peer.blocked.length === 3);
  assert.deepEqual(rig.peer.blocked[1], '/v1/health/service/new');
  // A wait that ends without a change is asked again, with the same index.
  const before = rig.peer.server.requests.length;
  rig.peer.release();
  await rig.until(() => rig.peer.blocked.length === 3 && rig.peer.server.requests.length >= before + 3);
  assert.equal(rig.peer.server.requests.at(-1)?.query.get('index'), String(rig.peer.index));
});

test('an index that goes back starts over from 0', async t => {
  const rig = await rigOf(t, [instance('web', 80)]);
  await rig.until(() => rig.peer.blocked.length === 2);
  rig.peer.set([instance('web', 90)], 3);
  await rig.until(() => rig.addresses().join() === '10.0.0.1:90');
  const before = rig.peer.server.requests.length;
  await rig.until(() => rig.peer.blocked.length === 2);
  const after = rig.peer.server.requests.slice(before).map(request => request.query.get('index'));
  assert.deepEqual(after.sort(), ['3', '3', null, null].sort());
});

test('services, tags and the query parameters', async t => {
  const rig = await rigOf(
    t,
    [instance('web', 80), instance('web', 81, { Tags: ['a'] }), instance('db', 1), instance('other', 2, { Tags: [] })],
    {
      services: ['web', 'other'],
      tags: ['a', 'b'],
      token: 'secret',
      datacenter: 'dc9',
      namespace: 'team',
      partition: 'part',
      allowStale: false,
      nodeMeta: new Map([['rack', '7']]),
      filter: 'Service.Meta.v == 2',
      healthFilter: 'Checks.Status == "passing"',
      pathPrefix: '/consul/',
    },
  );
  rig.peer.server.answer = (
    real => (request, response, path, query) =>
      real(request, response, path.replace(/^\/consul/, ''), query)
  )(rig.peer.server.answer);
  await rig.until(() => rig.provider.hasSynced && rig.addresses().length > 0);
  assert.deepEqual(rig.addresses(), ['10.0.0.1:80']);
  const catalog = rig.peer.server.requests.find(request => request.path === '/consul/v1/catalog/services');
  assert.equal(catalog?.headers['x-consul-token'], 'secret');
  assert.deepEqual(Object.fromEntries(catalog?.query ?? []), {
    dc: 'dc9',
    ns: 'team',
    partition: 'part',
    'node-meta': 'rack:7',
    filter: 'Service.Meta.v == 2',
  });
  const health = rig.peer.server.requests.find(request => request.path.endsWith('/health/service/web'));
  assert.deepEqual(health?.query.getAll('tag'), ['a', 'b']);
  assert.equal(health?.query.get('filter'), 'Checks.Status == "passing"');
});

test('named services are followed without the catalog', async t => {
  const rig = await rigOf(t, [instance('web', 80), instance('db', 1)], { services: ['web', 'none'] });
  await rig.until(() => rig.provider.hasSynced);
  assert.deepEqual(rig.addresses(), ['10.0.0.1:80']);
  assert.deepEqual([...new Set(rig.peer.server.requests.map(request => request.path))].sort(), [
    '/v1/health/service/none',
    '/v1/health/service/web',
  ]);
});

test('health is the worst of the checks', async t => {
  const checks = (...all: [string, string][]): Partial<Instance> => ({
    Checks: all.map(([CheckID, Status]) => ({ CheckID, Status })),
  });
  const rig = await rigOf(t, [
    { ...instance('s', 1), ...checks(['a', 'critical'], ['b', 'warning']) },
    { ...instance('s', 2), ...checks(['a', 'passing'], ['b', 'warning']) },
    { ...instance('s', 3), ...checks(['a', 'critical'], ['_service_maintenance:s', 'critical']) },
    { ...instance('s', 4), ...checks() },
  ]);
  await rig.until(() => rig.provider.hasSynced);
  assert.deepEqual(
    rig.found().s?.map(target => target.__meta_consul_health),
    ['critical', 'warning', 'maintenance', 'passing'],
  );
});

test('a server that fails, or lies, keeps what was found; then all is well again', async t => {
  const rig = await rigOf(t, [instance('web', 80)]);
  await rig.until(() => rig.peer.blocked.length === 2);
  const real = rig.peer.server.answer;
  for (const [message, answer] of [
    [/HTTP status 500/, (_q, response) => response.writeHead(500).end('rpc error')],
    [/no JSON/, (_q, response) => response.writeHead(200).end('<html>')],
    [/no answer within/, () => {}],
  ] as [RegExp, typeof real][]) {
    rig.peer.server.answer = answer;
    rig.peer.release();
    await rig.until(() => message.test(rig.provider.status.lastError), String(message));
    assert.deepEqual(rig.addresses(), ['10.0.0.1:80']);
    rig.peer.server.answer = real;
    rig.peer.index++;
    await rig.until(() => rig.provider.status.lastError === '', 'recovery');
    await rig.until(() => rig.peer.blocked.length === 2);
  }
});

/**
 * Consul discovery against the real program, in its development mode: registration, health, maintenance, tags, restart; and DNS discovery
 * against its DNS.
 */
import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DnsDiscoverer } from '../../src/ingest/discovery/dns.ts';
import type { ConsulSection, DnsSection } from '../../src/ingest/discovery/sections.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type DiscoveryRig, discoveryRig } from '../support/discovery-rig.ts';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';

interface Consul {
  server: string;
  /** Its DNS, HOST:PORT. */
  dns: string;
  put(path: string, body?: object): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
}

async function startConsul(t: TestContext): Promise<Consul> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-consul-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const ports = await Promise.all(Array.from({ length: 5 }, freePort));
  const server = `127.0.0.1:${ports[0]}`;
  let child: ReturnType<typeof startProgram> | null = null;
  const consul: Consul = {
    server,
    dns: `127.0.0.1:${ports[4]}`,
    async put(path, body) {
      const response = await fetch(`http://${server}${path}`, {
        method: 'PUT',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    },
    async kill() {
      const gone = new Promise(done => child?.once('exit', done));
      child?.kill('SIGKILL');
      await gone;
    },
    async start() {
      child = startProgram(t, findProgram('consul'), [
        'agent',
        '-dev',
        '-bind=127.0.0.1',
        '-node=n1',
        '-node-meta=rack:7',
        '-grpc-port=-1',
        '-grpc-tls-port=-1',
        `-dns-port=${ports[4]}`,
        `-http-port=${ports[0]}`,
        `-server-port=${ports[1]}`,
        `-serf-lan-port=${ports[2]}`,
        `-serf-wan-port=${ports[3]}`,
      ]);
      await until('the leader', async () => (await (await fetch(`http://${server}/v1/status/leader`)).text()) !== '""');
      await until('the own node', async () => {
        const services = await (await fetch(`http://${server}/v1/catalog/services`)).json();
        return Object.hasOwn(services as object, 'consul');
      });
    },
  };
  await consul.start();
  return consul;
}

function rigOf(t: TestContext, consul: Consul, changes: Partial<ConsulSection> = {}): DiscoveryRig {
  const section: ConsulSection = {
    mechanism: 'consul',
    server: consul.server,
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
    refreshIntervalMs: 500,
    httpClient: {},
    baseDir: '/',
    ...changes,
  };
  return discoveryRig(t, section, { clock: systemClock });
}

const WEB = {
  ID: 'web-1',
  Name: 'web',
  Tags: ['blue', 'v1'],
  Address: '10.0.0.9',
  Port: 8080,
  Meta: { 'team-name': 'shop' },
};

test('services of a real Consul: labels, changes, filters, a restart', { skip: needs('consul') }, async t => {
  const consul = await startConsul(t);
  await consul.put('/v1/agent/service/register', WEB);
  const all = rigOf(t, consul);
  await all.until(() => all.provider.hasSynced && all.found().web !== undefined);
  assert.deepEqual(Object.keys(all.found()).sort(), ['consul', 'web']);
  const { __meta_consul_metadata_consul_network_segment: _s, ...labels } = all.found().web?.[0] ?? {};
  const known = Object.fromEntries(
    Object.entries(labels).filter(([name]) => !/_tagged_address_|_metadata_consul_/.test(name)),
  );
  assert.deepEqual(known, {
    __address__: '10.0.0.9:8080',
    __meta_consul_address: '127.0.0.1',
    __meta_consul_node: 'n1',
    __meta_consul_dc: 'dc1',
    __meta_consul_namespace: '',
    __meta_consul_partition: '',
    __meta_consul_tags: ',blue,v1,',
    __meta_consul_service: 'web',
    __meta_consul_service_address: '10.0.0.9',
    __meta_consul_service_port: '8080',
    __meta_consul_service_id: 'web-1',
    __meta_consul_health: 'passing',
    __meta_consul_metadata_rack: '7',
    __meta_consul_service_metadata_team_name: 'shop',
  });
  assert.equal(labels.__meta_consul_tagged_address_lan, '127.0.0.1');

  // The same over other questions: tags, named services, node meta, expressions.
  const tagged = rigOf(t, consul, { tags: ['blue', 'v1'], services: ['web', 'db'] });
  const rack = rigOf(t, consul, { nodeMeta: new Map([['rack', '8']]) });
  const healthy = rigOf(t, consul, { services: ['web'], healthFilter: 'Service.Port == 8080' });
  const empty = rigOf(t, consul, { services: ['web'], healthFilter: 'Service.Port == 1' });
  const filtered = rigOf(t, consul, { filter: 'ServiceName == web' });
  const asked: [DiscoveryRig, string[]][] = [
    [tagged, ['10.0.0.9:8080']],
    [rack, []],
    [healthy, ['10.0.0.9:8080']],
    [empty, []],
    [filtered, ['10.0.0.9:8080']],
  ];
  for (const [rig, addresses] of asked) {
    await rig.until(() => rig.provider.hasSynced);
    await rig.until(() => rig.addresses().join() === addresses.join());
    assert.equal(rig.provider.status.lastError, '');
  }

  // Its DNS: real records over a real resolver.
  const byDns = (type: 'SRV' | 'A', name: string): DiscoveryRig => {
    const section: DnsSection = { mechanism: 'dns', names: [name], type, port: 9100, refreshIntervalMs: 1000 };
    const open = (): Resolver => {
      const resolver = new Resolver({ timeout: 5000, tries: 2 });
      resolver.setServers([consul.dns]);
      return resolver;
    };
    const discoverer = new DnsDiscoverer(section, open, () => ({ search: ['service.consul'], ndots: 1 }));
    return discoveryRig(t, section, { discoverer, clock: systemClock });
  };
  const srv = byDns('SRV', 'web.service.consul');
  await srv.until(() => srv.provider.hasSynced);
  const [record] = srv.found()['web.service.consul'] ?? [];
  assert.match(record?.__address__ ?? '', /^[0-9a-f]+\.addr\.dc1\.consul:8080$/);
  assert.equal(record?.__meta_dns_srv_record_target, `${record?.__address__?.replace(':8080', '')}.`);
  const a = byDns('A', 'web');
  await a.until(() => a.provider.hasSynced);
  assert.deepEqual(a.addresses(), ['10.0.0.9:9100']);
  const none = byDns('A', 'none.service.consul');
  await none.until(() => none.provider.hasSynced);
  assert.deepEqual([none.addresses(), none.provider.status.lastError], [[], '']);

  await consul.put('/v1/agent/service/register', { ...WEB, ID: 'web-2', Port: 8081, Tags: ['green'] });
  await all.until(() => all.addresses().includes('10.0.0.9:8081'), 'a second instance');
  assert.ok(!tagged.addresses().includes('10.0.0.9:8081'));
  await consul.put('/v1/agent/service/maintenance/web-1?enable=true');
  await all.until(() => all.found().web?.some(target => target.__meta_consul_health === 'maintenance') === true);
  await consul.put('/v1/agent/service/deregister/web-2');
  await all.until(() => !all.addresses().includes('10.0.0.9:8081'));

  // In this mode a server forgets everything when it ends, its index included.
  await consul.kill();
  await all.until(() => all.provider.status.lastError !== '');
  assert.ok(all.addresses().includes('10.0.0.9:8080'));
  await consul.start();
  await consul.put('/v1/agent/service/register', { ...WEB, ID: 'web-9', Port: 9999 });
  await all.until(() => all.addresses().includes('10.0.0.9:9999') && !all.addresses().includes('10.0.0.9:8080'));
  await all.until(() => all.provider.status.lastError === '');
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type DiscoveryRig, discoveryRig } from '../../../test/support/discovery-rig.ts';
import { candidates, DnsDiscoverer, type DnsResolver, parseResolvConf } from './dns.ts';
import type { DnsSection } from './sections.ts';

type Zone = Record<string, unknown[] | string>;

/** Answers from a map of `TYPE name`; a text is an error's code. */
class FakeResolver implements DnsResolver {
  zone: Zone;
  asked: string[] = [];

  constructor(zone: Zone) {
    this.zone = zone;
  }

  resolve4 = (name: string) => this.answer<string>('A', name);
  resolve6 = (name: string) => this.answer<string>('AAAA', name);
  resolveSrv = (name: string) => this.answer<{ name: string; port: number }>('SRV', name);
  resolveMx = (name: string) => this.answer<{ exchange: string }>('MX', name);
  resolveNs = (name: string) => this.answer<string>('NS', name);
  cancel(): void {}

  private async answer<T>(type: string, name: string): Promise<T[]> {
    this.asked.push(name);
    const entry = this.zone[`${type} ${name}`] ?? 'ENOTFOUND';
    if (typeof entry === 'string') throw Object.assign(new Error(`query ${entry} ${name}`), { code: entry });
    return entry as T[];
  }
}

function rigOf(
  t: TestContext,
  zone: Zone,
  section: Partial<DnsSection>,
  search: string[] = [],
): DiscoveryRig & { resolver: FakeResolver } {
  const resolver = new FakeResolver(zone);
  const full: DnsSection = {
    mechanism: 'dns',
    names: ['a.b'],
    type: 'A',
    port: 80,
    refreshIntervalMs: 20_000,
    ...section,
  };
  const discoverer = new DnsDiscoverer(
    full,
    () => resolver,
    () => ({ search, ndots: 1 }),
  );
  return { ...discoveryRig(t, full, { discoverer }), resolver };
}

const EMPTY = {
  __meta_dns_srv_record_target: '',
  __meta_dns_srv_record_port: '',
  __meta_dns_mx_record_target: '',
  __meta_dns_ns_record_target: '',
};

test('each record type gives its address and labels', async t => {
  const cases: [Zone, Partial<DnsSection>, Record<string, string>][] = [
    [{ 'A a.b': ['10.0.0.1'] }, { type: 'A' }, { __address__: '10.0.0.1:80' }],
    [{ 'AAAA a.b': ['fe80::1'] }, { type: 'AAAA' }, { __address__: '[fe80::1]:80' }],
    [
      { 'SRV a.b': [{ name: 'host.b', port: 9100 }] },
      { type: 'SRV', port: 0 },
      { __address__: 'host.b:9100', __meta_dns_srv_record_target: 'host.b.', __meta_dns_srv_record_port: '9100' },
    ],
    [
      { 'MX a.b': [{ exchange: 'mail.b' }] },
      { type: 'MX', port: 25 },
      { __address__: 'mail.b:25', __meta_dns_mx_record_target: 'mail.b.' },
    ],
    [
      { 'NS a.b': ['ns.b'] },
      { type: 'NS', port: 53 },
      { __address__: 'ns.b:53', __meta_dns_ns_record_target: 'ns.b.' },
    ],
  ];
  for (const [zone, section, expected] of cases) {
    const rig = rigOf(t, zone, section);
    await rig.until(() => rig.provider.hasSynced);
    assert.deepEqual(rig.found(), { 'a.b': [{ __meta_dns_name: 'a.b', ...EMPTY, ...expected }] });
  }
});

test('a name that cannot be asked keeps its targets, one that is gone loses them', async t => {
  const names = ['one.b', 'two.b'];
  const rig = rigOf(t, { 'A one.b': ['10.0.0.1'], 'A two.b': ['10.0.0.2'] }, { names });
  await rig.until(() => rig.addresses().length === 2);
  rig.resolver.zone = { 'A one.b': 'ETIMEOUT', 'A two.b': ['10.0.0.3'] };
  await rig.until(() => rig.provider.status.lastError !== '');
  assert.match(rig.provider.status.lastError, /one\.b: query ETIMEOUT/);
  assert.deepEqual(rig.addresses(), ['10.0.0.1:80', '10.0.0.3:80']);
  rig.resolver.zone = { 'A one.b': 'ENODATA', 'A two.b': ['10.0.0.3'] };
  await rig.until(() => rig.provider.status.lastError === '');
  assert.deepEqual(rig.addresses(), ['10.0.0.3:80']);
});

test('names are completed as the system says', async t => {
  assert.deepEqual(candidates('a.b', { search: ['x.y', 'z.'], ndots: 1 }), ['a.b', 'a.b.x.y', 'a.b.z']);
  assert.deepEqual(candidates('a.b', { search: ['x.y'], ndots: 5 }), ['a.b.x.y', 'a.b']);
  assert.deepEqual(candidates('a.b.', { search: ['x.y'], ndots: 5 }), ['a.b']);
  assert.deepEqual(parseResolvConf('nameserver 1.2.3.4\nsearch ns.svc svc cluster.local\noptions edns0 ndots:5\n'), {
    search: ['ns.svc', 'svc', 'cluster.local'],
    ndots: 5,
  });
  const rig = rigOf(t, { 'A a.found.b': ['10.0.0.9'] }, { names: ['a'] }, ['first.b', 'found.b']);
  await rig.until(() => rig.provider.hasSynced);
  assert.deepEqual(rig.addresses(), ['10.0.0.9:80']);
  assert.deepEqual(rig.resolver.asked, ['a.first.b', 'a.found.b']);
  // A failure on the way is no proof that there is nothing.
  const unsure = rigOf(t, { 'A a.first.b': 'ESERVFAIL' }, { names: ['a'] }, ['first.b']);
  await unsure.until(() => unsure.attempts.failed > 0);
  assert.match(unsure.provider.status.lastError, /ESERVFAIL/);
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { until } from '../../../test/support/programs.ts';
import { RecordingSink } from '../../../test/support/recording-sink.ts';
import { IdentityHasher } from '../../lib/identity-hash.ts';
import { silentLogger } from '../../lib/log.ts';
import { MetricsRegistry } from '../../lib/metrics.ts';
import { HostCollector } from './host-collector.ts';
import { HostFiles } from './host-files.ts';

/** A small host of our own making. */
const TREE: Record<string, string> = {
  'proc/stat': [
    'cpu  10 0 20 3000 5 0 1 0 0 0',
    'cpu0 1000 20 300 400000 50 6 7 8 9 10',
    'cpu1 1 2 3 4 5 6 7 8 9 10',
    'intr 12345 1 2 3',
    'ctxt 777',
    'btime 1700000000',
    'processes 42',
    'procs_running 3',
    'procs_blocked 1',
  ].join('\n'),
  'proc/loadavg': '0.25 0.50 1.75 2/345 999\n',
  'proc/meminfo': 'MemTotal:       1000 kB\nActive(anon):    10 kB\nHugePages_Total:       3\n',
  'proc/vmstat': 'nr_free_pages 5\npgfault 123\noom_kill 2\n',
  'proc/pressure/cpu': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0 total=9\n',
  'proc/diskstats': [
    ' 254 0 vda 10 1 16 2000 20 2 32 4000 1 5000 6000 7 8 9 10 11 12',
    ' 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1',
    ' 8 0 sda 5 0 8 100 0 0 0 0 0 50 50',
  ].join('\n'),
  'proc/1/mounts': '/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/sdb /a\\040b xfs ro,relatime 0 0\n',
  'proc/net/dev': [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16',
    'veth12: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16',
  ].join('\n'),
  'sys/class/net/eth0/operstate': 'up\n',
  'sys/class/net/eth0/mtu': '1500\n',
  'sys/class/net/eth0/speed': '1000\n',
  'sys/class/net/eth0/address': '00:11:22:33:44:55\n',
  'proc/net/netstat': 'TcpExt: SyncookiesSent Other ListenDrops\nTcpExt: 1 2 3\nIpExt: InOctets\nIpExt: 44\n',
  'proc/net/snmp': 'Tcp: RtoMin ActiveOpens CurrEstab\nTcp: 200 5 6\n',
  'proc/net/sockstat': 'sockets: used 10\nTCP: inuse 4 orphan 0 tw 1 alloc 5 mem 2\n',
  'proc/net/softnet_stat': '0000000a 00000001 00000002 0\n',
  'proc/sys/fs/file-nr': '1024\t0\t9999\n',
  'proc/sys/kernel/pid_max': '4194304\n',
  'proc/sys/kernel/threads-max': '1000\n',
  'proc/sys/kernel/random/entropy_avail': '256\n',
  'proc/sys/kernel/random/poolsize': '256\n',
  'proc/sys/kernel/hostname': 'box\n',
  'proc/sys/kernel/osrelease': '6.1.0\n',
  'etc/os-release': 'ID=debian\nNAME="Debian GNU/Linux"\n',
};

interface Rig {
  root: string;
  sink: RecordingSink;
  clock: ManualClock;
  metrics: MetricsRegistry;
  collector: HostCollector;
}

function rig(t: TestContext): Rig {
  const root = mkdtempSync(join(tmpdir(), 'sightline-host-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(TREE)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  mkdirSync(join(root, 'a b'));
  const sink = new RecordingSink();
  const clock = new ManualClock(1_700_000_007_000);
  const metrics = new MetricsRegistry();
  const collector = new HostCollector({
    sink,
    hasher: new IdentityHasher(new Uint8Array(16)),
    tenant: 'default',
    clock,
    log: silentLogger,
    metrics,
    intervalMs: 15_000,
    instance: 'box:9100',
    filter: {
      mountPoint: path => path === '/proc',
      fsType: () => false,
      disk: device => device === 'vda1',
      network: device => device.startsWith('veth'),
    },
    files: new HostFiles(root),
  });
  t.after(() => collector.stop());
  return { root, sink, clock, metrics, collector };
}

function has(
  sink: RecordingSink,
  name: string,
  labels: Record<string, string>,
  value: number | 'STALE',
  at?: number,
): void {
  const all = { job: 'node', instance: 'box:9100', ...labels };
  const found = sink.samples.filter(sample => {
    const map = new Map<string, string>();
    for (let i = 0; i < sample.labels.length; i += 2)
      map.set(sample.labels[i] as string, sample.labels[i + 1] as string);
    const same = map.get('__name__') === name && Object.entries(all).every(([key, text]) => map.get(key) === text);
    return same && (at === undefined || sample.timestampMs === at);
  });
  assert.equal(found.length, 1, `${name}${JSON.stringify(labels)} at ${at}: ${found.length} found`);
  const sample = found[0];
  assert.equal(sample?.stale ? 'STALE' : sample?.value, value, name);
}

test('every part reads the kernel files into the names of node_exporter', async t => {
  const { sink, collector } = rig(t);
  await collector.round(1000);
  has(sink, 'node_cpu_seconds_total', { cpu: '0', mode: 'idle' }, 4000);
  has(sink, 'node_cpu_seconds_total', { cpu: '1', mode: 'steal' }, 0.08);
  has(sink, 'node_cpu_guest_seconds_total', { cpu: '0', mode: 'nice' }, 0.1);
  has(sink, 'node_intr_total', {}, 12_345);
  has(sink, 'node_context_switches_total', {}, 777);
  has(sink, 'node_boot_time_seconds', {}, 1.7e9);
  has(sink, 'node_forks_total', {}, 42);
  has(sink, 'node_procs_running', {}, 3);
  has(sink, 'node_load15', {}, 1.75);
  has(sink, 'node_memory_MemTotal_bytes', {}, 1_024_000);
  has(sink, 'node_memory_Active_anon_bytes', {}, 10_240);
  has(sink, 'node_memory_HugePages_Total', {}, 3);
  has(sink, 'node_vmstat_oom_kill', {}, 2);
  has(sink, 'node_pressure_cpu_waiting_seconds_total', {}, 1.5);
  has(sink, 'node_disk_read_bytes_total', { device: 'vda' }, 16 * 512);
  has(sink, 'node_disk_io_time_seconds_total', { device: 'vda' }, 5);
  has(sink, 'node_disk_flush_requests_time_seconds_total', { device: 'vda' }, 0.012);
  has(sink, 'node_disk_reads_completed_total', { device: 'sda' }, 5);
  has(sink, 'node_filesystem_readonly', { mountpoint: '/a b', fstype: 'xfs', device: '/dev/sdb' }, 1);
  has(sink, 'node_filesystem_device_error', { mountpoint: '/' }, 0);
  has(sink, 'node_network_receive_bytes_total', { device: 'eth0' }, 1);
  has(sink, 'node_network_transmit_compressed_total', { device: 'eth0' }, 16);
  has(sink, 'node_network_speed_bytes', { device: 'eth0' }, 125_000_000);
  has(sink, 'node_netstat_TcpExt_ListenDrops', {}, 3);
  has(sink, 'node_netstat_Tcp_CurrEstab', {}, 6);
  has(sink, 'node_sockstat_TCP_mem_bytes', {}, 8192);
  has(sink, 'node_sockstat_sockets_used', {}, 10);
  has(sink, 'node_softnet_processed_total', { cpu: '0' }, 10);
  has(sink, 'node_filefd_maximum', {}, 9999);
  has(sink, 'node_processes_threads', {}, 345);
  has(sink, 'node_entropy_available_bits', {}, 256);
  has(sink, 'node_time_seconds', {}, 1);
  has(sink, 'node_uname_info', { nodename: 'box', release: '6.1.0' }, 1);
  has(sink, 'node_os_info', { id: 'debian', name: 'Debian GNU/Linux' }, 1);
  has(sink, 'up', {}, 1);
  const names = sink.lines().join('\n');
  assert.doesNotMatch(names, /vda1|veth|mountpoint="\/proc"|node_nf_conntrack|Tcp_RtoMin|nr_free/);
  const types = new Map(sink.metadata.map(entry => [entry.metric, entry.type]));
  assert.equal(types.get('node_cpu_seconds_total'), 'counter');
  assert.equal(types.get('node_vmstat_pgfault'), 'unknown');
});

test('the first round comes at once, the next in step with the clock', async t => {
  const { sink, clock, collector } = rig(t);
  collector.start();
  // A round asks the real file systems; the hands move on only when it is done.
  for (const [rounds, ms] of [
    [1, 3000],
    [2, 15_000],
    [3, 15_000],
  ] as const) {
    await until(`round ${rounds}`, async () => sink.batches === rounds);
    await clock.advance(ms);
  }
  await until('round 4', async () => sink.batches === 4);
  const times = [...new Set(sink.samples.map(sample => sample.timestampMs))];
  assert.deepEqual(times, [1_700_000_007_000, 1_700_000_010_000, 1_700_000_025_000, 1_700_000_040_000]);
});

test('what goes away gets a staleness marker, once', async t => {
  const { root, sink, collector } = rig(t);
  await collector.round(1000);
  writeFileSync(join(root, 'proc/diskstats'), TREE['proc/diskstats']?.split('\n')[0] ?? '');
  await collector.round(2000);
  has(sink, 'node_disk_reads_completed_total', { device: 'sda' }, 'STALE', 2000);
  has(sink, 'node_disk_reads_completed_total', { device: 'vda' }, 10, 2000);
  await collector.round(3000);
  assert.equal(sink.samples.filter(sample => sample.timestampMs === 3000 && sample.stale).length, 0);
});

test('a collector that ends leaves a staleness marker in each of its series, also behind a round under way', async t => {
  const { collector, sink, clock } = rig(t);
  await collector.round(clock.now());
  const before = sink.lines().filter(line => !line.endsWith('STALE'));
  assert.ok(before.length > 50);
  sink.clear();
  await clock.advance(1000);
  const late = collector.round(clock.now() - 500);
  const ended = collector.end();
  await Promise.all([late, ended]);
  const markers = sink.samples.filter(s => s.stale);
  const values = sink.samples.filter(s => !s.stale);
  assert.deepEqual(markers.map(s => s.labels.join()).sort(), values.map(s => s.labels.join()).sort());
  assert.ok(markers.every(s => s.timestampMs === clock.now()));
  sink.clear();
  await clock.advance(60_000);
  assert.deepEqual(sink.samples, []);
});

test('a part that fails costs its own series, is counted and comes back', async t => {
  const { root, sink, metrics, collector } = rig(t);
  await collector.round(1000);
  rmSync(join(root, 'proc/meminfo'));
  await collector.round(2000);
  has(sink, 'node_scrape_collector_success', { collector: 'meminfo' }, 0, 2000);
  has(sink, 'node_memory_MemTotal_bytes', {}, 'STALE', 2000);
  has(sink, 'node_load1', {}, 0.25, 2000);
  const failures = metrics.snapshot().find(family => family.name === 'sightline_host_collector_failures_total');
  assert.deepEqual(
    failures?.samples.map(s => [s.labels, s.value]),
    [[['collector', 'meminfo'], 1]],
  );
  writeFileSync(join(root, 'proc/meminfo'), TREE['proc/meminfo'] as string);
  await collector.round(3000);
  has(sink, 'node_scrape_collector_success', { collector: 'meminfo' }, 1, 3000);
  has(sink, 'node_memory_MemTotal_bytes', {}, 1_024_000, 3000);
});

test('CPU counters do not step back by rounding, but follow a real restart', async t => {
  const { root, sink, collector } = rig(t);
  const stat = (idle: number): void =>
    writeFileSync(join(root, 'proc/stat'), `cpu0 1000 20 300 ${idle} 50 6 7 8 9 10\n`);
  stat(400_000);
  await collector.round(1000);
  stat(399_990);
  await collector.round(2000);
  has(sink, 'node_cpu_seconds_total', { mode: 'idle' }, 4000, 2000);
  stat(100);
  await collector.round(3000);
  has(sink, 'node_cpu_seconds_total', { mode: 'idle' }, 1, 3000);
});

test('a store that refuses is counted, and the next round goes on', async t => {
  const { sink, metrics, collector } = rig(t);
  sink.failWith = new Error('disk full');
  await collector.round(1000);
  sink.failWith = null;
  await collector.round(2000);
  has(sink, 'up', {}, 1, 2000);
  const failures = metrics.snapshot().find(family => family.name === 'sightline_host_append_failures_total');
  assert.equal(failures?.samples[0]?.value, 1);
});

test('broken kernel files never stop a round', async t => {
  const { root, sink, collector } = rig(t);
  let seed = 42;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let round = 0; round < 60; round++) {
    const paths = Object.keys(TREE).filter(path => path.startsWith('proc/'));
    const path = paths[random(paths.length)] as string;
    const bytes = Buffer.from(TREE[path] as string);
    for (let k = 0; k < 3; k++) bytes[random(bytes.length)] = random(256);
    writeFileSync(join(root, path), bytes.subarray(0, random(bytes.length + 1)));
    await collector.round(1000 * (round + 1));
    writeFileSync(join(root, path), TREE[path] as string);
  }
  assert.equal(sink.batches, 60);
});

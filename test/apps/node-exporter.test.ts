/** This host's collector against the real node_exporter on the same host: the same series, and values near each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULTS } from '../../src/config/defaults.ts';
import { HostCollector } from '../../src/ingest/host/host-collector.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { IdentityHasher } from '../../src/lib/identity-hash.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { MetricsRegistry } from '../../src/lib/metrics.ts';
import { hostFilter } from '../../src/main/host-filter.ts';
import { findProgram, freePort, needs, startProgram, until } from '../support/programs.ts';
import { RecordingSink } from '../support/recording-sink.ts';

const PROGRAM = 'prometheus-node-exporter';

/** Ours alone, newer than Debian's exporter, off there by default, or counted differently with netlink. */
const NOT_COMPARED =
  /^(up|scrape_duration_seconds|node_scrape_collector_.*|node_processes_.*|node_os_info|node_disk_info|node_network_info|node_memory_.*|node_network_receive_(drop|errs|frame)_total|node_network_transmit_(errs|carrier)_total|node_time_seconds|node_softnet_.*)$/;

/** Families of the exporter that a dashboard cannot do without. */
const MUST_HAVE = [
  'node_cpu_seconds_total',
  'node_load1',
  'node_memory_MemAvailable_bytes',
  'node_disk_io_time_seconds_total',
  'node_filesystem_avail_bytes',
  'node_network_receive_bytes_total',
  'node_uname_info',
  'node_boot_time_seconds',
  'node_context_switches_total',
  'node_vmstat_pgmajfault',
  'node_filefd_allocated',
  'node_sockstat_TCP_inuse',
  'node_netstat_Tcp_RetransSegs',
];

function parse(text: string): Map<string, number> {
  const out = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_0-9:]+(?:\{.*\})?) (\S+)$/.exec(line);
    if (match !== null) out.set(match[1] as string, Number(match[2]));
  }
  return out;
}

/** As the exposition format writes it: labels in order of their names, as the exporter has them too. */
function seriesText(labels: readonly string[]): string {
  const parts: string[] = [];
  let name = '';
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i] === '__name__') name = labels[i + 1] as string;
    else if (labels[i] !== 'job' && labels[i] !== 'instance')
      parts.push(`${labels[i]}=${JSON.stringify(labels[i + 1])}`);
  }
  return parts.length === 0 ? name : `${name}{${parts.join(',')}}`;
}

test('the collector gives what node_exporter gives', { skip: needs(PROGRAM) }, async t => {
  const port = await freePort();
  startProgram(t, findProgram(PROGRAM), [`--web.listen-address=127.0.0.1:${port}`]);
  const scrape = async (): Promise<Map<string, number>> => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    return parse(await response.text());
  };
  await until('node_exporter', scrape);
  const sink = new RecordingSink();
  const collector = new HostCollector({
    sink,
    hasher: new IdentityHasher(new Uint8Array(16)),
    tenant: 'default',
    clock: systemClock,
    log: silentLogger,
    metrics: new MetricsRegistry(),
    intervalMs: 15_000,
    instance: 'x',
    filter: hostFilter(DEFAULTS.host),
  });
  const before = await scrape();
  await collector.round(Date.now());
  const after = await scrape();
  const ours = new Map(sink.samples.map(sample => [seriesText(sample.labels), sample.value]));
  const families = new Set([...ours.keys()].map(key => key.replace(/\{.*/, '')));
  for (const name of MUST_HAVE) assert.ok(families.has(name), `${name} is missing`);

  const names = new Set([...after.keys()].map(key => key.replace(/\{.*/, '')));
  let compared = 0;
  const wrong: string[] = [];
  for (const [key, value] of ours) {
    if (NOT_COMPARED.test(key.replace(/\{.*/, ''))) continue;
    const low = before.get(key);
    const high = after.get(key);
    if (low === undefined || high === undefined) {
      // Debian's build leaves out more devices and mounts by default than the upstream it packages.
      const name = key.replace(/\{.*/, '');
      if (!names.has(name) || !/[{,](device|mountpoint)=/.test(key)) wrong.push(`${key} is not in node_exporter`);
      continue;
    }
    // The two read at different moments: a tenth of the value, and of what little counters do in between.
    const slack = Math.max(
      Math.abs(high - low),
      Math.abs(high) * 0.1,
      /_(total|now|running|blocked|pg\w+|load\d+)/.test(key) ? 5 : 0,
    );
    if (value < Math.min(low, high) - slack || value > Math.max(low, high) + slack)
      wrong.push(`${key}: ${value}, node_exporter ${low} to ${high}`);
    compared++;
  }
  t.diagnostic(`${compared} series compared, ${ours.size} ours, ${after.size} of node_exporter`);
  assert.deepEqual(wrong.slice(0, 20), []);
  assert.ok(compared > 100);
});

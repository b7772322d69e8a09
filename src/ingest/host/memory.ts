/** /proc/meminfo, /proc/vmstat (a choice), /proc/pressure. */
import type { HostFiles } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

export function collectMemory(files: HostFiles, out: HostSamples): void {
  for (const line of files.read('proc/meminfo').split('\n')) {
    const match = /^([^:]+):\s+(\d+)( kB)?/.exec(line);
    if (match === null) continue;
    // Active(anon) -> Active_anon
    const field = (match[1] as string).replace(/\((.*)\)/, '_$1').replaceAll(/[^a-zA-Z0-9_]/g, '_');
    const kilobytes = match[3] !== undefined;
    const name = `node_memory_${field}${kilobytes ? '_bytes' : ''}`;
    out.gauge(
      name,
      `Memory information field ${field}${kilobytes ? '_bytes' : ''}.`,
      Number(match[2]) * (kilobytes ? 1024 : 1),
    );
  }
}

const VMSTAT = new Set(['oom_kill', 'pgfault', 'pgmajfault', 'pgpgin', 'pgpgout', 'pswpin', 'pswpout']);

export function collectVmstat(files: HostFiles, out: HostSamples): void {
  for (const line of files.read('proc/vmstat').split('\n')) {
    const [field, value] = line.split(' ');
    if (field === undefined || !VMSTAT.has(field)) continue;
    out.unknown(`node_vmstat_${field}`, `/proc/vmstat information field ${field}.`, Number(value));
  }
}

/** Resource, line, name; the kernel gives microseconds. CPU has no meaningful "full" for the whole system. */
const PRESSURE = [
  [
    'cpu',
    'some',
    'node_pressure_cpu_waiting_seconds_total',
    'Total time in seconds that processes have waited for CPU time',
  ],
  [
    'io',
    'some',
    'node_pressure_io_waiting_seconds_total',
    'Total time in seconds that processes have waited due to IO congestion',
  ],
  [
    'io',
    'full',
    'node_pressure_io_stalled_seconds_total',
    'Total time in seconds no process could make progress due to IO congestion',
  ],
  [
    'memory',
    'some',
    'node_pressure_memory_waiting_seconds_total',
    'Total time in seconds that processes have waited for memory',
  ],
  [
    'memory',
    'full',
    'node_pressure_memory_stalled_seconds_total',
    'Total time in seconds no process could make progress due to memory congestion',
  ],
] as const;

export function collectPressure(files: HostFiles, out: HostSamples): void {
  const texts = new Map<string, string>();
  for (const [resource, line, name, help] of PRESSURE) {
    // Kernels without pressure accounting have no such files.
    const text = texts.get(resource) ?? files.tryRead(`proc/pressure/${resource}`);
    texts.set(resource, text);
    const total = new RegExp(`^${line} .*total=(\\d+)`, 'm').exec(text)?.[1];
    if (total !== undefined) out.counter(name, help, Number(total) / 1e6);
  }
}

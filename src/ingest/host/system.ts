/** The small ones: load, files, processes, time, entropy, connection tracking, what system this is. */
import { machine } from 'node:os';
import { type HostFiles, numbers } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

export function collectLoad(files: HostFiles, out: HostSamples): void {
  const [one, five, fifteen] = numbers(files.read('proc/loadavg'));
  out.gauge('node_load1', '1m load average.', one as number);
  out.gauge('node_load5', '5m load average.', five as number);
  out.gauge('node_load15', '15m load average.', fifteen as number);
}

export function collectFileHandles(files: HostFiles, out: HostSamples): void {
  const [allocated, , maximum] = numbers(files.read('proc/sys/fs/file-nr'));
  out.gauge('node_filefd_allocated', 'File descriptor statistics: allocated.', allocated as number);
  out.gauge('node_filefd_maximum', 'File descriptor statistics: maximum.', maximum as number);
}

/** Counts alone: the state of each process would cost a read per process. */
export function collectProcesses(files: HostFiles, out: HostSamples): void {
  const entities = /\d+\/(\d+)/.exec(files.read('proc/loadavg'))?.[1];
  const pids = files.list('proc').filter(name => /^\d+$/.test(name)).length;
  out.gauge('node_processes_pids', 'Number of PIDs', pids);
  out.gauge('node_processes_threads', 'Allocated threads in system', Number(entities));
  out.gauge('node_processes_max_processes', 'Number of max PIDs limit', Number(files.read('proc/sys/kernel/pid_max')));
  out.gauge(
    'node_processes_max_threads',
    'Limit of threads in the system',
    Number(files.read('proc/sys/kernel/threads-max')),
  );
}

export function collectEntropy(files: HostFiles, out: HostSamples): void {
  const read = (name: string): number => Number(files.read(`proc/sys/kernel/random/${name}`));
  out.gauge('node_entropy_available_bits', 'Bits of available entropy.', read('entropy_avail'));
  out.gauge('node_entropy_pool_size_bits', 'Bits of entropy pool.', read('poolsize'));
}

export function collectConntrack(files: HostFiles, out: HostSamples): void {
  // Only where connection tracking is loaded.
  const read = (name: string): string => files.tryRead(`proc/sys/net/netfilter/nf_conntrack_${name}`);
  if (read('count') === '') return;
  out.gauge(
    'node_nf_conntrack_entries',
    'Number of currently allocated flow entries for connection tracking.',
    Number(read('count')),
  );
  out.gauge('node_nf_conntrack_entries_limit', 'Maximum size of connection tracking table.', Number(read('max')));
}

/** Made once: it costs more than a whole round. */
const zoneName = new Intl.DateTimeFormat('en', { timeZoneName: 'short' });

export function collectTime(nowMs: number, out: HostSamples): void {
  out.gauge('node_time_seconds', 'System time in seconds since epoch (1970).', nowMs / 1000);
  const date = new Date(nowMs);
  const zone = zoneName.formatToParts(date).find(part => part.type === 'timeZoneName');
  const offset = -date.getTimezoneOffset() * 60;
  out.gauge('node_time_zone_offset_seconds', 'System time zone offset in seconds.', offset, [
    'time_zone',
    zone?.value ?? 'UTC',
  ]);
}

/** What does not change while the host runs; a new host name shows after a restart of this program. */
export class SystemInfoCollector {
  private readonly labels = new Map<string, readonly string[]>();

  collect(files: HostFiles, out: HostSamples): void {
    if (this.labels.size === 0) this.read(files);
    const help = { node_uname_info: 'Labeled system information as provided by the uname system call.' };
    for (const [name, labels] of this.labels) {
      out.gauge(
        name,
        name === 'node_uname_info' ? help.node_uname_info : 'What /etc/os-release says, value is always 1.',
        1,
        labels,
      );
    }
  }

  private read(files: HostFiles): void {
    const kernel = (name: string): string => files.tryRead(`proc/sys/kernel/${name}`).trim();
    this.labels.set('node_uname_info', [
      ...['domainname', kernel('domainname'), 'machine', machine(), 'nodename', kernel('hostname')],
      ...['release', kernel('osrelease'), 'sysname', kernel('ostype'), 'version', kernel('version')],
    ]);
    const release = new Map<string, string>();
    for (const line of files.tryRead('etc/os-release').split('\n')) {
      const match = /^([A-Z_]+)="?(.*?)"?$/.exec(line);
      if (match !== null) release.set((match[1] as string).toLowerCase(), match[2] as string);
    }
    const names = [
      'id',
      'id_like',
      'name',
      'pretty_name',
      'variant',
      'variant_id',
      'version',
      'version_codename',
      'version_id',
    ];
    const labels = names.flatMap(name => [name, release.get(name) ?? '']);
    if (release.size > 0) this.labels.set('node_os_info', labels);
  }
}

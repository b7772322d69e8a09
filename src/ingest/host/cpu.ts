/** /proc/stat: CPU time by mode, and the kernel's totals. */
import type { HostFiles } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

/** USER_HZ, fixed for user space on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

const MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const;
const GUEST_MODES = ['user', 'nice'] as const;

/** The kernel lets idle and iowait step back a little at times; more than this is a CPU that went away and came back. */
const STEP_BACK_MAX_S = 3;

const TOTALS: Readonly<Record<string, readonly [kind: 'counter' | 'gauge', name: string, help: string]>> = {
  ctxt: ['counter', 'node_context_switches_total', 'Total number of context switches.'],
  btime: ['gauge', 'node_boot_time_seconds', 'Node boot time, in unixtime.'],
  processes: ['counter', 'node_forks_total', 'Total number of forks.'],
  procs_running: ['gauge', 'node_procs_running', 'Number of processes in runnable state.'],
  procs_blocked: ['gauge', 'node_procs_blocked', 'Number of processes blocked waiting for I/O to complete.'],
  intr: ['counter', 'node_intr_total', 'Total number of interrupts serviced.'],
};

export class CpuCollector {
  private readonly last = new Map<string, number>();

  collect(files: HostFiles, out: HostSamples): void {
    for (const line of files.read('proc/stat').split('\n')) {
      const space = line.indexOf(' ');
      const name = line.slice(0, space);
      if (/^cpu\d+$/.test(name)) this.cpu(name.slice(3), line.slice(space + 1), out);
      const total = Object.hasOwn(TOTALS, name) ? TOTALS[name] : undefined;
      // The first number: intr goes on with one per interrupt line.
      if (total !== undefined) out[total[0]](total[1], total[2], Number.parseInt(line.slice(space + 1), 10));
    }
  }

  private cpu(cpu: string, columns: string, out: HostSamples): void {
    const ticks = columns.split(' ');
    for (let i = 0; i < MODES.length; i++) {
      const mode = MODES[i] as string;
      const seconds = this.steady(`${cpu} ${mode}`, Number(ticks[i] ?? Number.NaN) / TICKS_PER_SECOND);
      out.counter('node_cpu_seconds_total', 'Seconds the CPUs spent in each mode.', seconds, [
        'cpu',
        cpu,
        'mode',
        mode,
      ]);
    }
    for (let i = 0; i < GUEST_MODES.length; i++) {
      const seconds = Number(ticks[MODES.length + i] ?? Number.NaN) / TICKS_PER_SECOND;
      const labels = ['cpu', cpu, 'mode', GUEST_MODES[i] as string];
      out.counter(
        'node_cpu_guest_seconds_total',
        'Seconds the CPUs spent in guests (VMs) for each mode.',
        seconds,
        labels,
      );
    }
  }

  /** A counter must not step back by rounding: `rate` would take it for a restart. */
  private steady(key: string, seconds: number): number {
    const before = this.last.get(key) ?? 0;
    const value = seconds < before && before - seconds < STEP_BACK_MAX_S ? before : seconds;
    this.last.set(key, value);
    return value;
  }
}

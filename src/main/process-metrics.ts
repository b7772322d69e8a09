/**
 * process_* and nodejs_* metrics of this process, under the names that Node's and Prometheus' client libraries use, so that
 * existing dashboards fit. Read when collected; the event-loop histogram covers the time since the reading before.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';
import type { MetricsRegistry } from '../lib/metrics.ts';

/** The monitor's timer; what it reports includes it. */
const RESOLUTION_MS = 10;
/** Readings closer together than this see the same window: /metrics and the own collector do not empty it for each other. */
const WINDOW_MS = 10_000;
const PAGE_BYTES = 4096;
const GC_KINDS: Readonly<Record<number, string>> = {
  1: 'minor',
  2: 'minor',
  4: 'major',
  8: 'incremental',
  16: 'weakcb',
};

export function registerProcessMetrics(registry: MetricsRegistry, version: string): { stop(): void } {
  const gauge = (name: string, help: string) => registry.gauge(name, help);
  const cpuUser = registry.counter('process_cpu_user_seconds_total', 'User CPU time, seconds, all threads.');
  const cpuSystem = registry.counter('process_cpu_system_seconds_total', 'System CPU time, seconds, all threads.');
  const cpu = registry.counter('process_cpu_seconds_total', 'User and system CPU time, seconds, all threads.');
  const resident = gauge('process_resident_memory_bytes', 'Resident memory.');
  const virtual = gauge('process_virtual_memory_bytes', 'Virtual memory.');
  const openFds = gauge('process_open_fds', 'Open file descriptors.');
  const maxFds = gauge('process_max_fds', 'File descriptors that may be open.');
  const threads = gauge('process_threads', 'Operating-system threads.');
  const heapTotal = gauge('nodejs_heap_size_total_bytes', 'JavaScript heap of the main thread, reserved.');
  const heapUsed = gauge('nodejs_heap_size_used_bytes', 'JavaScript heap of the main thread, used.');
  const external = gauge(
    'nodejs_external_memory_bytes',
    'Memory outside the heap held by JavaScript objects, main thread.',
  );
  const space = registry.gauge('nodejs_heap_space_size_used_bytes', 'Used bytes by heap space, main thread.', [
    'space',
  ]);
  gauge('process_start_time_seconds', 'Start of the process, seconds since the epoch.').set(
    Math.round(performance.timeOrigin) / 1000,
  );
  registry.gauge('nodejs_version_info', 'Version of Node.js.', ['version']).labels(process.version).set(1);
  registry.gauge('sightline_build_info', 'Version of Sightline.', ['version']).labels(version).set(1);
  const limit = maxOpenFiles();
  if (limit > 0) maxFds.set(limit);

  const loop = eventLoopGauges(registry);
  const gc = observeGc(registry);
  registry.onCollect(() => {
    const usage = process.resourceUsage();
    cpuUser.mirror(usage.userCPUTime / 1e6);
    cpuSystem.mirror(usage.systemCPUTime / 1e6);
    cpu.mirror((usage.userCPUTime + usage.systemCPUTime) / 1e6);
    const memory = process.memoryUsage();
    resident.set(memory.rss);
    heapTotal.set(memory.heapTotal);
    heapUsed.set(memory.heapUsed);
    external.set(memory.external);
    for (const stats of getHeapSpaceStatistics()) {
      space.labels(stats.space_name.replace(/_space$/, '')).set(stats.space_used_size);
    }
    const stat = procSelf();
    if (stat !== null) {
      virtual.set(stat.virtualBytes);
      threads.set(stat.threads);
      openFds.set(stat.openFds);
    }
    loop.read();
  });
  return {
    stop(): void {
      loop.stop();
      gc.stop();
    },
  };
}

function eventLoopGauges(registry: MetricsRegistry): { read(): void; stop(): void } {
  const gauge = (part: string, help: string) =>
    registry.gauge(
      `nodejs_eventloop_lag_${part}`,
      `Event-loop delay of the main thread, ${help}, since the last reading.`,
    );
  const mean = gauge('mean_seconds', 'mean');
  const p50 = gauge('p50_seconds', 'median');
  const p90 = gauge('p90_seconds', '90th percentile');
  const p99 = gauge('p99_seconds', '99th percentile');
  const max = gauge('max_seconds', 'maximum');
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  let resetAt = performance.now();
  const seconds = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, ns / 1e9 - RESOLUTION_MS / 1000) : 0);
  return {
    read(): void {
      if (monitor.count === 0) return;
      mean.set(seconds(monitor.mean));
      p50.set(seconds(monitor.percentile(50)));
      p90.set(seconds(monitor.percentile(90)));
      p99.set(seconds(monitor.percentile(99)));
      max.set(seconds(monitor.max));
      if (performance.now() - resetAt < WINDOW_MS) return;
      monitor.reset();
      resetAt = performance.now();
    },
    stop: () => monitor.disable(),
  };
}

function observeGc(registry: MetricsRegistry): { stop(): void } {
  const bounds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5];
  const family = registry.histogram('nodejs_gc_duration_seconds', 'Garbage collections, main thread.', bounds, [
    'kind',
  ]);
  const observer = new PerformanceObserver(list => {
    for (const entry of list.getEntries()) {
      const kind = (entry as unknown as { detail?: { kind?: number } }).detail?.kind ?? 0;
      family.labels(GC_KINDS[kind] ?? 'other').observe(entry.duration / 1000);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  return { stop: () => observer.disconnect() };
}

/** Linux only; null elsewhere. */
function procSelf(): { virtualBytes: number; threads: number; openFds: number } | null {
  try {
    const statm = readFileSync('/proc/self/statm', 'utf8').split(' ');
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // Field 20 of stat; the name in field 2 may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const openFds = readdirSync('/proc/self/fd').length;
    return { virtualBytes: Number(statm[0]) * PAGE_BYTES, threads: Number(fields[17]), openFds };
  } catch {
    return null;
  }
}

function maxOpenFiles(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** What the process tells about itself: build, run time, flags, configuration. Implements the API's StatusSource. */
import { availableParallelism, hostname, totalmem } from 'node:os';
import { formatBytes, formatDuration } from '../config/units.ts';
import type { BuildInfo, RuntimeInfo, StatusSource } from '../contracts/admin.ts';
import type { LateEngine } from './late-engine.ts';
import { maskedConfigYaml } from './masked-config.ts';
import type { Reloader } from './reloader.ts';
import { VERSION } from './version.ts';

export class ProcessStatus implements StatusSource {
  private readonly reloader: Reloader;
  private readonly engine: LateEngine;
  private readonly flagValues: Record<string, string>;

  constructor(reloader: Reloader, engine: LateEngine, flags: Record<string, string>) {
    this.reloader = reloader;
    this.engine = engine;
    this.flagValues = flags;
  }

  buildInfo(): BuildInfo {
    return { version: VERSION, revision: '', branch: '', buildUser: '', buildDate: '' };
  }

  runtimeInfo(): RuntimeInfo {
    const { lastReload, loadedAtMs } = this.reloader.status();
    const { raw, size } = this.reloader.current.config.storage.retention;
    return {
      startTimeMs: Math.round(performance.timeOrigin),
      cwd: process.cwd(),
      hostname: hostname(),
      reloadConfigSuccess: lastReload.success,
      lastConfigTimeMs: loadedAtMs,
      corruptionCount: this.engine.corruptions(),
      threads: 1 + this.engine.threads,
      cpuCores: availableParallelism(),
      memoryLimitBytes: Math.min(process.constrainedMemory() || totalmem(), totalmem()),
      storageRetention: size === null ? formatDuration(raw) : `${formatDuration(raw)} or ${formatBytes(size)}`,
    };
  }

  configYaml(): string {
    return maskedConfigYaml(this.reloader.current);
  }

  flags(): Record<string, string> {
    return { ...this.flagValues };
  }
}

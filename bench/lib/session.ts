/** What every part of a run shares: options, contestants that are present, results, temporary folders. */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Contestant, Server } from '../contestants/contestant.ts';
import type { Options } from './options.ts';
import type { Report } from './report.ts';

/** Free bytes below which a part does not start. */
const FREE_BYTES_MIN = 8e9;

export class Session {
  readonly options: Options;
  readonly contestants: Contestant[];
  readonly report: Report;
  private readonly base: string;
  private readonly running = new Set<Server>();

  constructor(options: Options, contestants: Contestant[], report: Report) {
    this.options = options;
    this.contestants = contestants;
    this.report = report;
    this.base = mkdtempSync(join(options.folder ?? tmpdir(), 'sightline-bench-'));
  }

  folder(name: string): string {
    const { bavail, bsize } = statfsSync(this.base);
    if (bavail * bsize < FREE_BYTES_MIN) throw new Error(`less than ${FREE_BYTES_MIN / 1e9} GB free in ${this.base}`);
    return mkdtempSync(join(this.base, `${name}-`));
  }

  remove(folder: string): void {
    rmSync(folder, { recursive: true, force: true });
  }

  async start(contestant: Contestant, folder: string): Promise<Server> {
    const server = await Server.start(contestant, folder);
    this.running.add(server);
    return server;
  }

  async stop(server: Server): Promise<void> {
    await server.stop();
    this.running.delete(server);
  }

  async kill9(server: Server): Promise<void> {
    await server.kill9();
    this.running.delete(server);
  }

  /** Runs `work` for a contestant; a failure is a note in the report and ends that contestant's part only. */
  async guarded(contestant: Contestant, what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.report.note(`${contestant.name}: ${what} FAILED: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.running) await server.kill9().catch(() => {});
    this.remove(this.base);
  }
}

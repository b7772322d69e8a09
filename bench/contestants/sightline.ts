/** Sightline as `npm start` runs it: from this checkout, or from another one to compare with. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { call, callText } from '../lib/http.ts';
import { folderBytes } from '../lib/proc.ts';
import { OUT_FOLDER } from '../lib/report.ts';
import type { Contestant, Launch } from './contestant.ts';

export const OWN_ROOT = join(import.meta.dirname, '..', '..');

export interface SightlineOptions {
  name: string;
  /** The checkout to run, with its node_modules. */
  root: string;
  /** Writes a CPU profile of every thread to bench/out/profiles/ when the server stops. */
  profile: boolean;
  flags: string[];
}

export function sightline(options: SightlineOptions): Contestant {
  const node = join(options.root, 'node_modules', '.bin', 'node');
  const cli = join(options.root, 'src', 'main', 'cli.ts');
  return {
    name: options.name,

    missing() {
      const absent = [node, cli].find(path => !existsSync(path));
      return absent === undefined ? null : `needs ${absent}`;
    },

    async launch(folder: string): Promise<Launch> {
      const profile = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(OUT_FOLDER, 'profiles')}`] : [];
      const data = join(folder, 'data');
      mkdirSync(data, { recursive: true });
      return {
        command: node,
        args: [...profile, cli, 'serve', '--admin-api', '--data-dir', data, '--http', '127.0.0.1:0', ...options.flags],
        // Variables, not flags: older checkouts do not know them, and only say so.
        env: {
          SIGHTLINE_OTLP_GRPC: 'off',
          SIGHTLINE_OTLP_HTTP: 'off',
          // As `npm start` does.
          NODE_COMPILE_CACHE: join(options.root, 'node_modules', '.cache', 'sightline'),
        },
        urlFrom: /(http:\/\/127\.0\.0\.1:\d+)/,
        readyPath: '/-/ready',
        writePath: '/api/v1/write',
        otlpPath: '/v1/metrics',
        queryPrefix: '',
        flush: async server => {
          await callText(`${server.apiUrl}/admin/tsdb/flush`, { method: 'POST' });
        },
        diskBytes: async () => {
          const isLog = (path: string): boolean => /\/wal\/|\.wal$/.test(path);
          const isState = (path: string): boolean => /\.sqlite|\/lock(\.json)?$/.test(path);
          const isIndex = (path: string): boolean => /index|postings|symbols|series/i.test(path.slice(data.length));
          const kept = (path: string): boolean => !isLog(path) && !isState(path);
          const index = folderBytes(data, path => kept(path) && isIndex(path));
          return { samples: folderBytes(data, kept) - index, index };
        },
      };
    },
  };
}

const LOOP_METRICS: Record<string, string> = {
  nodejs_eventloop_lag_p99_seconds: 'main thread event-loop delay p99',
};

/** The main thread's event-loop delay from /metrics, over the time between start and stop. */
export class LoopDelayProbe {
  private readonly valuesMs = new Map<string, number>();
  private readonly url: string;
  private readonly first: Promise<void>;

  constructor(url: string) {
    this.url = url;
    // A reading begins a new window after 10 s: this one ends the window in which the server stood still.
    this.first = this.read();
  }

  async stop(): Promise<{ name: string; value: number }[]> {
    await this.first;
    this.valuesMs.clear();
    await this.read();
    return [...this.valuesMs].map(([name, value]) => ({ name, value }));
  }

  private async read(): Promise<void> {
    const answer = await call(`${this.url}/metrics`).catch(() => null);
    if (answer?.status !== 200) return;
    for (const match of answer.body.toString('utf8').matchAll(/^(\w+) ([-+\w.]+)$/gm)) {
      const name = LOOP_METRICS[match[1] as string];
      if (name === undefined) continue;
      this.valuesMs.set(name, Number(match[2]) * 1000);
    }
  }
}

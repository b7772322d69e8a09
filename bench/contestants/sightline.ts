/** Sightline from this work tree, as `npm start` runs it. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { call, callText } from '../lib/http.ts';
import { folderBytes } from '../lib/proc.ts';
import { OURS, OUT_FOLDER } from '../lib/report.ts';
import type { Contestant, Launch } from './contestant.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NODE = join(ROOT, 'node_modules', '.bin', 'node');
const CLI = join(ROOT, 'src', 'main', 'cli.ts');

/** `profile` writes a CPU profile of every thread to bench/out/ when the server stops. */
export function sightline(options: { profile: boolean; flags: string[] }): Contestant {
  return {
    name: OURS,

    missing() {
      return existsSync(CLI) ? null : `needs ${CLI}`;
    },

    async launch(folder: string): Promise<Launch> {
      const profile = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(OUT_FOLDER, 'profiles')}`] : [];
      const data = join(folder, 'data');
      mkdirSync(data, { recursive: true });
      return {
        command: NODE,
        args: [...profile, CLI, 'serve', '--data-dir', data, '--http', '127.0.0.1:0', ...options.flags],
        urlFrom: /(http:\/\/127\.0\.0\.1:\d+)/,
        readyPath: '/-/ready',
        writePath: '/api/v1/write',
        queryPrefix: '',
        flush: async server => {
          await callText(`${server.apiUrl}/admin/tsdb/flush`, { method: 'POST' });
        },
        diskBytes: async () => {
          const isLog = (path: string): boolean => /\/wal\/|\.wal$/.test(path);
          const isState = (path: string): boolean => /\.sqlite|\.db(-wal|-shm)?$|lock/i.test(path);
          const isIndex = (path: string): boolean => /index|postings|symbols|series/i.test(path.slice(data.length));
          const kept = (path: string): boolean => !isLog(path) && !isState(path);
          const index = folderBytes(data, path => kept(path) && isIndex(path));
          return { samples: folderBytes(data, kept) - index, index };
        },
      };
    },
  };
}

/**
 * Event-loop delay of the main thread, seconds, as the server reports it: every sample of a metric whose name speaks of
 * it, by its name and labels. Empty while the server reports none.
 */
export async function eventLoopDelay(url: string): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const answer = await call(`${url}/metrics`).catch(() => null);
  if (answer?.status !== 200) return found;
  for (const match of answer.body.toString('utf8').matchAll(/^(\w*event_?loop\w*(?:\{[^}]*\})?) ([-+\w.]+)/gm)) {
    found.set(match[1] as string, Number(match[2]));
  }
  return found;
}

/** Prometheus as Debian ships it: remote-write receiver and admin API on, limits out of the way, no scraping. */
import { accessSync, constants, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callText } from '../lib/http.ts';
import { folderBytes } from '../lib/proc.ts';
import { type Contestant, freePort, type Launch, type Server } from './contestant.ts';

const BINARY = process.env.BENCH_PROMETHEUS ?? '/usr/bin/prometheus';

export const prometheus: Contestant = {
  name: 'prometheus',

  missing() {
    return executable(BINARY) ? null : `needs ${BINARY} (bench/setup.sh installs it)`;
  },

  async launch(folder: string): Promise<Launch> {
    const config = join(folder, 'prometheus.yml');
    writeFileSync(config, 'global: {}\n');
    const port = await freePort();
    return {
      command: BINARY,
      args: [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        '--storage.tsdb.retention.time=10y',
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-remote-write-receiver',
        '--web.enable-admin-api',
        '--query.max-samples=1000000000',
        '--query.timeout=10m',
        '--log.level=warn',
      ],
      url: `http://127.0.0.1:${port}`,
      readyPath: '/-/ready',
      writePath: '/api/v1/write',
      queryPrefix: '',
      // Nothing can be forced out of the head; the snapshot below writes it as blocks.
      flush: async () => {},
      diskBytes: snapshotBytes,
    };
  },
};

/** A snapshot holds every block and the head written as one: what the samples take once they are at rest. */
async function snapshotBytes(server: Server) {
  const answer = JSON.parse(await callText(`${server.apiUrl}/admin/tsdb/snapshot`, { method: 'POST' })) as {
    data: { name: string };
  };
  const folder = join(server.folder, 'data', 'snapshots', answer.data.name);
  const samples = folderBytes(folder, path => path.includes('/chunks/'));
  return { samples, index: folderBytes(folder) - samples };
}

export function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

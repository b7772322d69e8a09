/** VictoriaMetrics (single node) as Debian ships it: long retention, limits out of the way. */
import { join } from 'node:path';
import { callText, sleep } from '../lib/http.ts';
import { folderBytes } from '../lib/proc.ts';
import { type Contestant, freePort, type Launch, type Server } from './contestant.ts';
import { executable } from './prometheus.ts';

const BINARY = process.env.BENCH_VICTORIA_METRICS ?? '/usr/bin/victoria-metrics';

export const victoriaMetrics: Contestant = {
  name: 'victoria-metrics',

  missing() {
    return executable(BINARY) ? null : `needs ${BINARY} (bench/setup.sh installs it)`;
  },

  async launch(folder: string): Promise<Launch> {
    const port = await freePort();
    return {
      command: BINARY,
      args: [
        `-storageDataPath=${join(folder, 'data')}`,
        `-httpListenAddr=127.0.0.1:${port}`,
        '-retentionPeriod=100y',
        '-search.maxUniqueTimeseries=10000000',
        '-search.maxSamplesPerQuery=10000000000',
        '-search.maxQueryDuration=10m',
        '-search.latencyOffset=1ms',
        '-loggerLevel=WARN',
      ],
      url: `http://127.0.0.1:${port}`,
      readyPath: '/health',
      writePath: '/api/v1/write',
      queryPrefix: '',
      flush: flushAndMerge,
      diskBytes: async server => {
        const data = join(server.folder, 'data');
        return {
          samples: folderBytes(join(data, 'data')),
          index: folderBytes(join(data, 'indexdb')),
        };
      },
    };
  },
};

const MERGE_TIMEOUT_MS = 300_000;

/** Writes memory parts out, merges each partition to one part, and waits until no merge runs and the size stands still. */
async function flushAndMerge(server: Server): Promise<void> {
  await callText(`${server.url}/internal/force_flush`);
  await callText(`${server.url}/internal/force_merge`);
  const until = performance.now() + MERGE_TIMEOUT_MS;
  let before = -1;
  for (let quiet = 0; quiet < 4 && performance.now() < until; ) {
    await sleep(500);
    const metrics = await callText(`${server.url}/metrics`);
    const size = folderBytes(server.folder);
    quiet = activeMerges(metrics) === 0 && size === before ? quiet + 1 : 0;
    before = size;
  }
}

function activeMerges(metrics: string): number {
  let sum = 0;
  for (const match of metrics.matchAll(/^vm_active(?:_force)?_merges(?:\{[^}]*\})? (\d+)/gm)) sum += Number(match[1]);
  return sum;
}

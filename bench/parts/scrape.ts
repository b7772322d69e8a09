/**
 * Scraping: 1,000 targets of 1,000 series every 15 s, packed bodies on kept-alive connections. CPU share of the whole process tree
 * in steady state, after two intervals of which the first has registered all series. VictoriaMetrics is scraped for by
 * vmagent, whose processes count together.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Contestant, freePort, type Launch, type Server } from '../contestants/contestant.ts';
import { executable } from '../contestants/prometheus.ts';
import { LoopDelayProbe } from '../contestants/sightline.ts';
import { callText, sleep } from '../lib/http.ts';
import { cpuSeconds, memory } from '../lib/proc.ts';
import { BASE, OURS } from '../lib/report.ts';
import type { Session } from '../lib/session.ts';

const VMAGENT = process.env.BENCH_VMAGENT ?? '/usr/bin/vmagent';
const SERIES = 1000;

interface Shape {
  targets: number;
  intervalS: number;
  warmIntervals: number;
  intervals: number;
}

const FULL: Shape = { targets: 1000, intervalS: 15, warmIntervals: 3, intervals: 4 };
const QUICK: Shape = { targets: 100, intervalS: 3, warmIntervals: 2, intervals: 3 };

export async function scrape(session: Session): Promise<void> {
  const shape = session.options.quick ? QUICK : FULL;
  const topic = `scrape ${shape.targets} x ${SERIES} every ${shape.intervalS} s`;
  const runs = session.options.runs || 1;
  const fleet = await Fleet.start(shape);
  try {
    for (let run = 0; run < runs; run++) {
      for (const contestant of session.contestants) {
        await session.guarded(contestant, topic, () => oneRun(session, contestant, topic, shape, fleet));
      }
    }
  } finally {
    fleet.stop();
  }
  session.report.print(topic);
}

async function oneRun(
  session: Session,
  contestant: Contestant,
  topic: string,
  shape: Shape,
  fleet: Fleet,
): Promise<void> {
  const folder = session.folder(contestant.name);
  const config = join(folder, 'scrape.yml');
  writeFileSync(config, fleet.config());
  const servers: Server[] = [];
  try {
    const main = await session.start(scraping(contestant, config), folder);
    servers.push(main);
    if (contestant.name === 'victoria-metrics') {
      servers.unshift(await session.start(vmagent(config, main.writeUrl), session.folder('vmagent')));
    }
    const cpu = (): number => servers.reduce((sum, server) => sum + cpuSeconds(server.pid), 0);
    await sleep(shape.intervalS * 1000 * shape.warmIntervals);
    const ours = contestant.name === OURS || contestant.name === BASE;
    const delay = ours ? new LoopDelayProbe(main.url) : null;
    const before = cpu();
    const began = performance.now();
    await sleep(shape.intervalS * 1000 * shape.intervals);
    const seconds = (performance.now() - began) / 1000;
    const used = cpu() - before;
    const loop = await delay?.stop();
    const samples = (seconds / shape.intervalS) * shape.targets * SERIES;
    const base = { topic, contestant: contestant.name };
    const { report } = session;
    report.add({ ...base, name: 'CPU share', value: (100 * used) / seconds, unit: '% of a core', better: 'lower' });
    report.add({ ...base, name: 'samples per CPU-second', value: samples / used, unit: '1/s', better: 'higher' });
    const bytes = servers.reduce((sum, server) => sum + memory(server.pid).anonBytes, 0);
    report.add({ ...base, name: 'memory, no file pages', value: bytes / 1e6, unit: 'MB', better: 'lower' });
    for (const { name, value } of loop ?? []) report.add({ ...base, name, value, unit: 'ms', better: 'lower' });
    const up = await scalar(main, 'sum(up)');
    const scraped = await scalar(main, `sum(sum_over_time(scrape_samples_scraped[${shape.intervalS * 2}s]))`);
    report.add({ ...base, name: 'targets up', value: up, unit: '', better: 'higher' });
    // Two intervals back, every target has been scraped twice.
    const expected = 2 * shape.targets * SERIES;
    report.add({ ...base, name: 'share of samples scraped', value: scraped / expected, unit: '', better: 'higher' });
  } finally {
    for (const server of servers) await session.stop(server);
    session.remove(folder);
  }
}

async function scalar(server: Server, query: string): Promise<number> {
  const answer = JSON.parse(await callText(`${server.apiUrl}/query?query=${encodeURIComponent(query)}`)) as {
    data: { result: { value: [number, string] }[] };
  };
  return Number(answer.data.result[0]?.value[1] ?? 0);
}

/** The contestant with the fleet to scrape. */
function scraping(contestant: Contestant, config: string): Contestant {
  return {
    ...contestant,
    async launch(folder: string): Promise<Launch> {
      const launch = await contestant.launch(folder);
      if (contestant.name === 'prometheus') {
        launch.args = launch.args.map(arg => (arg.startsWith('--config.file=') ? `--config.file=${config}` : arg));
      } else if (contestant.name !== 'victoria-metrics') {
        const own = join(folder, 'sightline.yaml');
        writeFileSync(own, `prometheus: {file: ${JSON.stringify(config)}}\n`);
        launch.args.push('--config', own);
      }
      return launch;
    },
  };
}

function vmagent(config: string, writeUrl: string): Contestant {
  return {
    name: 'vmagent',
    missing: () => (executable(VMAGENT) ? null : `needs ${VMAGENT}`),
    async launch(folder: string): Promise<Launch> {
      const port = await freePort();
      return {
        command: VMAGENT,
        args: [
          `-promscrape.config=${config}`,
          `-remoteWrite.url=${writeUrl}`,
          `-remoteWrite.tmpDataPath=${folder}`,
          `-httpListenAddr=127.0.0.1:${port}`,
          '-loggerLevel=WARN',
        ],
        url: `http://127.0.0.1:${port}`,
        readyPath: '/health',
        writePath: '',
        queryPrefix: '',
        flush: async () => {},
        diskBytes: async () => ({ samples: 0, index: 0 }),
      };
    },
  };
}

/** The targets, in a process of their own. */
class Fleet {
  private readonly child: ChildProcess;
  private readonly port: number;
  private readonly shape: Shape;

  private constructor(child: ChildProcess, port: number, shape: Shape) {
    this.child = child;
    this.port = port;
    this.shape = shape;
  }

  static async start(shape: Shape): Promise<Fleet> {
    const script = join(import.meta.dirname, '..', 'lib', 'exposition-target.ts');
    const child = spawn(process.execPath, [script, String(shape.intervalS * 1000)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const port = await new Promise<number>((done, failed) => {
      child.once('exit', code => failed(new Error(`the targets ended with code ${code}`)));
      child.stdout?.on('data', (piece: Buffer) => {
        const found = /port (\d+)/.exec(piece.toString());
        if (found !== null) done(Number(found[1]));
      });
    });
    return new Fleet(child, port, shape);
  }

  config(): string {
    const targets = Array.from({ length: this.shape.targets }, (_, i) => `"127.10.${i >> 8}.${i & 255}:${this.port}"`);
    const every = `${this.shape.intervalS}s`;
    return `global: {scrape_interval: ${every}, scrape_timeout: ${this.shape.intervalS > 10 ? '10s' : every}}
scrape_configs:
  - job_name: fleet
    static_configs: [{targets: [${targets.join(', ')}], labels: {cluster: "production-eu-west-1"}}]
`;
  }

  stop(): void {
    this.child.kill('SIGKILL');
  }
}

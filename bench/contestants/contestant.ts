/**
 * What the benchmark needs from a server under test. Each starts on a port of its own on loopback with its data in a
 * folder that it is given, and is stopped by its pid alone. Servers that are not being measured can be paused (SIGSTOP),
 * so that nobody's background work disturbs another's figures.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { call, sharedAgent, sleep } from '../lib/http.ts';
import { tree } from '../lib/proc.ts';

export interface Contestant {
  readonly name: string;
  /** Why it cannot run here, or null. */
  missing(): string | null;
  launch(folder: string): Promise<Launch>;
}

export interface Launch {
  command: string;
  args: string[];
  env?: Record<string, string>;
  /** Known ahead, or found in the output by `urlFrom`. */
  url?: string;
  urlFrom?: RegExp;
  readyPath: string;
  writePath: string;
  /** OTLP over HTTP; absent where it takes none. */
  otlpPath?: string;
  /** Path before /api/v1. */
  queryPrefix: string;
  flush(server: Server): Promise<void>;
  /** Bytes of what a long-running server would keep on disk, once flushed. */
  diskBytes(server: Server): Promise<DiskBytes>;
}

export interface DiskBytes {
  samples: number;
  index: number;
}

const READY_TIMEOUT_MS = 600_000;
const READY_POLL_MS = 10;
const STOP_TIMEOUT_MS = 60_000;

export class Server {
  readonly name: string;
  readonly folder: string;
  readonly url: string;
  /** From spawn to the first 200 of the readiness path. */
  readonly startMs: number;
  private readonly child: ChildProcess;
  private readonly launch: Launch;

  private constructor(name: string, folder: string, url: string, startMs: number, child: ChildProcess, launch: Launch) {
    this.name = name;
    this.folder = folder;
    this.url = url;
    this.startMs = startMs;
    this.child = child;
    this.launch = launch;
  }

  static async start(contestant: Contestant, folder: string): Promise<Server> {
    const launch = await contestant.launch(folder);
    const began = performance.now();
    const child = spawn(launch.command, launch.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...launch.env },
    });
    const output = new OutputTail(child);
    try {
      const url = launch.url ?? (await output.find(launch.urlFrom as RegExp, READY_TIMEOUT_MS));
      await waitReady(url + launch.readyPath, child, output);
      return new Server(contestant.name, folder, url, performance.now() - began, child, launch);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get writeUrl(): string {
    return this.url + this.launch.writePath;
  }

  /** '' where it takes none. */
  get otlpUrl(): string {
    const { otlpPath } = this.launch;
    return otlpPath === undefined ? '' : this.url + otlpPath;
  }

  get apiUrl(): string {
    return `${this.url}${this.launch.queryPrefix}/api/v1`;
  }

  flush(): Promise<void> {
    return this.launch.flush(this);
  }

  diskBytes(): Promise<DiskBytes> {
    return this.launch.diskBytes(this);
  }

  pause(): void {
    for (const pid of tree(this.pid)) process.kill(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const pid of tree(this.pid)) process.kill(pid, 'SIGCONT');
  }

  async stop(): Promise<void> {
    this.resume();
    await this.end('SIGTERM');
  }

  /** As a crash: every process of the tree at once, no chance to flush. */
  async kill9(): Promise<void> {
    const pids = tree(this.pid);
    const gone = this.gone();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await gone;
    sharedAgent.destroy();
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const gone = this.gone();
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(timer);
    sharedAgent.destroy();
  }

  private gone(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return Promise.resolve();
    return new Promise(resolve => this.child.once('exit', () => resolve()));
  }
}

/** Keeps the end of a child's output, for the address it prints and for the error message if it dies. */
class OutputTail {
  private text = '';
  private readonly child: ChildProcess;

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (piece: Buffer) => {
        this.text = (this.text + piece.toString('utf8')).slice(-20_000);
      });
    }
  }

  async find(pattern: RegExp, timeoutMs: number): Promise<string> {
    const until = performance.now() + timeoutMs;
    while (performance.now() < until) {
      const match = pattern.exec(this.text);
      if (match) return (match[1] ?? match[0]) as string;
      if (this.child.exitCode !== null) throw new Error(`it ended with code ${this.child.exitCode}: ${this.tail()}`);
      await sleep(5);
    }
    throw new Error(`it printed no ${pattern}: ${this.tail()}`);
  }

  tail(): string {
    return this.text.slice(-1500);
  }
}

async function waitReady(url: string, child: ChildProcess, output: OutputTail): Promise<void> {
  const until = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}: ${output.tail()}`);
    try {
      const answer = await call(url, { timeoutMs: 2000 });
      if (answer.status === 200) return;
    } catch {
      // Not listening yet.
    }
    await sleep(READY_POLL_MS);
  }
  throw new Error(`${url} was not ready in time: ${output.tail()}`);
}

/** A port that was free a moment ago, for servers that cannot take port 0 and tell. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

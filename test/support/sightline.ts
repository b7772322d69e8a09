/**
 * The real program for whole-process tests: `sightline serve` on a free port in a temporary folder, waited for, stopped or
 * killed, started again on the same folder. Everything is gone after the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export const CLI: string = join(import.meta.dirname, '..', '..', 'src', 'main', 'cli.ts');

const START_MS = 60_000;

export interface ProgramResult {
  /** null where a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<ProgramResult> {
  return new Promise((done, failed) => {
    const env = { ...process.env, ...options.env };
    const child = spawn(command, [...args], { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const result: ProgramResult = { code: null, signal: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', text => {
      result.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', text => {
      result.stderr += text;
    });
    child.on('error', failed);
    child.on('close', (code, signal) => done({ ...result, code, signal }));
  });
}

/** `sightline ARGS` under this Node. */
export function runCli(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<ProgramResult> {
  return runProgram(process.execPath, [CLI, ...args], options);
}

export interface SightlineOptions {
  /** Contents of sightline.yaml. */
  config?: string;
  args?: readonly string[];
  env?: Record<string, string>;
  /** Called with the folder before the first start. */
  prepare?: (dir: string) => void;
  /** Other files for the folder, by name. */
  files?: Record<string, string>;
}

export class Sightline {
  readonly dir: string;
  url = '';
  /** Where the doors of OpenTelemetry are: `host:port` and a URL. */
  otlpGrpc = '';
  otlpHttp = '';
  /** All that the process wrote, over all starts. */
  stdout = '';
  stderr = '';
  private readonly options: SightlineOptions;
  private child: ChildProcess | null = null;
  private gone: Promise<{ code: number | null; signal: NodeJS.Signals | null }> | null = null;

  private constructor(dir: string, options: SightlineOptions) {
    this.dir = dir;
    this.options = options;
  }

  static async start(t: Pick<TestContext, 'after'>, options: SightlineOptions = {}): Promise<Sightline> {
    const dir = mkdtempSync(join(tmpdir(), 'sightline-app-'));
    for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(join(dir, name), text);
    if (options.config !== undefined) writeFileSync(join(dir, 'sightline.yaml'), options.config);
    options.prepare?.(dir);
    const server = new Sightline(dir, options);
    t.after(async () => {
      await server.kill();
      rmSync(dir, { recursive: true, force: true });
    });
    await server.launch();
    return server;
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /** Starts (again) and waits for the ready line. */
  async launch(): Promise<void> {
    const args = [
      CLI,
      'serve',
      '--http',
      '127.0.0.1:0',
      '--otlp-grpc',
      '127.0.0.1:0',
      '--otlp-http',
      '127.0.0.1:0',
      '--data-dir',
      join(this.dir, 'data'),
      ...(this.options.args ?? []),
    ];
    const env = { ...process.env, ...this.options.env };
    const child = spawn(process.execPath, args, { cwd: this.dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    this.gone = new Promise(done => child.once('close', (code, signal) => done({ code, signal })));
    child.stdout.setEncoding('utf8').on('data', text => {
      this.stdout += text;
    });
    const from = this.stderr.length;
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(
        () => failed(new Error(`not ready after ${START_MS} ms:\n${this.stdout}${this.stderr}`)),
        START_MS,
      );
      const end = (error: Error | null): void => {
        clearTimeout(timer);
        if (error === null) done();
        else failed(error);
      };
      child.stderr.setEncoding('utf8').on('data', text => {
        this.stderr += text;
        const url = /is ready at (https?:\/\/\S+?)\/ /.exec(this.stderr.slice(from))?.[1];
        if (url === undefined) return;
        this.url = url;
        const otlp = /OpenTelemetry: gRPC at (\S+), HTTP at (\S+)/.exec(this.stderr.slice(from));
        this.otlpGrpc = otlp?.[1] ?? '';
        this.otlpHttp = otlp?.[2] ?? '';
        end(null);
      });
      child.once('close', code =>
        end(new Error(`ended with ${code} before it was ready:\n${this.stdout}${this.stderr}`)),
      );
    });
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  /** Resolves with how the process ended. */
  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return (await this.gone) ?? { code: 0, signal: null };
  }

  /** SIGTERM, and waits. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    return (await this.ended()).code;
  }

  /** kill -9, and waits. */
  async kill(): Promise<void> {
    if (this.child === null) return;
    this.child.kill('SIGKILL');
    await this.ended();
    this.child = null;
  }

  /** Body of an answer with status 2xx; throws on another. */
  async get(path: string): Promise<string> {
    const response = await fetch(this.url + path);
    const body = await response.text();
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${body.slice(0, 500)}`);
    return body;
  }

  async post(
    path: string,
    body: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: string }> {
    const response = await fetch(this.url + path, { method: 'POST', body: body as string, headers });
    return { status: response.status, body: await response.text() };
  }

  /** `data.result` of an instant query. */
  async query(
    expression: string,
    time?: number,
  ): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const at = time === undefined ? '' : `&time=${time}`;
    const text = await this.get(`/api/v1/query?query=${encodeURIComponent(expression)}${at}`);
    return (JSON.parse(text) as { data: { result: { metric: Record<string, string>; value: [number, string] }[] } })
      .data.result;
  }
}

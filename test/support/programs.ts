/** Other programs that tests talk to: found on the PATH or the test is skipped, started on free ports, always ended. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';

/** Full path of a program, or '' . */
export function findProgram(name: string): string {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not in this folder.
    }
  }
  return '';
}

/** For `test(..., { skip: needs('promtool') })`. */
export function needs(...names: string[]): string | false {
  const missing = names.filter(name => findProgram(name) === '');
  return missing.length === 0 ? false : `needs ${missing.join(', ')}`;
}

/** Runs a program to its end, quietly; throws where it fails. */
export function runProgramOrThrow(name: string, args: readonly string[], cwd: string): void {
  execFileSync(name, [...args], { cwd, stdio: 'pipe' });
}

/** A port that was free a moment ago, on 127.0.0.1; for programs that cannot tell which they chose. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Starts a program and ends it with the test. */
export function startProgram(
  t: Pick<TestContext, 'after'>,
  path: string,
  args: readonly string[],
  cwd?: string,
): ChildProcess {
  const child = spawn(path, [...args], { stdio: 'ignore', cwd });
  const gone = new Promise(resolve => child.once('exit', resolve));
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  });
  return child;
}

/** Polls until `check` gives something, at most a minute: other tests may have the machine. */
export async function until<T>(what: string, check: () => Promise<T | null | undefined | false>): Promise<T> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const result = await check().catch(() => null);
    if (result !== null && result !== undefined && result !== false) return result;
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await setTimeout(50);
  }
}

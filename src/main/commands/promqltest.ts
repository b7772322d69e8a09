/**
 * `sightline promqltest`: runs PromQL test scripts against the real engine and storage. This is the shell: arguments, files,
 * the closing line. The runner is query/promqltest, the storages are main/promqltest-storage.ts.
 */
import { parseArgs } from 'node:util';
import type { Command } from '../cli.ts';
import { UsageError, usageMessage } from '../options.ts';

export const STORAGE_MODES = ['head', 'blocks', 'restart'] as const;
export type StorageMode = (typeof STORAGE_MODES)[number];

/** One failed case, as it is printed. */
export interface ScriptFailure {
  file: string;
  line: number;
  message: string;
}

export interface ScriptScore {
  passed: number;
  failures: ScriptFailure[];
}

/** Runs one script on a storage of the given kind, made new for it. */
export type RunScript = (file: string, mode: StorageMode) => Promise<ScriptScore>;

const HELP = `Runs PromQL test scripts against the real engine and storage.

usage: sightline promqltest [--storage head|blocks|restart] FILE...

  --storage MODE   head: as loaded (default); blocks: everything flushed to blocks first;
                   restart: after closing and reopening the folder

Each failure is named with file and line. The last line is "N passed, M failed"; exit code 1 where M is not 0.
`;

export const promqltest: Command = async args => {
  const { values, positionals } = parse(args);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const mode = (values.storage ?? 'head') as StorageMode;
  if (!STORAGE_MODES.includes(mode))
    throw new UsageError(`--storage must be head, blocks or restart, not ${JSON.stringify(mode)}`);
  if (positionals.length === 0) throw new UsageError('promqltest needs at least one FILE');
  const { runScript } = await import('../promqltest-storage.ts');
  return runScripts(positionals, mode, runScript);
};

export async function runScripts(files: readonly string[], mode: StorageMode, runScript: RunScript): Promise<number> {
  let passed = 0;
  let failed = 0;
  for (const file of files) {
    const score = await runScript(file, mode);
    passed += score.passed;
    failed += score.failures.length;
    for (const failure of score.failures) process.stdout.write(`${failure.file}:${failure.line}: ${failure.message}\n`);
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: { help: { type: 'boolean', short: 'h' }, storage: { type: 'string' } },
      allowPositionals: true,
    });
  } catch (error) {
    throw new UsageError(usageMessage(error as Error, ['help', 'storage']));
  }
}

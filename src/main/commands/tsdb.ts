/**
 * `sightline tsdb ACTION`: tools for a metrics folder. This is the shell: arguments, the folder's lock, exit codes. The work is
 * done by the functions of main/tsdb-tools.ts.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { systemClock } from '../../lib/clock.ts';
import { DataDir, SHARDS_MAX } from '../../storage/data-dir.ts';
import type { Command } from '../cli.ts';
import { UsageError, usageMessage } from '../options.ts';
import { VERSION } from '../version.ts';

/** What an action gets. `print` writes a line to stdout. */
export interface TsdbToolContext {
  dataDir: DataDir;
  tenant: string;
  print: (line: string) => void;
}

export interface TsdbTools {
  /** Lists shards, blocks, segments with their ranges and sizes. */
  inspect(context: TsdbToolContext): Promise<void>;
  /** Checks every checksum; gives the number of damaged files, each printed. */
  verify(context: TsdbToolContext): Promise<number>;
  /** Moves damaged files aside so that the rest serves; gives how many. */
  quarantine(context: TsdbToolContext): Promise<number>;
  /** Reads a Prometheus data folder (or one block in it) into the tenant; gives the number of damaged places in it. */
  import(context: TsdbToolContext, source: string): Promise<number>;
}

const HELP = `Tools for a metrics folder. The server must not be running on it, but for inspect and verify.

usage: sightline tsdb inspect [--data-dir DIR]
       sightline tsdb verify [--data-dir DIR]
       sightline tsdb quarantine [--data-dir DIR]
       sightline tsdb import [--data-dir DIR] [--tenant NAME] [--shards N] SOURCE

  inspect      lists shards, blocks and log segments with their time ranges and sizes
  verify       checks every checksum; exit code 1 where a file is damaged
  quarantine   moves damaged files aside, so that the rest serves
  import       reads a stopped Prometheus' data folder SOURCE, a snapshot of one, or a single
               block: its blocks, and what its log has beyond them. A second run does nothing.
               Exit code 1 where something in it is damaged: the rest is imported.

  --data-dir DIR   the folder (default: data)                  [SIGHTLINE_DATA_DIR]
  --tenant NAME    tenant to import into (default: default)
  --shards N       for a folder that import makes: shards, for good (default: one per core)
`;

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  'data-dir': { type: 'string' },
  tenant: { type: 'string' },
  shards: { type: 'string' },
} as const;

export const tsdb: Command = async args => {
  const { values, positionals } = parse(args);
  const [action, ...rest] = positionals;
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (action === undefined || !['inspect', 'verify', 'quarantine', 'import'].includes(action)) {
    throw new UsageError(
      action === undefined
        ? 'tsdb needs an action: inspect, verify, quarantine or import'
        : `tsdb has no action ${JSON.stringify(action)}: there are inspect, verify, quarantine and import`,
    );
  }
  if (rest.length !== (action === 'import' ? 1 : 0)) {
    throw new UsageError(
      action === 'import' ? 'tsdb import needs one SOURCE folder' : `unexpected argument ${JSON.stringify(rest[0])}`,
    );
  }
  const path = values['data-dir'] ?? process.env.SIGHTLINE_DATA_DIR ?? 'data';
  const { tsdbTools } = await import('../tsdb-tools.ts');
  const looksOnly = action === 'inspect' || action === 'verify';
  const dataDir = looksOnly
    ? DataDir.inspect(path)
    : DataDir.open({
        path: action === 'import' ? path : DataDir.inspect(path).path,
        shards: shardCount(values.shards),
        version: VERSION,
        now: () => systemClock.now(),
      });
  const context: TsdbToolContext = {
    dataDir,
    tenant: values.tenant ?? 'default',
    print: line => process.stdout.write(`${line}\n`),
  };
  try {
    return await act(tsdbTools, action, context, rest[0] ?? '');
  } finally {
    dataDir.close();
  }
};

/** For a folder that is made now: it keeps this number. */
function shardCount(text: string | undefined): number {
  if (text === undefined) return Math.min(SHARDS_MAX, availableParallelism());
  const shards = Number(text);
  if (!Number.isInteger(shards) || shards < 1 || shards > SHARDS_MAX) {
    throw new UsageError(`--shards must be a number from 1 to ${SHARDS_MAX}, not ${JSON.stringify(text)}`);
  }
  return shards;
}

async function act(tools: TsdbTools, action: string, context: TsdbToolContext, source: string): Promise<number> {
  if (action === 'inspect') await tools.inspect(context);
  else if (action === 'import') return (await tools.import(context, source)) === 0 ? 0 : 1;
  else if (action === 'quarantine') context.print(`${await tools.quarantine(context)} files moved aside`);
  else {
    const damaged = await tools.verify(context);
    context.print(
      damaged === 0 ? 'no damage found' : `${damaged} damaged files; "sightline tsdb quarantine" moves them aside`,
    );
    return damaged === 0 ? 0 : 1;
  }
  return 0;
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(usageMessage(error as Error, Object.keys(OPTIONS)));
  }
}

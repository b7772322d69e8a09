/**
 * The command line: picks the command, turns errors into messages. Exit codes: 0 done, 1 failed, 2 called wrongly.
 *
 * Commands are imported when called, so that `--help` and the small tools start at once.
 */

// First: it concerns all code that runs after it.
import '../lib/v8-tiers.ts';
import { nearest } from '../config/suggest.ts';
import { ConfigError } from '../config/yaml-source.ts';
import { UsageError } from './options.ts';
import { VERSION } from './version.ts';

/** Gets the arguments behind its name; gives the exit code, or null to go on running. */
export type Command = (args: readonly string[]) => Promise<number | null>;

const COMMANDS: Readonly<Record<string, { help: string; load: () => Promise<Command> }>> = {
  serve: {
    help: 'run the server',
    load: async () => (await import('./commands/serve.ts')).serve,
  },
  'check-config': {
    help: 'say whether a configuration file can be used',
    load: async () => (await import('./commands/check-config.ts')).checkConfig,
  },
  promqltest: {
    help: 'run PromQL test scripts against the real engine and storage',
    load: async () => (await import('./commands/promqltest.ts')).promqltest,
  },
  auth: {
    help: 'make tokens and password hashes',
    load: async () => (await import('./commands/auth.ts')).auth,
  },
  tsdb: {
    help: 'look at, verify, repair or fill a metrics folder',
    load: async () => (await import('./commands/tsdb.ts')).tsdb,
  },
};

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map(name => name.length)) + 3;
  const lines = Object.entries(COMMANDS).map(([name, command]) => `  ${name.padEnd(width)}${command.help}`);
  return `Sightline ${VERSION}: metrics, logs, traces, alerts and dashboards in one program.

usage: sightline COMMAND [OPTIONS]

${lines.join('\n')}

  sightline COMMAND --help tells more.  --version prints the version.
`;
}

async function run(argv: readonly string[]): Promise<number | null> {
  const [name, ...args] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-V' || name === 'version') {
    process.stdout.write(`sightline ${VERSION}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    throw new UsageError(`there is no command ${JSON.stringify(name)}${near === '' ? '' : `; did you mean ${near}?`}`);
  }
  return (await command.load())(args);
}

/** Errors whose messages say all; anything else is a bug and shows where. */
const EXPECTED = new Set(['DataDirError', 'ListenError', 'StateVersionError', 'ConfigError', 'CommandError']);

async function main(): Promise<void> {
  try {
    const code = await run(process.argv.slice(2));
    if (code !== null) process.exitCode = code;
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`sightline: ${error.message}\n(sightline --help shows what there is)\n`);
      process.exitCode = 2;
      return;
    }
    const known = error instanceof ConfigError || (error instanceof Error && EXPECTED.has(error.name));
    process.stderr.write(
      `sightline: ${known ? messageWithCause(error as Error) : ((error as Error).stack ?? String(error))}\n`,
    );
    process.exitCode = 1;
  }
}

function messageWithCause(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause.message : '';
  return cause === '' || error.name === 'ListenError' ? error.message : `${error.message} (${cause})`;
}

await main();

/** `sightline serve`: runs until a signal. The first SIGTERM or SIGINT drains and flushes, a second one ends at once. */
import { existsSync } from 'node:fs';
import type { Command } from '../cli.ts';
import { openEngine } from '../engine.ts';
import { formatFlags, parseServeOptions, SERVE_FLAGS } from '../options.ts';
import { SightlineServer } from '../server.ts';
import { VERSION } from '../version.ts';

const DEFAULT_FILE = 'sightline.yaml';

/** npm, a launcher and a terminal may each pass the same Ctrl-C on: signals closer than this are one. */
const SAME_SIGNAL_MS = 500;

const HELP = `Runs the server.

usage: sightline serve [OPTIONS]        npm start -- [OPTIONS]

${formatFlags(SERVE_FLAGS, true)}

Each option may also be given as the variable in brackets. An option wins over its variable, and that over the file.
SIGHUP and POST /-/reload read the file again; so does a change of the file. docs/configuration.md lists its keys.
`;

export const serve: Command = async args => {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return 0;
  }
  const options = parseServeOptions(args, process.env);
  if (options.config === '' && existsSync(DEFAULT_FILE)) options.config = DEFAULT_FILE;
  // A signal during a long start ends it: nothing has been acknowledged that is not kept.
  let server: SightlineServer | null = null;
  let stoppedAt = 0;
  const stop = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (server === null) process.exit(0);
    if (stoppedAt > 0 && now - stoppedAt > SAME_SIGNAL_MS) {
      process.stderr.write(`${signal} again: ending at once\n`);
      process.exit(1);
    }
    if (stoppedAt > 0) return;
    stoppedAt = now;
    process.stderr.write(`${signal}: finishing running requests, then stopping (once more to end at once)\n`);
    server.close().then(
      () => process.exit(0),
      error => {
        process.stderr.write(`sightline: stopping failed: ${(error as Error).stack ?? String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => server?.reloader.reload('SIGHUP'));
  server = await SightlineServer.start(options, { openEngine });
  const { grpc, http } = server.otlp;
  if (grpc !== '' || http !== '') {
    process.stderr.write(`OpenTelemetry: gRPC at ${grpc || '(off)'}, HTTP at ${http || '(off)'}\n`);
  }
  process.stderr.write(
    `Sightline ${VERSION} is ready at ${server.url}/ (data in ${server.dataDir}, started in ${Math.round(server.startMs)} ms)\n`,
  );
  return null;
};

/**
 * `sightline auth`: what sign-in needs that is made by hand: a token with its hash for the configuration file, a password's hash,
 * or a token straight into a data folder (the way to the first administrator; works while the server runs).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { hashPassword, hashToken, newToken } from '../../api/auth/passwords.ts';
import { TokenStore, tokenSpecOf } from '../../api/auth/token-store.ts';
import { systemClock } from '../../lib/clock.ts';
import { FORMAT_FILE } from '../../storage/data-dir.ts';
import { SqliteStateStore } from '../../storage/state/sqlite-state-store.ts';
import type { Command } from '../cli.ts';
import { type FlagSpec, formatFlags, parseFlags, UsageError } from '../options.ts';

const CREATE_FLAGS: readonly FlagSpec[] = [
  { name: 'data-dir', key: '', value: 'DIR', help: "the server's data folder (default: data)" },
  { name: 'name', key: '', value: 'NAME', help: 'who holds the token' },
  { name: 'tenant', key: '', value: 'TENANT', help: 'the tenant it acts for (default: default)' },
  {
    name: 'tenants',
    key: '',
    value: 'LIST',
    help: 'further tenants it may name in X-Scope-OrgID, with commas; * = any',
  },
  {
    name: 'rights',
    key: '',
    value: 'LIST',
    help: 'of read, write, admin, long-range, with commas (default: read)',
  },
  { name: 'expires-in', key: '', value: 'DAYS', help: 'days until it expires (default: never)' },
];

const HELP = `Makes tokens and password hashes.

usage: sightline auth new-token            a token, and its hash for auth.tokens in the configuration file
       sightline auth hash-password        reads a password from standard input, prints its hash for auth.users
       sightline auth create-token --name NAME [OPTIONS]

create-token puts a token into a data folder and prints it, once:

${formatFlags(CREATE_FLAGS, false)}
`;

export const auth: Command = async args => {
  const [what, ...rest] = args;
  switch (what) {
    case undefined:
    case '--help':
    case '-h':
      process.stdout.write(HELP);
      return what === undefined ? 2 : 0;
    case 'new-token': {
      const token = newToken();
      process.stdout.write(`token:  ${token}\nsha256: ${hashToken(token)}\n`);
      return 0;
    }
    case 'hash-password':
      return hashFromInput();
    case 'create-token':
      return createToken(rest);
    default:
      throw new UsageError(
        `sightline auth knows new-token, hash-password and create-token, not ${JSON.stringify(what)}`,
      );
  }
};

async function hashFromInput(): Promise<number> {
  if (process.stdin.isTTY) process.stderr.write('password (it will be seen): ');
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    if (line.length < 8) throw new UsageError('a password needs 8 characters or more');
    process.stdout.write(`${await hashPassword(line)}\n`);
    return 0;
  }
  throw new UsageError('no password on standard input');
}

async function createToken(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, CREATE_FLAGS);
  if (flags.name === undefined) throw new UsageError('--name is needed: who holds the token');
  const folder = flags['data-dir'] ?? 'data';
  if (!existsSync(join(folder, FORMAT_FILE))) {
    throw new UsageError(`${folder} is no data folder of Sightline: name it with --data-dir, or start the server once`);
  }
  const list = (text: string | undefined): string[] | undefined => text?.split(',').map(part => part.trim());
  const spec = specOf({
    name: flags.name,
    tenant: flags.tenant ?? 'default',
    tenants: flags.tenants === '*' ? '*' : list(flags.tenants),
    rights: list(flags.rights) ?? ['read'],
    expires_in_s: flags['expires-in'] === undefined ? null : Number(flags['expires-in']) * 86_400,
  });
  const state = new SqliteStateStore(join(folder, 'state', 'state.sqlite'), () => systemClock.now());
  try {
    const { info, token } = await new TokenStore(state, () => systemClock.now()).create(spec, { name: 'command line' });
    process.stdout.write(`${token}\n`);
    process.stderr.write(
      `token ${info.id} of ${info.name}, rights: ${info.rights.join(', ')}; it is not shown again\n`,
    );
  } finally {
    state.close();
  }
  return 0;
}

/** Complaints about the flags are the caller's to read. */
function specOf(input: unknown) {
  try {
    return tokenSpecOf(input, systemClock.now());
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

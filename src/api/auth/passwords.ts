/**
 * Passwords and tokens at rest.
 *
 * A password is chosen by a person and short, so its hash is a slow one (scrypt, with its parameters in the text:
 * `scrypt:N:r:p:salt:hash`, base64url). A token is 256 random bits made here: nobody guesses those, SHA-256 is enough, and a busy
 * sender's every request can be checked.
 */
import { createHash, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';

const N = 2 ** 15;
const R = 8;
const P = 1;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** What a stored hash may ask of this machine: 256 MB, some 500 ms. */
const N_MAX = 2 ** 18;

export const TOKEN_PREFIX = 'slt_';
/** Longer ones are no passwords of anyone. */
const PASSWORD_BYTES_MAX = 1024;

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, salt, { N, r: R, p: P });
  return `scrypt:${N}:${R}:${P}:${salt.toString('base64url')}:${hash.toString('base64url')}`;
}

/** What is wrong with a hash in a configuration, '' where nothing is. */
export function passwordHashProblem(text: string): string {
  const [kind, n, r, p, salt, hash, ...more] = text.split(':');
  const numbers = [Number(n), Number(r), Number(p)];
  const well =
    kind === 'scrypt' &&
    more.length === 0 &&
    numbers.every(x => Number.isInteger(x) && x >= 1) &&
    (numbers[0] as number) <= N_MAX &&
    ((numbers[0] as number) & ((numbers[0] as number) - 1)) === 0 &&
    (numbers[0] as number) > 1 &&
    (numbers[1] as number) <= 16 &&
    (numbers[2] as number) <= 16 &&
    /^[\w-]{16,}$/.test(salt ?? '') &&
    /^[\w-]{43}$/.test(hash ?? '');
  return well ? '' : 'is no password hash; make one with: sightline auth hash-password';
}

export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  if (passwordHashProblem(stored) !== '' || Buffer.byteLength(password) > PASSWORD_BYTES_MAX) return false;
  const [, n, r, p, salt, hash] = stored.split(':');
  const expected = Buffer.from(hash as string, 'base64url');
  const options = { N: Number(n), r: Number(r), p: Number(p) };
  const found = await derive(password, Buffer.from(salt as string, 'base64url'), options);
  return timingSafeEqual(found, expected);
}

/** A new secret, shown once. */
export function newToken(): string {
  return TOKEN_PREFIX + randomBytes(32).toString('base64url');
}

/** Lower-case hex of SHA-256: what is kept of a token. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function derive(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  const maxmem = 256 * (options.N as number) * (options.r as number);
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, { ...options, maxmem }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

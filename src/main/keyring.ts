/** From the `auth` section to the authenticator's keyring: token files are read here, tenants made whole. */
import { readFileSync } from 'node:fs';
import type { Holder, Keyring } from '../api/auth/authenticator.ts';
import { hashToken } from '../api/auth/passwords.ts';
import type { Config } from '../config/schema.ts';
import type { Right } from '../contracts/auth.ts';
import { errorText, type Logger } from '../lib/log.ts';

interface Entry {
  name: string;
  tenant: string;
  tenants?: '*' | string[] | undefined;
  rights: Right[];
}

/** A token file that cannot be read leaves its token out: nobody gets in by a mistake. */
export function keyringOf(auth: Config['auth'], log: Logger): Keyring {
  const tokens = new Map<string, Holder>();
  for (const entry of auth.tokens) {
    const sha256 = entry.sha256 ?? hashOfFile(entry.file as string, entry.name, log);
    if (sha256 !== null) tokens.set(sha256, holderOf(entry));
  }
  return {
    // Asked for in the file, though none of it could be read: still on.
    required: auth.required || auth.tokens.length > 0,
    tokens,
    users: new Map(auth.users.map(u => [u.name, { holder: holderOf(u), passwordHash: u.password_hash }])),
    certificates: auth.certificates.map(c => ({
      holder: holderOf(c),
      commonName: c.common_name,
      fingerprint: c.fingerprint,
    })),
  };
}

function holderOf({ name, tenant, tenants, rights }: Entry): Holder {
  return {
    name,
    tenant,
    tenants: tenants === '*' ? '*' : [...new Set([tenant, ...(tenants ?? [])])],
    rights: new Set(rights),
  };
}

function hashOfFile(file: string, name: string, log: Logger): string | null {
  try {
    const token = readFileSync(file, 'utf8').trim();
    if (token.length >= 16) return hashToken(token);
    log.error({ file, name }, 'auth.tokens: a token needs 16 characters or more; this one is left out');
  } catch (error) {
    log.error({ file, name, error: errorText(error) }, 'auth.tokens: the file cannot be read; this token is left out');
  }
  return null;
}

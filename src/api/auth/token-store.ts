/**
 * TokenStore: tokens made through the API or the command line, kept as hashes in the StateStore. The secret itself is shown
 * once and stored nowhere.
 */
import { type Principal, RIGHTS, type Right } from '../../contracts/auth.ts';
import type { StateStore } from '../../contracts/state-store.ts';
import { isValidTenant, SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import { badData } from '../errors.ts';
import type { Holder, TokenLookup } from './authenticator.ts';
import { hashToken, newToken } from './passwords.ts';

const KIND = 'api_token';
const TOKENS_MAX = 10_000;
const NAME = /^[\w .@:/-]{1,100}$/;

export interface TokenSpec {
  name: string;
  tenant: TenantId;
  tenants: readonly TenantId[] | '*';
  rights: readonly Right[];
  /** ms since the epoch; null = never. */
  expiresAtMs: number | null;
}

/** As listed: without the hash. */
export interface TokenInfo extends TokenSpec {
  id: string;
  createdAtMs: number;
  createdBy: string;
}

type Stored = TokenSpec & { sha256: string; createdAtMs: number; createdBy: string };

export class TokenStore implements TokenLookup {
  private readonly state: StateStore;
  private readonly now: () => number;

  /** @param now ms since the epoch */
  constructor(state: StateStore, now: () => number) {
    this.state = state;
    this.now = now;
  }

  async find(sha256: string): Promise<Holder | null> {
    const found = await this.state.get(keyOf(idOf(sha256)));
    if (found === null) return null;
    const token = found.value as Stored;
    if (token.sha256 !== sha256 || (token.expiresAtMs !== null && token.expiresAtMs <= this.now())) return null;
    return { name: token.name, tenant: token.tenant, tenants: token.tenants, rights: new Set(token.rights) };
  }

  /** Gives the secret, once. */
  async create(spec: TokenSpec, by: Pick<Principal, 'name'>): Promise<{ info: TokenInfo; token: string }> {
    if ((await this.state.list(KIND, SELF_TENANT)).length >= TOKENS_MAX) {
      throw badData(`there are ${TOKENS_MAX} tokens already: delete those that nobody uses`);
    }
    const token = newToken();
    const sha256 = hashToken(token);
    const value: Stored = { ...spec, sha256, createdAtMs: this.now(), createdBy: by.name };
    await this.state.put({ ...keyOf(idOf(sha256)), value, author: by.name, expectedVersion: 0 });
    return { info: infoOf(idOf(sha256), value), token };
  }

  async list(): Promise<TokenInfo[]> {
    const all = await this.state.list(KIND, SELF_TENANT);
    return all.map(o => infoOf(o.id, o.value as Stored));
  }

  /** False where there is none of that id. */
  revoke(id: string, by: Pick<Principal, 'name'>): Promise<boolean> {
    return this.state.delete(keyOf(id), { author: by.name });
  }
}

/** Checks what a client or the command line asked for; throws an ApiError. */
export function tokenSpecOf(input: unknown, nowMs: number): TokenSpec {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw badData('a JSON object is expected');
  const {
    name,
    tenant = 'default',
    tenants,
    rights = ['read'],
    expires_in_s: expiresInS = null,
    ...rest
  } = input as Record<string, unknown>;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw badData(`unknown field ${JSON.stringify(unknown)}`);
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw badData('"name" must be 1 to 100 letters, digits, spaces or any of _.@:/-');
  }
  if (typeof tenant !== 'string' || !isValidTenant(tenant)) throw badData('"tenant" is no tenant name');
  if (!Array.isArray(rights) || rights.length === 0 || !rights.every(r => RIGHTS.includes(r))) {
    throw badData(`"rights" must be a list of some of ${RIGHTS.join(', ')}`);
  }
  if (expiresInS !== null && !(typeof expiresInS === 'number' && expiresInS > 0 && expiresInS <= 100 * 365 * 86_400)) {
    throw badData('"expires_in_s" must be seconds from now, up to 100 years');
  }
  return {
    name,
    tenant,
    tenants: tenantsOf(tenants, tenant),
    rights: [...new Set(rights as Right[])],
    expiresAtMs: expiresInS === null ? null : nowMs + (expiresInS as number) * 1000,
  };
}

function tenantsOf(value: unknown, own: TenantId): readonly TenantId[] | '*' {
  if (value === undefined) return [own];
  if (value === '*') return '*';
  if (!Array.isArray(value) || value.length > 1000 || !value.every(t => typeof t === 'string' && isValidTenant(t))) {
    throw badData('"tenants" must be a list of tenant names, or "*"');
  }
  return [...new Set([own, ...(value as TenantId[])])];
}

/** Enough of the hash to be unique; tells nothing about the secret. */
function idOf(sha256: string): string {
  return sha256.slice(0, 16);
}

function keyOf(id: string) {
  return { kind: KIND, tenant: SELF_TENANT, id };
}

function infoOf(id: string, { sha256: _hash, ...rest }: Stored): TokenInfo {
  return { id, ...rest };
}

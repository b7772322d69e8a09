/**
 * KeyringAuthenticator: tells a request's principal by bearer token, user and password, or client certificate.
 *
 * Entries come from the configuration (replaced on reload) and from the API (kept by a TokenStore). Passwords are slow to check
 * on purpose, so what was found right is remembered for a short time under a hash that only this process can make; that
 * time is how long a revoked token lives at most.
 */
import { createHmac, randomBytes } from 'node:crypto';
import {
  ANONYMOUS,
  AuthError,
  type Authenticator,
  type CertificateFacts,
  type Credentials,
  type Principal,
} from '../../contracts/auth.ts';
import type { Clock } from '../../lib/clock.ts';
import { FailedSignIns, networkOf } from './failures.ts';
import { hashToken, verifyPassword } from './passwords.ts';

export type Holder = Omit<Principal, 'via'>;

/** What the configuration names. */
export interface Keyring {
  /** Sign-in is asked for even where the lists are empty (tokens may come from the API). */
  required: boolean;
  /** By SHA-256 of the token, hex. */
  tokens: ReadonlyMap<string, Holder>;
  users: ReadonlyMap<string, { holder: Holder; passwordHash: string }>;
  certificates: readonly { holder: Holder; commonName: string; fingerprint: string }[];
}

export const EMPTY_KEYRING: Keyring = {
  required: false,
  tokens: new Map(),
  users: new Map(),
  certificates: [],
};

/** Tokens made through the API. */
export interface TokenLookup {
  /** null: no such token, or it has expired. */
  find(sha256: string): Promise<Holder | null>;
}

/** How long a check that went well holds, ms. */
const REMEMBERED_MS = 10_000;
const REMEMBERED_MAX = 10_000;
/** Of the whole header: a token has 47 characters, a user and password rarely more than a hundred. */
const HEADER_MAX = 4096;
/** Checked where there is no such user, so that the time tells nothing. */
const NOBODY = `scrypt:32768:8:1:${'A'.repeat(22)}:${'A'.repeat(43)}`;

export class KeyringAuthenticator implements Authenticator {
  private keyring: Keyring;
  private readonly tokens: TokenLookup;
  private readonly clock: Clock;
  /** Passwords are guessed for a user; from one place for many users too. */
  private readonly byUser: FailedSignIns;
  private readonly byAddress: FailedSignIns;
  private readonly onFailure: (address: string, why: string) => void;
  private readonly secret = randomBytes(32);
  private readonly remembered = new Map<string, { principal: Principal; until: number }>();

  constructor(options: {
    keyring: Keyring;
    tokens: TokenLookup;
    clock: Clock;
    onFailure: (address: string, why: string) => void;
  }) {
    this.keyring = options.keyring;
    this.tokens = options.tokens;
    this.clock = options.clock;
    this.onFailure = options.onFailure;
    const now = (): number => options.clock.monotonic();
    this.byUser = new FailedSignIns(now, 10, 6000);
    this.byAddress = new FailedSignIns(now, 100, 1000);
  }

  get required(): boolean {
    const { required, tokens, users, certificates } = this.keyring;
    return required || tokens.size > 0 || users.size > 0 || certificates.length > 0;
  }

  /** On a reload: takes effect for the next request. */
  replace(keyring: Keyring): void {
    this.keyring = keyring;
    this.forget();
  }

  /** After a token was revoked. */
  forget(): void {
    this.remembered.clear();
  }

  async authenticate(credentials: Credentials): Promise<Principal> {
    if (!this.required) return ANONYMOUS;
    const { authorization, certificate, address } = credentials;
    if (authorization === '') {
      const principal = certificate === null ? null : this.byCertificate(certificate);
      if (principal !== null) return principal;
      throw new AuthError(401, 'sign-in needed: send "Authorization: Bearer TOKEN", or user and password');
    }
    const key = createHmac('sha256', this.secret).update(authorization).digest('base64');
    const known = this.remembered.get(key);
    if (known !== undefined && known.until > this.clock.monotonic()) return known.principal;
    const network = networkOf(address);
    const principal = await this.check(authorization, network);
    if (principal === null) {
      this.byAddress.failed(network);
      this.onFailure(address, 'wrong credentials');
      throw new AuthError(401, 'wrong token, or wrong user or password');
    }
    this.remember(key, principal);
    return principal;
  }

  /** null where nobody has these. A right token gets through whatever else came from its network. */
  private async check(authorization: string, network: string): Promise<Principal | null> {
    if (authorization.length > HEADER_MAX) return null;
    const space = authorization.indexOf(' ');
    const scheme = authorization.slice(0, space).toLowerCase();
    const rest = authorization.slice(space + 1).trim();
    if (scheme === 'bearer' || scheme === 'token') return (await this.byToken(rest)) ?? this.wrong(network, '');
    if (scheme !== 'basic') return null;
    const text = Buffer.from(rest, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 0) return null;
    const password = text.slice(colon + 1);
    // Clients that know only user and password send a token as the password.
    return (await this.byToken(password)) ?? this.byPassword(text.slice(0, colon), password, network);
  }

  private async byToken(token: string): Promise<Principal | null> {
    if (token === '') return null;
    const hash = hashToken(token);
    const holder = this.keyring.tokens.get(hash) ?? (await this.tokens.find(hash));
    return holder === null ? null : { ...holder, via: 'token' };
  }

  private async byPassword(name: string, password: string, network: string): Promise<Principal | null> {
    const key = `${network}\n${name.slice(0, 100)}`;
    this.wrong(network, key);
    const user = this.keyring.users.get(name);
    const right = await verifyPassword(password, user?.passwordHash ?? NOBODY);
    if (user !== undefined && right) return { ...user.holder, via: 'password' };
    this.byUser.failed(key);
    return null;
  }

  /** Throws where too many wrong ones came before. */
  private wrong(network: string, userKey: string): null {
    const waitS = Math.max(this.byAddress.waitS(network), userKey === '' ? 0 : this.byUser.waitS(userKey));
    if (waitS > 0) throw new AuthError(429, 'too many wrong sign-ins: wait, then try again', waitS);
    return null;
  }

  private byCertificate({ commonName, fingerprint }: CertificateFacts): Principal | null {
    const entry = this.keyring.certificates.find(c =>
      c.fingerprint === '' ? c.commonName === commonName : c.fingerprint === fingerprint,
    );
    return entry === undefined ? null : { ...entry.holder, via: 'certificate' };
  }

  private remember(key: string, principal: Principal): void {
    this.remembered.delete(key);
    this.remembered.set(key, { principal, until: this.clock.monotonic() + REMEMBERED_MS });
    if (this.remembered.size <= REMEMBERED_MAX) return;
    for (const oldest of this.remembered.keys()) {
      this.remembered.delete(oldest);
      return;
    }
  }
}

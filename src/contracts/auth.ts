/**
 * Who asks, and what they may do. A door (HTTP port, gRPC port) hands an Authenticator what a request brings and gets a
 * Principal; every path then acts for one tenant that the principal is entitled to.
 *
 * Tokens, passwords and client certificates are the first sources; directories and single sign-on are further ones behind
 * the same port.
 */
import type { TenantId } from '../model/tenant.ts';

export const RIGHTS = ['read', 'write', 'admin', 'long-range'] as const;

/**
 * read: queries, targets, status. write: samples in. admin: reload, deletes, snapshots, tokens, audit, other tenants' queries.
 * long-range: queries over more than query.adhoc_range_max.
 */
export type Right = (typeof RIGHTS)[number];

export interface Principal {
  /** For logs, the audit and the list of active queries. */
  name: string;
  via: 'anonymous' | 'token' | 'password' | 'certificate';
  /** Whose data it is where the request names no tenant. */
  tenant: TenantId;
  /** Tenants it may name in X-Scope-OrgID, its own included; '*' = any. */
  tenants: readonly TenantId[] | '*';
  rights: ReadonlySet<Right>;
}

/** What a request brings. */
export interface Credentials {
  /** Value of Authorization, or ''. */
  authorization: string;
  /** Of a client certificate that the listener has verified; null without one. */
  certificate: CertificateFacts | null;
  /** The peer's address. */
  address: string;
}

export interface CertificateFacts {
  commonName: string;
  /** SHA-256 of the certificate, lower-case hex without colons. */
  fingerprint: string;
}

export interface Authenticator {
  /** Whether anyone has to say who they are. */
  readonly required: boolean;
  /** Rejects with an AuthError. */
  authenticate(credentials: Credentials): Promise<Principal>;
}

/** Not let in. HTTP 401 (say who you are) or 429 (too many wrong tries). */
export class AuthError extends Error {
  override name = 'AuthError';
  readonly status: 401 | 429;
  readonly retryAfterS: number;
  constructor(status: 401 | 429, message: string, retryAfterS = 0) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** Where nobody has to sign in: everyone may do everything. */
export const ANONYMOUS: Principal = Object.freeze({
  name: 'anonymous',
  via: 'anonymous',
  tenant: 'default',
  tenants: '*',
  rights: new Set(RIGHTS),
});

/** One line of the audit: an action that only administrators may do, done or refused. */
export interface AuditEntry {
  /** ms since the epoch. */
  timeMs: number;
  who: string;
  via: Principal['via'];
  address: string;
  tenant: TenantId;
  /** `POST /api/v1/admin/tsdb/delete_series` */
  action: string;
  /** Query string and form, cut; without secrets. */
  detail: string;
  /** HTTP status of the answer. */
  status: number;
}

export interface AuditLog {
  append(entry: AuditEntry): void;
  /** Newest first. */
  list(limit: number): Promise<AuditEntry[]>;
}

/**
 * AuthPart: sign-in as the server runs it: the keyring from the configuration, tokens from the state, the audit file, and the guard
 * before the routes.
 */
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { registerAuthRoutes } from '../api/auth/auth-routes.ts';
import { KeyringAuthenticator } from '../api/auth/authenticator.ts';
import type { TrustedHosts } from '../api/auth/browser-check.ts';
import { installGuard } from '../api/auth/guard.ts';
import { TokenStore } from '../api/auth/token-store.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Authenticator } from '../contracts/auth.ts';
import type { StateStore } from '../contracts/state-store.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { MetricsRegistry } from '../lib/metrics.ts';
import { AuditFile } from '../storage/state/audit-file.ts';
import { keyringOf } from './keyring.ts';

export interface AuthPartOptions {
  loaded: LoadedConfig;
  state: StateStore;
  /** For the audit. */
  folder: string;
  clock: Clock;
  log: Logger;
  metrics: MetricsRegistry;
}

export class AuthPart {
  private readonly options: AuthPartOptions;
  private readonly keys: KeyringAuthenticator;
  private readonly tokens: TokenStore;
  private readonly audit: AuditFile;
  private trusted: TrustedHosts;

  constructor(options: AuthPartOptions) {
    this.options = options;
    const { clock, log, metrics, loaded } = options;
    const failures = metrics.counter('sightline_auth_failures_total', 'Sign-ins with wrong credentials.');
    failures.inc(0);
    this.tokens = new TokenStore(options.state, () => clock.now());
    this.keys = new KeyringAuthenticator({
      keyring: keyringOf(loaded.config.auth, log),
      tokens: this.tokens,
      clock,
      onFailure: (address, why) => {
        failures.inc();
        log.warn({ address, why }, 'a sign-in failed');
      },
    });
    this.audit = new AuditFile(options.folder, error =>
      log.error({ error: errorText(error) }, 'an entry of the audit could not be written'),
    );
    this.trusted = trustedHosts(loaded);
  }

  /** For doors other than the HTTP port. */
  get authenticator(): Authenticator {
    return this.keys;
  }

  apply(next: LoadedConfig): void {
    this.keys.replace(keyringOf(next.config.auth, this.options.log));
    this.trusted = trustedHosts(next);
  }

  guard(): (app: FastifyInstance) => void {
    return app =>
      installGuard(app, {
        authenticator: this.keys,
        audit: this.audit,
        trustedHosts: () => this.trusted,
        now: () => this.options.clock.now(),
      });
  }

  routes(): (app: FastifyInstance) => void {
    return app =>
      registerAuthRoutes(app, {
        tokens: this.tokens,
        audit: this.audit,
        onRevoked: () => this.keys.forget(),
        now: () => this.options.clock.now(),
      });
  }
}

function trustedHosts({ config }: LoadedConfig): TrustedHosts {
  const names = new Set(config.http.allowed_hosts.map(name => name.toLowerCase()));
  names.add(hostname().toLowerCase());
  if (config.http.external_url !== '') names.add(new URL(config.http.external_url).hostname);
  return { names };
}

/**
 * TlsFiles: certificate, key and client CA from files, read again when they change (a renewed certificate needs no restart).
 * Files that do not fit together change nothing: the old ones stay in use, and the log says so.
 */
import { createHash, type Hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from '../config/schema.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorText, type Logger } from '../lib/log.ts';
import { ListenError, type TlsSettings } from './http-server.ts';

const POLL_MS = 10_000;

type TlsConfig = NonNullable<Config['http']['tls']>;

export class TlsFiles {
  settings: TlsSettings;
  private readonly config: TlsConfig;
  private readonly log: Logger;
  private readonly clock: Clock;
  private seen: string;
  private timer: Timer | null = null;

  /** Throws a ListenError where the files cannot be used. */
  constructor(config: TlsConfig, clock: Clock, log: Logger) {
    this.config = config;
    this.clock = clock;
    this.log = log;
    try {
      [this.settings, this.seen] = load(config);
    } catch (error) {
      throw new ListenError(`http.tls: ${errorText(error)}`);
    }
  }

  watch(onChange: (settings: TlsSettings) => void): void {
    this.timer = this.clock.after(POLL_MS, () => {
      this.look(onChange);
      this.watch(onChange);
    });
  }

  stop(): void {
    this.timer?.cancel();
  }

  private look(onChange: (settings: TlsSettings) => void): void {
    try {
      const [settings, seen] = load(this.config);
      if (seen === this.seen) return;
      this.seen = seen;
      this.settings = settings;
      onChange(settings);
      this.log.info('new TLS certificates are in use');
    } catch (error) {
      this.log.error({ error: errorText(error) }, 'the TLS files cannot be used; the old ones stay in use');
    }
  }
}

function load(config: TlsConfig): [TlsSettings, string] {
  const hash = createHash('sha256');
  const read = (file: string): Buffer => hashed(hash, readFileSync(file));
  const settings: TlsSettings = {
    cert: read(config.cert_file),
    key: read(config.key_file),
    minVersion: config.min_version,
    requestCert: config.client_auth !== 'none',
    rejectUnauthorized: config.client_auth === 'require',
    ...(config.client_ca_file === undefined ? {} : { ca: read(config.client_ca_file) }),
  };
  // Throws where key and certificate are not of each other.
  createSecureContext(settings);
  return [settings, hash.digest('hex')];
}

function hashed(hash: Hash, bytes: Buffer): Buffer {
  hash.update(bytes);
  return bytes;
}

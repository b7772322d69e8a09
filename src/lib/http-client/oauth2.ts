/**
 * OAuth2 tokens by client credentials, or by an assertion signed with a key (JWT bearer). A token is kept until shortly before it
 * expires and asked for once, however many requests wait for it; a changed secret file makes it worthless at once.
 */
import { createSign, randomUUID } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { fileMarks, secretOf } from './secret-file.ts';
import type { HttpClientSettings, OAuth2Settings } from './settings.ts';

/** What the token endpoint is asked by. */
export interface TokenRequester {
  request(request: {
    method: 'POST';
    url: string;
    headers: Record<string, string>;
    body: string;
    bodyBytesMax: number;
    signal: AbortSignal;
  }): Promise<{ status: number; body: Uint8Array }>;
}

interface Token {
  header: string;
  /** Monotonic ms. */
  expiresAt: number;
  mark: string;
}

/** Before its end, a token is renewed. ms. */
const EARLY_MS = 10_000;
/** Where the endpoint does not say how long a token lives. ms. */
const UNKNOWN_LIFE_MS = 60 * 60_000;
const ANSWER_BYTES_MAX = 1 << 20;
const REQUEST_MS = 30_000;
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const DIGESTS: Readonly<Record<string, string>> = { RS256: 'RSA-SHA256', RS384: 'RSA-SHA384', RS512: 'RSA-SHA512' };

export class OAuth2Tokens {
  private readonly settings: OAuth2Settings;
  private readonly baseDir: string;
  private readonly requester: TokenRequester;
  private readonly clock: Clock;
  private token: Token | null = null;
  private asking: Promise<Token> | null = null;
  /** Where the endpoint takes the client's secret: found out with the first token. */
  private secretIn: 'header' | 'body' | null = null;

  constructor(settings: OAuth2Settings, baseDir: string, requester: TokenRequester, clock: Clock) {
    this.settings = settings;
    this.baseDir = baseDir;
    this.requester = requester;
    this.clock = clock;
  }

  /** The settings of the client that asks for tokens. */
  static clientSettings(settings: OAuth2Settings): HttpClientSettings {
    const { tls_config, http_headers, proxy_url, no_proxy, proxy_from_environment, proxy_connect_header } = settings;
    const all = { tls_config, http_headers, proxy_url, no_proxy, proxy_from_environment, proxy_connect_header };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  }

  /** The Authorization header. Rejects when `signal` is aborted; the request for a token goes on for those who wait too. */
  async authorization(signal: AbortSignal): Promise<string> {
    const mark = this.mark();
    if (this.token !== null && this.token.mark === mark && this.clock.monotonic() < this.token.expiresAt) {
      return this.token.header;
    }
    this.asking ??= this.ask(mark).finally(() => {
      this.asking = null;
    });
    const token = await raced(this.asking, signal);
    return token.header;
  }

  /** The server did not take the token: the next request asks for a new one. */
  reject(header: string): void {
    if (this.token?.header === header) this.token = null;
  }

  private mark(): string {
    return fileMarks(this.baseDir, [this.settings.client_secret_file, this.settings.client_certificate_key_file]);
  }

  private async ask(mark: string): Promise<Token> {
    const abort = new AbortController();
    const timer = this.clock.after(REQUEST_MS, () => abort.abort(new Error('the token endpoint does not answer')));
    try {
      this.token = await this.askOnce(mark, abort.signal);
      return this.token;
    } finally {
      timer.cancel();
    }
  }

  private async askOnce(mark: string, signal: AbortSignal): Promise<Token> {
    if (this.settings.grant_type === JWT_BEARER) {
      const answer = await this.post(
        [
          ['grant_type', JWT_BEARER],
          ['assertion', this.assertion()],
        ],
        {},
        signal,
      );
      if (answer.status < 200 || answer.status > 299) throw refused(answer.status);
      return this.tokenOf(answer.body, mark);
    }
    const id = this.settings.client_id ?? '';
    const secret = secretOf(this.baseDir, this.settings.client_secret, this.settings.client_secret_file);
    const form: [string, string][] = [['grant_type', 'client_credentials']];
    // As most clients do: in the header first, and in the body where the endpoint does not take that.
    for (const place of this.secretIn === null ? (['header', 'body'] as const) : [this.secretIn]) {
      const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64');
      const { status, body } =
        place === 'header'
          ? await this.post(form, { authorization: `Basic ${basic}` }, signal)
          : await this.post([...form, ['client_id', id], ['client_secret', secret]], {}, signal);
      if (status >= 200 && status <= 299) {
        this.secretIn = place;
        return this.tokenOf(body, mark);
      }
      if (place === 'body' || this.secretIn !== null) throw refused(status);
    }
    throw refused(0);
  }

  private post(
    fields: readonly [string, string][],
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<{ status: number; body: Uint8Array }> {
    const { scopes, endpoint_params, token_url } = this.settings;
    const form = new URLSearchParams(fields.map(([name, value]) => [name, value]));
    if ((scopes ?? []).length > 0) form.set('scope', (scopes ?? []).join(' '));
    for (const [name, value] of endpoint_params ?? []) form.set(name, value);
    return this.requester.request({
      method: 'POST',
      url: token_url ?? '',
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: form.toString(),
      bodyBytesMax: ANSWER_BYTES_MAX,
      signal,
    });
  }

  private tokenOf(body: Uint8Array, mark: string): Token {
    let answer: { access_token?: unknown; token_type?: unknown; expires_in?: unknown };
    try {
      answer = JSON.parse(Buffer.from(body).toString('utf8'));
    } catch {
      throw new Error('the token endpoint answers with something other than JSON');
    }
    const { access_token: token, token_type: type } = answer;
    if (typeof token !== 'string' || token === '') throw new Error('the token endpoint gives no access_token');
    const given = Number(answer.expires_in);
    const lifeMs = given > 0 ? given * 1000 : UNKNOWN_LIFE_MS;
    const kind = typeof type === 'string' && type !== '' && type.toLowerCase() !== 'bearer' ? type : 'Bearer';
    return { header: `${kind} ${token}`, expiresAt: this.clock.monotonic() + lifeMs - EARLY_MS, mark };
  }

  private assertion(): string {
    const s = this.settings;
    const algorithm = s.signature_algorithm || 'RS256';
    const digest = DIGESTS[algorithm];
    if (digest === undefined) throw new Error(`oauth2 signature_algorithm ${algorithm} is not supported`);
    const now = Math.floor(this.clock.now() / 1000);
    const claims = {
      iss: s.iss || s.client_id,
      sub: s.client_id,
      aud: s.audience || s.token_url,
      jti: randomUUID(),
      iat: now,
      exp: now + 3600,
      ...Object.fromEntries(s.claims ?? []),
    };
    const header = {
      alg: algorithm,
      typ: 'JWT',
      ...(s.client_certificate_key_id ? { kid: s.client_certificate_key_id } : {}),
    };
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part(header)}.${part(claims)}`;
    const key = secretOf(this.baseDir, s.client_certificate_key, s.client_certificate_key_file);
    return `${text}.${createSign(digest).update(text).sign(key).toString('base64url')}`;
  }
}

function refused(status: number): Error {
  return new Error(`the token endpoint refuses: HTTP status ${status}`);
}

function raced<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((done, failed) => {
    const abort = (): void => failed(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(done, failed).finally(() => signal.removeEventListener('abort', abort));
  });
}

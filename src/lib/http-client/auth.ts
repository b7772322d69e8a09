/** The headers that a client's settings put on each request: own headers, basic and bearer authorization. OAuth2 is in oauth2.ts. */
import { readSecretFile, secretOf } from './secret-file.ts';
import type { HeaderValues, HttpClientSettings } from './settings.ts';

export type Headers = Record<string, string | string[]>;

/** Throws where a file is missing; the message names the file and never what is in it. */
export function authHeaders(settings: HttpClientSettings, baseDir: string): Headers {
  const headers = ownHeaders(settings.http_headers, baseDir);
  const { basic_auth: basic, authorization } = settings;
  const from = (value: string | undefined, file: string | undefined): string => secretOf(baseDir, value, file);
  if (basic !== undefined) {
    const text = `${from(basic.username, basic.username_file)}:${from(basic.password, basic.password_file)}`;
    headers.authorization = `Basic ${Buffer.from(text).toString('base64')}`;
  } else if (authorization !== undefined) {
    const type = (authorization.type ?? '').trim();
    const credentials = from(authorization.credentials, authorization.credentials_file);
    headers.authorization = `${type === '' ? 'Bearer' : type} ${credentials}`;
  } else if (settings.bearer_token || settings.bearer_token_file) {
    headers.authorization = `Bearer ${from(settings.bearer_token, settings.bearer_token_file)}`;
  }
  return headers;
}

export function ownHeaders(settings: ReadonlyMap<string, HeaderValues> | undefined, baseDir: string): Headers {
  const headers: Headers = {};
  for (const [name, { values, secrets, files }] of settings ?? []) {
    const all = [...(values ?? []), ...(secrets ?? []), ...(files ?? []).map(file => readSecretFile(baseDir, file))];
    headers[name.toLowerCase()] = all.length === 1 ? (all[0] as string) : all;
  }
  return headers;
}

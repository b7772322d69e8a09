/**
 * The HTTP client settings that scrape configs, service discovery, remote write and alerting share in Prometheus' files
 * (inlined in each), with the rules about which may stand together.
 */
import { bool, type Decoded, dict, list, no, str, struct, yes } from './decode.ts';

type Fail = (message: string, field?: string) => void;

const basicAuth = struct(
  'config.plain',
  {
    username: yes(str),
    username_file: yes(str),
    username_ref: no(str),
    password: yes(str),
    password_file: yes(str),
    password_ref: no(str),
  },
  {
    check(value, fail) {
      if (value.username && value.username_file) {
        fail('at most one of basic_auth username, username_file & username_ref must be configured', 'username');
      }
      if (value.password && value.password_file) {
        fail('at most one of basic_auth password, password_file & password_ref must be configured', 'password');
      }
    },
  },
);

const authorization = struct(
  'config.plain',
  { type: yes(str), credentials: yes(str), credentials_file: yes(str), credentials_ref: no(str) },
  {
    check(value, fail) {
      if (value.credentials && value.credentials_file) {
        fail('at most one of authorization credentials & credentials_file must be configured', 'credentials');
      }
      if (value.type?.trim().toLowerCase() === 'basic') {
        fail('authorization type cannot be set to "basic", use "basic_auth" instead', 'type');
      }
    },
  },
);

export const tlsConfig = struct(
  'config.plain',
  {
    ca: yes(str),
    ca_file: yes(str),
    ca_ref: no(str),
    cert: yes(str),
    cert_file: yes(str),
    cert_ref: no(str),
    key: yes(str),
    key_file: yes(str),
    key_ref: no(str),
    server_name: yes(str),
    insecure_skip_verify: yes(bool),
    min_version: yes(tlsVersion()),
    max_version: yes(tlsVersion()),
  },
  {
    check(value, fail) {
      for (const name of ['ca', 'cert', 'key'] as const) {
        if (value[name] && value[`${name}_file`]) {
          fail(`at most one of ${name}, ${name}_file & ${name}_ref must be configured`, name);
        }
      }
      const cert = Boolean(value.cert || value.cert_file || value.cert_ref);
      const key = Boolean(value.key || value.key_file || value.key_ref);
      if (cert && !key)
        fail('exactly one of key or key_file must be configured when a client certificate is configured');
      if (key && !cert) fail('exactly one of cert or cert_file must be configured when a client key is configured');
    },
  },
);

function tlsVersion(): typeof str {
  return (ctx, node, path) => {
    const text = str(ctx, node, path);
    if (text === undefined || ['', 'TLS10', 'TLS11', 'TLS12', 'TLS13'].includes(text)) return text;
    ctx.fail(node, path, `unknown TLS version: ${text}`);
    return undefined;
  };
}

const headerValues = struct('config.plain', { values: yes(list(str)), secrets: yes(list(str)), files: yes(list(str)) });

/** Headers that Prometheus itself sets. */
const RESERVED_HEADERS = new Set([
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'authorization',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'origin',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'www-authenticate',
  'x-forwarded-for',
  'x-prometheus-scrape-timeout-seconds',
]);

const proxyFields = {
  proxy_url: yes(str),
  no_proxy: yes(str),
  proxy_from_environment: yes(bool),
  proxy_connect_header: yes(dict(list(str))),
};

const oauth2 = struct(
  'config.plain',
  {
    client_id: yes(str),
    client_secret: yes(str),
    client_secret_file: yes(str),
    client_secret_ref: no(str),
    client_certificate_key_id: yes(str),
    client_certificate_key: yes(str),
    client_certificate_key_file: yes(str),
    client_certificate_key_ref: no(str),
    grant_type: yes(str),
    signature_algorithm: yes(str),
    iss: yes(str),
    audience: yes(str),
    claims: yes(dict(str)),
    scopes: yes(list(str)),
    token_url: yes(str),
    endpoint_params: yes(dict(str)),
    tls_config: yes(tlsConfig),
    http_headers: yes(dict(headerValues)),
    ...proxyFields,
  },
  {
    check(value, fail) {
      if (!value.client_id) fail('oauth2 client_id must be configured');
      if (!value.token_url) fail('oauth2 token_url must be configured');
      if (value.client_secret && value.client_secret_file) {
        fail('at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured');
      }
      checkProxy(value, fail);
    },
  },
);

export const httpClientFields = {
  basic_auth: yes(basicAuth),
  authorization: yes(authorization),
  oauth2: yes(oauth2),
  bearer_token: yes(str),
  bearer_token_file: yes(str),
  tls_config: yes(tlsConfig),
  follow_redirects: yes(bool),
  enable_http2: yes(bool),
  http_headers: yes(dict(headerValues)),
  ...proxyFields,
};

export type HttpClientSettings = Decoded<typeof httpClientFields>;

/** The client's part of a section that has more. */
export function httpClientOf(section: HttpClientSettings): HttpClientSettings {
  const out: Record<string, unknown> = {};
  for (const name of Object.keys(httpClientFields)) {
    const value = section[name as keyof HttpClientSettings];
    if (value !== undefined) out[name] = value;
  }
  return out as HttpClientSettings;
}

export function checkHttpClient(value: HttpClientSettings, fail: Fail): void {
  const bearer = Boolean(value.bearer_token || value.bearer_token_file);
  const basic = value.basic_auth !== undefined;
  const oauth = value.oauth2 !== undefined;
  if (value.bearer_token && value.bearer_token_file) {
    fail('at most one of bearer_token & bearer_token_file must be configured', 'bearer_token');
  }
  if ((basic || oauth) && bearer) {
    fail('at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured', 'bearer_token');
  }
  if (value.authorization !== undefined) {
    if (bearer) fail('authorization is not compatible with bearer_token & bearer_token_file', 'authorization');
    if (basic || oauth) fail('at most one of basic_auth, oauth2 & authorization must be configured', 'authorization');
  }
  if (oauth && basic) fail('at most one of basic_auth, oauth2 & authorization must be configured', 'oauth2');
  checkProxy(value, fail);
  for (const name of value.http_headers?.keys() ?? []) {
    if (RESERVED_HEADERS.has(name.toLowerCase()))
      fail(`setting header ${JSON.stringify(name)} is not allowed`, 'http_headers');
  }
}

function checkProxy(value: Decoded<typeof proxyFields>, fail: Fail): void {
  if (value.proxy_from_environment === true) {
    if (value.proxy_url) fail('if proxy_from_environment is configured, proxy_url must not be configured', 'proxy_url');
    if (value.no_proxy) fail('if proxy_from_environment is configured, no_proxy must not be configured', 'no_proxy');
  } else if (value.no_proxy && !value.proxy_url) {
    fail('if no_proxy is configured, proxy_url must also be configured', 'no_proxy');
  }
  if ((value.proxy_connect_header?.size ?? 0) > 0 && !value.proxy_url && value.proxy_from_environment !== true) {
    fail('if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured');
  }
}

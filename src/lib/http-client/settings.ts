/**
 * The settings of an HttpClient: structurally what Prometheus' files call HTTP client config, so that a decoded section can be
 * passed as it is. File names are relative to the client's `baseDir`. Which of them may stand together has been checked before.
 */
export interface BasicAuthSettings {
  username?: string;
  username_file?: string;
  password?: string;
  password_file?: string;
}

export interface TlsSettings {
  ca?: string;
  ca_file?: string;
  cert?: string;
  cert_file?: string;
  key?: string;
  key_file?: string;
  server_name?: string;
  insecure_skip_verify?: boolean;
  /** '', TLS10 ... TLS13 */
  min_version?: string;
  max_version?: string;
}

export interface ProxySettings {
  proxy_url?: string;
  no_proxy?: string;
  proxy_from_environment?: boolean;
  proxy_connect_header?: ReadonlyMap<string, readonly string[]>;
}

export interface HeaderValues {
  values?: readonly string[];
  secrets?: readonly string[];
  files?: readonly string[];
}

export interface OAuth2Settings extends ProxySettings {
  client_id?: string;
  client_secret?: string;
  client_secret_file?: string;
  client_certificate_key_id?: string;
  client_certificate_key?: string;
  client_certificate_key_file?: string;
  /** '' and client_credentials: by secret; the JWT bearer URN: by an assertion signed with the certificate key. */
  grant_type?: string;
  signature_algorithm?: string;
  iss?: string;
  audience?: string;
  claims?: ReadonlyMap<string, string>;
  scopes?: readonly string[];
  token_url?: string;
  endpoint_params?: ReadonlyMap<string, string>;
  tls_config?: TlsSettings;
  http_headers?: ReadonlyMap<string, HeaderValues>;
}

export interface HttpClientSettings extends ProxySettings {
  basic_auth?: BasicAuthSettings;
  authorization?: { type?: string; credentials?: string; credentials_file?: string };
  oauth2?: OAuth2Settings;
  bearer_token?: string;
  bearer_token_file?: string;
  tls_config?: TlsSettings;
  follow_redirects?: boolean;
  /** Taken and without effect: HTTP/1.1 is spoken, which every server of HTTP/2 also speaks. */
  enable_http2?: boolean;
  http_headers?: ReadonlyMap<string, HeaderValues>;
}

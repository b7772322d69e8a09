/** Sections of a Prometheus file besides global and scrape_configs, judged as Prometheus does; load.ts says which of them have an effect. */
import {
  bool,
  bytes,
  type Decoded,
  type Decoder,
  dict,
  duration,
  type Field,
  float,
  int,
  list,
  no,
  str,
  struct,
  yes,
} from './decode.ts';
import { checkHttpClient, httpClientFields, tlsConfig } from './http-client.ts';
import { relabelConfig } from './relabel.ts';
import { targetFields } from './scrape.ts';

type Fields = Record<string, Field<unknown>>;

/** The same fields without notes, for sections that are noted as a whole. */
function quiet<F extends Fields>(fields: F): F {
  return Object.fromEntries(
    Object.entries(fields).map(([key, field]) => [key, { decode: field.decode }]),
  ) as unknown as F;
}

const http = quiet(httpClientFields);

const queueConfig = struct(
  'config.plain',
  {
    capacity: yes(int),
    max_shards: yes(int),
    min_shards: yes(int),
    max_samples_per_send: yes(int),
    batch_send_deadline: yes(duration),
    min_backoff: yes(duration),
    max_backoff: yes(duration),
    retry_on_http_429: yes(bool),
    sample_age_limit: yes(duration),
  },
  {
    check(value, fail) {
      const maxShards = value.max_shards ?? 50;
      const minShards = value.min_shards ?? 1;
      const positive = [
        ['max_samples_per_send', value.max_samples_per_send ?? 2000],
        ['max_shards', maxShards],
        ['min_shards', minShards],
        ['capacity', value.capacity ?? 10_000],
      ] as const;
      for (const [name, count] of positive) {
        if (count <= 0) fail(`remote write queue ${name} must be positive`, name);
      }
      if (minShards > maxShards)
        fail('remote write queue min_shards must not be greater than max_shards', 'min_shards');
      if ((value.max_backoff ?? 5000) < (value.min_backoff ?? 30)) {
        fail('remote write queue max_backoff must not be less than min_backoff', 'max_backoff');
      }
    },
  },
);

const RESERVED = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'transfer-encoding',
  'user-agent',
  'www-authenticate',
  'x-prometheus-remote-read-version',
  'x-prometheus-remote-write-version',
]);

function checkHeaders(
  headers: ReadonlyMap<string, unknown> | undefined,
  authMessage: string,
  fail: (m: string, f?: string) => void,
): void {
  for (const name of headers?.keys() ?? []) {
    if (name.toLowerCase() === 'authorization') fail(authMessage, 'headers');
    else if (RESERVED.has(name.toLowerCase())) fail(`${name} is a reserved header. It must not be changed`, 'headers');
  }
}

const AUTH_HEADER =
  'authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter';
const WRITE_MESSAGES = ['prometheus.WriteRequest', 'io.prometheus.write.v2.Request'];

export const remoteWrite = struct(
  'config.plain',
  {
    ...httpClientFields,
    url: yes(str),
    remote_timeout: yes(duration),
    headers: yes(dict(str)),
    write_relabel_configs: yes(list(relabelConfig, 'empty or null relabeling rule in remote write config')),
    name: yes(str),
    send_exemplars: yes(bool),
    send_native_histograms: yes(bool),
    round_robin_dns: no(bool),
    protobuf_message: yes(str),
    queue_config: yes(queueConfig),
    metadata_config: yes(
      struct('config.plain', { send: yes(bool), send_interval: yes(duration), max_samples_per_send: yes(int) }),
    ),
  },
  {
    // Cloud providers' signing sections (sigv4, azuread, google_iam) differ by version.
    lenient: true,
    check(value, fail) {
      if (!value.url) fail('url for remote_write is empty');
      checkHeaders(value.headers, AUTH_HEADER, fail);
      const message = value.protobuf_message;
      if (message !== undefined && !WRITE_MESSAGES.includes(message)) {
        fail(
          `invalid protobuf_message value: unknown type for remote write protobuf message ${message}, supported: ${WRITE_MESSAGES.join(', ')}`,
          'protobuf_message',
        );
      }
      checkHttpClient(value, fail);
    },
  },
);

export const remoteRead = struct(
  'config.plain',
  {
    ...httpClientFields,
    url: yes(str),
    remote_timeout: yes(duration),
    chunked_read_limit: yes(int),
    headers: yes(dict(str)),
    read_recent: yes(bool),
    name: yes(str),
    required_matchers: yes(dict(str)),
    filter_external_labels: yes(bool),
  },
  {
    check(value, fail) {
      if (!value.url) fail('url for remote_read is empty');
      checkHeaders(value.headers, AUTH_HEADER, fail);
      checkHttpClient(value, fail);
    },
  },
);

export type RemoteWriteSection = NonNullable<ReturnType<typeof remoteWrite>>;
export type RemoteReadSection = NonNullable<ReturnType<typeof remoteRead>>;

const alertmanager = struct(
  'struct of an alertmanager config',
  {
    ...(quiet(targetFields) as typeof targetFields),
    ...http,
    scheme: yes(str),
    path_prefix: yes(str),
    timeout: yes(duration),
    api_version: yes(str),
    sigv4: yes(dict(str)),
    relabel_configs: yes(list(relabelConfig, 'empty or null Alertmanager target relabeling rule')),
    alert_relabel_configs: yes(list(relabelConfig, 'empty or null Alertmanager alert relabeling rule')),
  } as Fields & typeof http & { api_version: Field<string> },
  {
    check(value, fail) {
      checkHttpClient(value, fail);
      if (value.api_version !== undefined && value.api_version !== 'v2') {
        fail(`expected Alertmanager api version to be one of [v2] but got ${value.api_version}`, 'api_version');
      }
    },
  },
);

export const alerting = struct('config.plain', {
  alert_relabel_configs: yes(list(relabelConfig, 'empty or null alert relabeling rule')),
  alertmanagers: yes(list(alertmanager, 'empty or null Alertmanager section')),
});

const retention = struct(
  'config.plain',
  { time: yes(duration), size: yes(bytes), percentage: yes(float) },
  {
    check(value, fail) {
      if ((value.size ?? 0) < 0) {
        fail(`'storage.tsdb.retention.size' must be greater than or equal to 0, got ${value.size}`, 'size');
      }
      const percentage = value.percentage ?? 0;
      if (percentage < 0 || percentage > 100) {
        fail(`'storage.tsdb.retention.percentage' must be in the range [0, 100], got ${percentage}`, 'percentage');
      }
    },
  },
);

const chunkEncoding = struct(
  'config.plain',
  { floats: yes(str) },
  {
    check(value, fail) {
      if (value.floats !== undefined && !['xor', 'xor2'].includes(value.floats)) {
        fail(
          `'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got ${JSON.stringify(value.floats)}`,
          'floats',
        );
      }
    },
  },
);

export const storage = struct('config.plain', {
  tsdb: yes(
    struct(
      'config.plain',
      {
        out_of_order_time_window: yes(duration),
        stale_series_compaction_threshold: yes(float),
        retention: yes(retention),
        chunk_encoding: yes(chunkEncoding),
      },
      { lenient: true },
    ),
  ),
  exemplars: yes(struct('config.plain', { max_exemplars: yes(int) })),
});

const clientType: Decoder<string> = (ctx, node, path) => {
  const text = str(ctx, node, path);
  if (text === undefined || ['http', 'grpc', ''].includes(text)) return text;
  ctx.fail(node, path, `expected tracing client type to be to be http or grpc, but got ${text}`);
  return undefined;
};

export const tracing = struct(
  'config.plain',
  {
    client_type: yes(clientType),
    endpoint: yes(str),
    sampling_fraction: yes(float),
    insecure: yes(bool),
    tls_config: { decode: tlsConfig },
    headers: yes(dict(str)),
    compression: yes(str),
    timeout: yes(duration),
  },
  {
    check(value, fail) {
      checkHeaders(value.headers, 'authorization header configuration is not yet supported', fail);
      if (!value.endpoint) fail('tracing endpoint must be set');
      if (value.compression && value.compression !== 'gzip') {
        fail(`invalid compression type ${value.compression} provided, valid options: gzip`, 'compression');
      }
    },
  },
);

const STRATEGIES = [
  'UnderscoreEscapingWithSuffixes',
  'UnderscoreEscapingWithoutSuffixes',
  'NoUTF8EscapingWithSuffixes',
  'NoTranslation',
];

export const otlp = struct(
  'config.plain',
  {
    promote_all_resource_attributes: yes(bool),
    promote_resource_attributes: yes(list(str)),
    ignore_resource_attributes: yes(list(str)),
    translation_strategy: yes(str),
    keep_identifying_resource_attributes: yes(bool),
    convert_histograms_to_nhcb: yes(bool),
    promote_scope_metadata: yes(bool),
    label_name_underscore_sanitization: yes(bool),
    label_name_preserve_multiple_underscores: yes(bool),
  },
  {
    check(value, fail) {
      const all = value.promote_all_resource_attributes === true;
      const promote = value.promote_resource_attributes ?? [];
      const ignore = value.ignore_resource_attributes ?? [];
      if (all && promote.length > 0) {
        fail("'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously");
      }
      if (!all && ignore.length > 0) {
        fail("'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true");
      }
      checkAttributes('promote_resource_attributes', 'promoted', promote, fail);
      checkAttributes('ignore_resource_attributes', 'ignored', ignore, fail);
      if (value.translation_strategy && !STRATEGIES.includes(value.translation_strategy)) {
        fail(
          `unsupported OTLP translation strategy ${JSON.stringify(value.translation_strategy)}`,
          'translation_strategy',
        );
      }
    },
  },
);

export type OtlpSection = Decoded<{ translation_strategy: Field<string> }>;

function checkAttributes(
  field: string,
  what: string,
  names: readonly string[],
  fail: (m: string, f?: string) => void,
): void {
  const seen = new Set<string>();
  for (const raw of names) {
    const name = raw.trim();
    if (name === '') fail(`invalid '${field}': empty ${what} OTel resource attribute`, field);
    else if (seen.has(name))
      fail(`invalid '${field}': duplicated ${what} OTel resource attribute ${JSON.stringify(name)}`, field);
    seen.add(name);
  }
}

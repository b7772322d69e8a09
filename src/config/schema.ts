/**
 * The schema of sightline.yaml: what may stand in it, checked by zod, durations and sizes turned into numbers.
 *
 * Parts get their own section of `Config`, in ms and bytes. Sections that are Prometheus' own (`scrape_configs`) are taken as
 * they are here and judged by config/prometheus.
 */
import { z } from 'zod';
import { LOG_LEVELS } from '../lib/log.ts';
import { DEFAULTS } from './defaults.ts';
import { regexProblem } from './prometheus/relabel.ts';
import { pushSchema } from './push.ts';
import { parseBytes, parseDuration } from './units.ts';

/** Text (or a bare 0) that `parse` makes a number of; its RangeErrors become the message. */
function unit(parse: (text: string) => number, what: string, min: number) {
  return z.union([z.string(), z.literal(0)], { error: `must be ${what}` }).transform((value, ctx) => {
    try {
      const number = parse(String(value));
      if (number >= min) return number;
      ctx.addIssue({ code: 'custom', message: `must be ${what}${min > 0 ? ' greater than 0' : ' of 0 or more'}` });
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: `must be ${what}: ${(error as Error).message}` });
    }
    return z.NEVER;
  });
}

/** ms. */
const duration = (min = 1) => unit(parseDuration, 'a duration like 15s or 1h30m', min);
const size = () => unit(parseBytes, 'a size like 64MiB', 1);
/** null where ''. */
const optionalSize = () =>
  z.union([z.literal('').transform(() => null), z.null(), size()], { error: 'must be a size like 10GiB, or empty' });

const regex = () =>
  z.string().superRefine((value, ctx) => {
    const problem = regexProblem(value);
    if (problem !== '') ctx.addIssue({ code: 'custom', message: problem });
  });

/** HOST:PORT; [::1]:PORT for IPv6. Port 0 picks a free one. */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new RangeError(`must be HOST:PORT like 127.0.0.1:7070 or [::1]:7070, not ${JSON.stringify(text)}`);
  }
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '0.0.0.0' : host, port };
}

const hostPort = () =>
  z.string().superRefine((value, ctx) => {
    try {
      parseHostPort(value);
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: (error as Error).message });
    }
  });

/** HOST:PORT; 'off' or '' (which it becomes) for none. */
const hostPortOrOff = () =>
  z.union([z.enum(['', 'off']).transform(() => ''), z.literal(false).transform(() => ''), hostPort()], {
    error: 'must be HOST:PORT like 127.0.0.1:4317, or off',
  });

const attributeNames = () => z.array(z.string().min(1).max(1000)).max(1000);

const externalUrl = () =>
  z.string().superRefine((value, ctx) => {
    if (value === '') return;
    const url = URL.canParse(value) ? new URL(value) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) {
      ctx.addIssue({ code: 'custom', message: 'must be a URL like https://example.org/sightline' });
    } else if (url.search !== '' || url.hash !== '' || url.username !== '') {
      ctx.addIssue({ code: 'custom', message: 'must have no query, fragment or user name' });
    }
  });

const tenantName = () => z.string().regex(/^[a-zA-Z0-9!\-_.*'()]{1,150}$/, 'is no tenant name');

/** Of a rule: a word for everything, which `short` takes, or a map by resolution. Says what is wrong in the form that was used. */
function shortOrMap<T>(short: z.ZodType<T>, map: z.ZodType<T>, keys: string) {
  return z.unknown().transform((value, ctx): T => {
    const parsed = (typeof value === 'object' && value !== null ? map : short).safeParse(value);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) {
      const unknown = issue.code === 'unrecognized_keys' ? issue.keys : [];
      for (const key of unknown) {
        ctx.addIssue({ code: 'custom', path: [...issue.path, key], message: `unknown key; here stand ${keys}` });
      }
      if (unknown.length === 0) ctx.addIssue({ code: 'custom', path: [...issue.path], message: issue.message });
    }
    return z.NEVER;
  });
}

const ruleRetention = () =>
  shortOrMap<{ raw?: number; '1m'?: number; '1h'?: number }>(
    duration().transform(ms => ({ raw: ms, '1m': ms, '1h': ms })),
    z.strictObject({ raw: duration(), '1m': duration(), '1h': duration() }).partial() as never,
    'raw, 1m and 1h',
  );

const ruleDownsample = () =>
  shortOrMap<{ '1m'?: number; '1h'?: number }>(
    z
      .literal(['off', false], { error: 'must be off, or a map of 1m and 1h to ages' })
      .transform(() => ({ '1m': 0, '1h': 0 })),
    z.strictObject({ '1m': duration(0), '1h': duration(0) }).partial() as never,
    '1m and 1h',
  );

const OTLP_STRATEGIES = [
  'UnderscoreEscapingWithSuffixes',
  'UnderscoreEscapingWithoutSuffixes',
  'NoUTF8EscapingWithSuffixes',
  'NoTranslation',
] as const;

/** Rules of storage.rules; each series asks them in turn. */
const RULES_MAX = 100;

const tls = () =>
  z.strictObject({
    cert_file: z.string().min(1),
    key_file: z.string().min(1),
    client_ca_file: z.string().min(1).optional(),
    client_auth: z.enum(['none', 'request', 'require']).default('none'),
    min_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
  });

/** Whom a token, user or certificate stands for. */
const holder = () => ({
  name: z.string().min(1).max(100),
  tenant: tenantName().default('default'),
  tenants: z.union([z.literal('*'), z.array(tenantName()).max(1000)]).optional(),
  rights: z
    .array(z.enum(['read', 'write', 'admin', 'long-range']))
    .min(1)
    .default(['read']),
});

const passwordHash = () =>
  z
    .string()
    .regex(
      /^scrypt:\d+:\d+:\d+:[\w-]{16,}:[\w-]{43}$/,
      'is no password hash; make one with: sightline auth hash-password',
    );

const count = (max: number, min = 0) => z.int().min(min).max(max);

/** Most of anything that limits count. */
const LIMIT_MAX = 1e12;

/** Limits that a tenant may have of its own. 0 = none. */
const tenantLimits = {
  active_series: count(LIMIT_MAX),
  series_per_metric: count(LIMIT_MAX),
  samples_per_second: count(LIMIT_MAX),
  samples_burst: count(LIMIT_MAX),
  labels_per_series: count(4096),
  label_name_length: count(1_000_000),
  label_value_length: count(1_000_000),
  blocked_labels: z.array(z.string().min(1).max(1024)).max(1000),
  exemplars_per_second: count(LIMIT_MAX),
  exemplars_kept: count(100_000_000, 1),
  exemplars_one_in: count(1_000_000, 1),
  metadata_metrics: count(1_000_000, 1),
};
type TenantLimitKey = keyof typeof tenantLimits;

/** The same with the defaults of the server. */
function withDefaults<K extends TenantLimitKey>(shape: Pick<typeof tenantLimits, K>) {
  const out: Record<string, z.ZodType> = {};
  for (const key of Object.keys(shape) as K[]) {
    const fallback = DEFAULTS.limits[key];
    out[key] = (shape[key] as z.ZodType).default(Array.isArray(fallback) ? [...fallback] : fallback);
  }
  return out as { [key in K]: z.ZodDefault<(typeof tenantLimits)[key]> };
}

export const configSchema = z.strictObject({
  http: z
    .strictObject({
      listen: hostPort().default(DEFAULTS.http.listen),
      external_url: externalUrl().default(DEFAULTS.http.external_url),
      admin_api: z.boolean().default(DEFAULTS.http.admin_api),
      max_body: size().prefault(DEFAULTS.http.max_body),
      shutdown_grace: duration(0).prefault(DEFAULTS.http.shutdown_grace),
      allowed_hosts: z
        .array(z.string().regex(/^[a-z0-9.-]{1,253}$/i, 'is no host name (without port)'))
        .max(100)
        .default([...DEFAULTS.http.allowed_hosts]),
      trusted_proxies: z
        .array(z.string().regex(/^(?:loopback|[0-9a-fA-F.:]+(?:\/\d{1,3})?)$/, 'is no address or network'))
        .max(100)
        .default([...DEFAULTS.http.trusted_proxies]),
      tls: tls().optional(),
    })
    .prefault({}),
  auth: z
    .strictObject({
      required: z.boolean().default(DEFAULTS.auth.required),
      tokens: z
        .array(z.strictObject({ ...holder(), sha256: z.string().optional(), file: z.string().min(1).optional() }))
        .max(10_000)
        .default([]),
      users: z
        .array(z.strictObject({ ...holder(), password_hash: passwordHash() }))
        .max(10_000)
        .default([]),
      certificates: z
        .array(
          z.strictObject({ ...holder(), common_name: z.string().default(''), fingerprint: z.string().default('') }),
        )
        .max(10_000)
        .default([]),
    })
    .prefault({})
    .superRefine((auth, ctx) => {
      for (const [i, token] of auth.tokens.entries()) {
        const well = token.sha256 === undefined ? token.file !== undefined : token.file === undefined;
        if (!well) ctx.addIssue({ code: 'custom', path: ['tokens', i], message: 'needs either sha256 or file' });
        else if (token.sha256 !== undefined && !/^[0-9a-f]{64}$/.test(token.sha256)) {
          const message = 'must be 64 lower-case hex digits; make one with: sightline auth new-token';
          ctx.addIssue({ code: 'custom', path: ['tokens', i, 'sha256'], message });
        }
      }
      for (const [i, { common_name, fingerprint }] of auth.certificates.entries()) {
        const well = (common_name === '') !== (fingerprint === '') && /^(?:[0-9a-f]{64})?$/.test(fingerprint);
        const message = 'needs either common_name or fingerprint (SHA-256 as 64 lower-case hex digits)';
        if (!well) ctx.addIssue({ code: 'custom', path: ['certificates', i], message });
      }
    }),
  data_dir: z.string().min(1).default(DEFAULTS.data_dir),
  log: z.strictObject({ level: z.enum(LOG_LEVELS as [string, ...string[]]).default(DEFAULTS.log.level) }).prefault({}),
  prometheus: z.strictObject({ file: z.string().min(1) }).optional(),
  scrape_configs: z.unknown().optional(),
  host: z
    .strictObject({
      enabled: z.boolean().default(DEFAULTS.host.enabled),
      interval: duration(1000).prefault(DEFAULTS.host.interval),
      instance: z.string().max(200).default(DEFAULTS.host.instance),
      mount_points_exclude: regex().default(DEFAULTS.host.mount_points_exclude),
      fs_types_exclude: regex().default(DEFAULTS.host.fs_types_exclude),
      disk_devices_exclude: regex().default(DEFAULTS.host.disk_devices_exclude),
      network_devices_exclude: regex().default(DEFAULTS.host.network_devices_exclude),
    })
    .prefault({}),
  otlp: z
    .strictObject({
      grpc: hostPortOrOff().default(DEFAULTS.otlp.grpc),
      http: hostPortOrOff().default(DEFAULTS.otlp.http),
      max_body: size().prefault(DEFAULTS.otlp.max_body),
      target_info: z.boolean().default(DEFAULTS.otlp.target_info),
      delta: z.enum(['convert', 'refuse']).default(DEFAULTS.otlp.delta as 'convert'),
      delta_max_series: count(100_000_000, 1).default(DEFAULTS.otlp.delta_max_series),
      delta_max_stale: duration().prefault(DEFAULTS.otlp.delta_max_stale),
      // Prometheus' own keys: what is not given is as the Prometheus file has it.
      translation_strategy: z.enum(OTLP_STRATEGIES).optional(),
      promote_resource_attributes: attributeNames().optional(),
      promote_all_resource_attributes: z.boolean().optional(),
      ignore_resource_attributes: attributeNames().optional(),
      keep_identifying_resource_attributes: z.boolean().optional(),
      convert_histograms_to_nhcb: z.boolean().optional(),
      promote_scope_metadata: z.boolean().optional(),
      label_name_underscore_sanitization: z.boolean().optional(),
      label_name_preserve_multiple_underscores: z.boolean().optional(),
    })
    .superRefine((value, ctx) => {
      const all = value.promote_all_resource_attributes === true;
      const at = (key: string, message: string): void => ctx.addIssue({ code: 'custom', path: [key], message });
      if (all && (value.promote_resource_attributes ?? []).length > 0) {
        at('promote_resource_attributes', 'has no meaning with promote_all_resource_attributes: give one of them');
      }
      if (!all && (value.ignore_resource_attributes ?? []).length > 0) {
        at('ignore_resource_attributes', 'is for promote_all_resource_attributes: true');
      }
    })
    .prefault({}),
  self: z.strictObject({ interval: duration(1000).prefault(DEFAULTS.self.interval) }).prefault({}),
  storage: z
    .strictObject({
      shards: count(64).default(DEFAULTS.storage.shards),
      retention: z
        .strictObject({
          raw: duration().prefault(DEFAULTS.storage.retention.raw),
          '1m': duration().prefault(DEFAULTS.storage.retention['1m']),
          '1h': duration().prefault(DEFAULTS.storage.retention['1h']),
          size: optionalSize().prefault(DEFAULTS.storage.retention.size),
        })
        .prefault({}),
      downsample: z
        .strictObject({
          '1m': duration(0).prefault(DEFAULTS.storage.downsample['1m']),
          '1h': duration(0).prefault(DEFAULTS.storage.downsample['1h']),
        })
        .prefault({}),
      tenants: z
        .record(
          tenantName(),
          z.strictObject({
            retention: z.strictObject({ raw: duration(), '1m': duration(), '1h': duration() }).partial().default({}),
            downsample: z
              .strictObject({ '1m': duration(0), '1h': duration(0) })
              .partial()
              .default({}),
          }),
        )
        .default({}),
      rules: z
        .array(
          z.strictObject({
            selector: z.string().min(1),
            tenant: tenantName().optional(),
            retention: ruleRetention().optional(),
            downsample: ruleDownsample().optional(),
          }),
        )
        .max(RULES_MAX)
        .default([]),
      dedup: z
        .strictObject({
          interval: duration(0).prefault(DEFAULTS.storage.dedup.interval),
          replica_labels: z
            .array(z.string().min(1))
            .max(16)
            .default([...DEFAULTS.storage.dedup.replica_labels]),
        })
        .prefault({}),
      wal: z
        .strictObject({
          sync: z.enum(['interval', 'always', 'never']).default(DEFAULTS.storage.wal.sync as 'interval'),
          sync_interval: duration().prefault(DEFAULTS.storage.wal.sync_interval),
        })
        .prefault({}),
    })
    .prefault({}),
  limits: z
    .strictObject({
      ...withDefaults(tenantLimits),
      memory: optionalSize().prefault(DEFAULTS.limits.memory),
      tenants: z.record(tenantName(), z.strictObject(tenantLimits).partial()).default({}),
    })
    .prefault({}),
  forward: z
    .strictObject({
      max_bytes: size().prefault(DEFAULTS.forward.max_bytes),
      max_age: duration(60_000).prefault(DEFAULTS.forward.max_age),
    })
    .prefault({}),
  push: pushSchema({ duration, size, hostPort, tenantName, count }),
  query: z
    .strictObject({
      timeout: duration().prefault(DEFAULTS.query.timeout),
      max_samples: count(10_000_000_000, 1).default(DEFAULTS.query.max_samples),
      max_concurrent: count(1000, 1).default(DEFAULTS.query.max_concurrent),
      lookback_delta: duration().prefault(DEFAULTS.query.lookback_delta),
      slow_after: duration(0).prefault(DEFAULTS.query.slow_after),
      adhoc_range_max: duration(0).prefault(DEFAULTS.query.adhoc_range_max),
    })
    .prefault({}),
});

/** Durations in ms, sizes in bytes. */
export type Config = z.output<typeof configSchema>;

/** Sections that take effect on a reload; all others need a restart. */
export const RELOADABLE: readonly (keyof Config)[] = [
  'prometheus',
  'scrape_configs',
  'host',
  'otlp',
  'self',
  'log',
  'limits',
  'auth',
  'forward',
  'push',
];

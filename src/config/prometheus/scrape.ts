/** The `global` section and scrape configs: decoding, defaults, inheritance. */
import {
  bool,
  bytes,
  type Decoded,
  type Decoder,
  dict,
  duration,
  float,
  list,
  no,
  str,
  struct,
  uint,
  yes,
} from './decode.ts';
import { discoveryFields } from './discovery.ts';
import { discoverySections } from './discovery-sections.ts';
import { checkHttpClient, httpClientFields, httpClientOf } from './http-client.ts';
import {
  DEFAULT_SCRAPE_PROTOCOLS,
  GLOBAL_DEFAULTS,
  type GlobalConfig,
  PROTO_FIRST_SCRAPE_PROTOCOLS,
  SCRAPE_PROTOCOLS,
  type ScrapeConfig,
  type StaticGroup,
} from './model.ts';
import { isLabelName, type NameValidation, relabelConfig, relabelProblem } from './relabel.ts';

type Fail = (message: string, field?: string) => void;

const validationScheme: Decoder<string> = (ctx, node, path) => {
  const text = str(ctx, node, path);
  if (text === undefined || ['', 'utf8', 'legacy'].includes(text)) return text;
  ctx.fail(node, path, `unrecognized ValidationScheme: ${JSON.stringify(text)}`);
  return undefined;
};

const limits = {
  body_size_limit: yes(bytes),
  sample_limit: yes(uint),
  target_limit: yes(uint),
  label_limit: yes(uint),
  label_name_length_limit: yes(uint),
  label_value_length_limit: yes(uint),
  keep_dropped_targets: yes(uint),
};

export const globalSection = struct(
  'config.plain',
  {
    scrape_interval: yes(duration),
    scrape_timeout: yes(duration),
    scrape_protocols: yes(list(str)),
    evaluation_interval: no(duration),
    rule_query_offset: no(duration),
    query_log_file: no(str),
    scrape_failure_log_file: no(str),
    external_labels: yes(dict(str)),
    metric_name_validation_scheme: yes(validationScheme),
    metric_name_escaping_scheme: yes(str),
    scrape_native_histograms: yes(bool),
    convert_classic_histograms_to_nhcb: yes(bool),
    always_scrape_classic_histograms: yes(bool),
    extra_scrape_metrics: yes(bool),
    ...limits,
  },
  {
    check(value, fail) {
      const scheme = (value.metric_name_validation_scheme || 'utf8') as NameValidation;
      for (const [name, label] of value.external_labels ?? []) {
        if (!isLabelName(name, scheme)) fail(`${goQuote(name)} is not a valid label name`, 'external_labels');
        if (label.includes('\ufffd')) fail(`${goQuote(label)} is not a valid label value`, 'external_labels');
      }
      const interval = value.scrape_interval || GLOBAL_DEFAULTS.scrapeIntervalMs;
      if ((value.scrape_timeout ?? 0) > interval)
        fail('global scrape timeout greater than scrape interval', 'scrape_timeout');
      if (value.scrape_protocols !== undefined) {
        const problem = protocolsProblem(value.scrape_protocols);
        if (problem !== '') fail(`${problem} for global config`, 'scrape_protocols');
      }
    },
  },
);

export type GlobalSection = NonNullable<ReturnType<typeof globalSection>>;

export function toGlobal(section: GlobalSection): GlobalConfig {
  const scrapeIntervalMs = section.scrape_interval || GLOBAL_DEFAULTS.scrapeIntervalMs;
  return {
    scrapeIntervalMs,
    scrapeTimeoutMs: section.scrape_timeout || Math.min(GLOBAL_DEFAULTS.scrapeTimeoutMs, scrapeIntervalMs),
    evaluationIntervalMs: section.evaluation_interval || GLOBAL_DEFAULTS.evaluationIntervalMs,
    externalLabels: new Map(
      [...(section.external_labels ?? [])].map(([name, value]) => [name, expandVariables(value, process.env)]),
    ),
  };
}

/** `$NAME` and `${NAME}` become what the environment has, or nothing; `$$` becomes `$`. */
export function expandVariables(text: string, environment: Readonly<Record<string, string | undefined>>): string {
  return text.replace(/\$(?:\{([^}]*)\}|([A-Za-z0-9_]+|[$*#@!?-]))/g, (_all, braced?: string, bare?: string) => {
    const name = braced ?? bare ?? '';
    return name === '$' ? '$' : (environment[name] ?? '');
  });
}

export const staticGroup = struct('struct', { targets: yes(list(str)), labels: yes(dict(str)) });

/** Fields that a scrape config and an Alertmanager section share. */
export const targetFields = {
  static_configs: yes(list(staticGroup, 'empty or null section in static_configs')),
  ...discoveryFields,
};

const scrapeFields = {
  job_name: yes(str),
  honor_labels: yes(bool),
  honor_timestamps: yes(bool),
  track_timestamps_staleness: yes(bool),
  params: yes(dict(list(str))),
  scrape_interval: yes(duration),
  scrape_timeout: yes(duration),
  scrape_protocols: yes(list(str)),
  fallback_scrape_protocol: yes(str),
  scrape_native_histograms: yes(bool),
  always_scrape_classic_histograms: yes(bool),
  convert_classic_histograms_to_nhcb: yes(bool),
  scrape_failure_log_file: no(str),
  metrics_path: yes(str),
  scheme: yes(str),
  enable_compression: yes(bool),
  native_histogram_bucket_limit: yes(uint),
  native_histogram_min_bucket_factor: yes(float),
  metric_name_validation_scheme: yes(validationScheme),
  metric_name_escaping_scheme: yes(str),
  extra_scrape_metrics: yes(bool),
  relabel_configs: yes(list(relabelConfig, 'empty or null target relabeling rule in scrape config')),
  metric_relabel_configs: yes(list(relabelConfig, 'empty or null metric relabeling rule in scrape config')),
  ...limits,
  ...httpClientFields,
  static_configs: targetFields.static_configs,
};

const scrapeStruct = struct(
  'struct of a scrape config',
  { ...discoveryFields, ...scrapeFields } as typeof scrapeFields,
  {
    check(value, fail) {
      if (!value.job_name) fail('job_name is empty');
      checkHttpClient(value, fail);
      if ((value.relabel_configs ?? []).length > 0) return;
      for (const group of value.static_configs ?? []) {
        for (const target of group.targets ?? []) {
          if (target.includes('/')) fail(`${JSON.stringify(target)} is not a valid hostname`, 'static_configs');
        }
      }
    },
  },
);

export type ScrapeSection = Decoded<typeof scrapeFields>;

/** A scrape config as the file has it; what it inherits comes by `toScrapeConfig`. */
export const scrapeSection: Decoder<ScrapeSection> = scrapeStruct;

const ESCAPING = ['allow-utf-8', 'underscores', 'dots', 'values'];

/** Fills in what a scrape config inherits, and judges what can be judged only then. */
export function toScrapeConfig(
  section: ScrapeSection,
  global: GlobalSection,
  baseDir: string,
  fail: Fail,
): ScrapeConfig {
  const job = JSON.stringify(section.job_name ?? '');
  const inherited = toGlobal(global);
  const scrapeIntervalMs = section.scrape_interval || inherited.scrapeIntervalMs;
  if ((section.scrape_timeout ?? 0) > scrapeIntervalMs) {
    fail(`scrape timeout greater than scrape interval for scrape config with job name ${job}`, 'scrape_timeout');
  }
  const scrapeNativeHistograms = section.scrape_native_histograms ?? global.scrape_native_histograms ?? false;
  // Only the binary format carries native histograms.
  const defaultProtocols = scrapeNativeHistograms ? PROTO_FIRST_SCRAPE_PROTOCOLS : DEFAULT_SCRAPE_PROTOCOLS;
  const scrapeProtocols = section.scrape_protocols ?? global.scrape_protocols ?? defaultProtocols;
  const badProtocols = protocolsProblem(scrapeProtocols);
  if (badProtocols !== '') fail(`${badProtocols} for scrape config with job name ${job}`, 'scrape_protocols');
  const fallback = section.fallback_scrape_protocol ?? '';
  if (fallback !== '' && !isProtocol(fallback)) {
    fail(
      `invalid fallback_scrape_protocol for scrape config with job name ${job}: ${unknownProtocol(fallback)}`,
      'fallback_scrape_protocol',
    );
  }
  const nameValidation = (section.metric_name_validation_scheme ||
    global.metric_name_validation_scheme ||
    'utf8') as NameValidation;
  const nameEscaping = escapingOf(section, global, nameValidation, fail);
  for (const field of ['relabel_configs', 'metric_relabel_configs'] as const) {
    for (const config of section[field] ?? []) {
      const problem = relabelProblem(config, nameValidation, { sourceLabels: config.sourceLabels.length > 0 });
      if (problem !== '') fail(problem, field);
    }
  }
  const either = (name: 'always_scrape_classic_histograms' | 'convert_classic_histograms_to_nhcb'): boolean =>
    section[name] ?? global[name] ?? false;
  const limit = (name: keyof typeof limits): number => section[name] || global[name] || 0;
  return {
    jobName: section.job_name ?? '',
    scrapeIntervalMs,
    scrapeTimeoutMs: section.scrape_timeout || Math.min(inherited.scrapeTimeoutMs, scrapeIntervalMs),
    metricsPath: section.metrics_path ?? '/metrics',
    scheme: section.scheme ?? 'http',
    params: section.params ?? new Map(),
    honorLabels: section.honor_labels ?? false,
    honorTimestamps: section.honor_timestamps ?? true,
    trackTimestampsStaleness: section.track_timestamps_staleness ?? false,
    enableCompression: section.enable_compression ?? true,
    extraScrapeMetrics: section.extra_scrape_metrics ?? global.extra_scrape_metrics ?? false,
    scrapeProtocols,
    fallbackScrapeProtocol: fallback,
    nameValidation,
    nameEscaping,
    scrapeNativeHistograms,
    alwaysScrapeClassicHistograms: either('always_scrape_classic_histograms'),
    convertClassicHistograms: either('convert_classic_histograms_to_nhcb'),
    nativeHistogramBucketLimit: section.native_histogram_bucket_limit ?? 0,
    nativeHistogramMinBucketFactor: section.native_histogram_min_bucket_factor ?? 0,
    bodySizeLimit: limit('body_size_limit'),
    sampleLimit: limit('sample_limit'),
    targetLimit: limit('target_limit'),
    labelLimit: limit('label_limit'),
    labelNameLengthLimit: limit('label_name_length_limit'),
    labelValueLengthLimit: limit('label_value_length_limit'),
    keepDroppedTargets: limit('keep_dropped_targets'),
    httpClient: httpClientOf(section),
    staticConfigs: (section.static_configs ?? []).map(
      (group): StaticGroup => ({ targets: group.targets ?? [], labels: group.labels ?? new Map() }),
    ),
    discovery: discoverySections(section, baseDir),
    relabelConfigs: section.relabel_configs ?? [],
    metricRelabelConfigs: section.metric_relabel_configs ?? [],
    baseDir,
  };
}

function escapingOf(section: ScrapeSection, global: GlobalSection, validation: NameValidation, fail: Fail): string {
  const inferred = (scheme: NameValidation): string => (scheme === 'legacy' ? 'underscores' : 'allow-utf-8');
  const globalValidation = (global.metric_name_validation_scheme || 'utf8') as NameValidation;
  const globalEscaping = global.metric_name_escaping_scheme || inferred(globalValidation);
  const own = section.metric_name_validation_scheme ? inferred(validation) : globalEscaping;
  const escaping = section.metric_name_escaping_scheme || own;
  if (!ESCAPING.includes(escaping)) {
    const all = ESCAPING.map(name => `'${name}'`).join(', ');
    fail(
      `unknown scrape config name escaping method specified, must be one of ${all}, got ${JSON.stringify(escaping)}`,
    );
  } else if (escaping === 'allow-utf-8' && validation !== 'utf8') {
    fail('utf8 metric names requested but validation scheme is not set to UTF8');
  }
  return escaping;
}

function isProtocol(name: string): boolean {
  return (SCRAPE_PROTOCOLS as readonly string[]).includes(name);
}

function unknownProtocol(name: string): string {
  return `unknown scrape protocol ${name}, supported: [${SCRAPE_PROTOCOLS.join(' ')}]`;
}

function protocolsProblem(protocols: readonly string[]): string {
  if (protocols.length === 0) return 'scrape_protocols cannot be empty';
  const seen = new Set<string>();
  for (const name of protocols) {
    if (seen.has(name.toLowerCase())) return `duplicated protocol in scrape_protocols, got [${protocols.join(' ')}]`;
    if (!isProtocol(name)) return `scrape_protocols: ${unknownProtocol(name)}`;
    seen.add(name.toLowerCase());
  }
  return '';
}

/** Quoted as Go's %q shows text; bytes that were not UTF-8 arrive here as U+FFFD and read \xff in its words. */
function goQuote(text: string): string {
  return JSON.stringify(text).replaceAll('\ufffd', '\\xff');
}

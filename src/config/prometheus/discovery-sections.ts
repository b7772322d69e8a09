/**
 * The discovery sections that take effect: files, HTTP, DNS, Consul, Kubernetes, Docker. Decoded with Prometheus' defaults and
 * turned into what the discovery (ingest/discovery) takes: ms, sets of values instead of absent ones, the folder of the file.
 */
import {
  bool,
  type Decoded,
  type Decoder,
  dict,
  duration,
  type Field,
  int,
  list,
  no,
  str,
  struct,
  yes,
} from './decode.ts';
import { checkHttpClient, type HttpClientSettings, httpClientFields } from './http-client.ts';

type Fail = (message: string, field?: string) => void;

export type FileDiscovery = { mechanism: 'file'; files: string[]; refreshIntervalMs: number; baseDir: string };

interface OverHttp {
  httpClient: HttpClientSettings;
  baseDir: string;
}

export interface HttpDiscovery extends OverHttp {
  mechanism: 'http';
  url: string;
  refreshIntervalMs: number;
}

export interface DnsDiscovery {
  mechanism: 'dns';
  names: string[];
  type: 'A' | 'AAAA' | 'SRV' | 'MX' | 'NS';
  /** 0 where the record has its own, or none. */
  port: number;
  refreshIntervalMs: number;
}

export interface ConsulDiscovery extends OverHttp {
  mechanism: 'consul';
  /** HOST:PORT or a unix:// socket's path. */
  server: string;
  scheme: string;
  pathPrefix: string;
  /** '' = none, as in all of these. */
  token: string;
  datacenter: string;
  namespace: string;
  partition: string;
  tagSeparator: string;
  allowStale: boolean;
  /** Empty = all. */
  services: string[];
  tags: string[];
  nodeMeta: ReadonlyMap<string, string>;
  /** Expressions of Consul's, for the catalog and for instances. */
  filter: string;
  healthFilter: string;
  /** Least time between two queries of the same thing; 0 = not said. */
  refreshIntervalMs: number;
}

export interface KubernetesDiscovery extends OverHttp {
  mechanism: 'kubernetes';
  role: string;
  /** '' = in the cluster, or by the kubeconfig. */
  apiServer: string;
  kubeconfigFile: string;
  ownNamespace: boolean;
  /** Empty = all. */
  namespaces: string[];
  selectors: { role: string; label: string; field: string }[];
  attachNode: boolean;
  attachNamespace: boolean;
}

export interface DockerDiscovery extends OverHttp {
  mechanism: 'docker';
  /** unix:///path, tcp://, http:// or https:// */
  host: string;
  port: number;
  filters: { name: string; values: string[] }[];
  hostNetworkingHost: string;
  matchFirstNetwork: boolean;
  refreshIntervalMs: number;
}

export type DiscoverySection =
  | FileDiscovery
  | HttpDiscovery
  | DnsDiscovery
  | ConsulDiscovery
  | KubernetesDiscovery
  | DockerDiscovery;

/**
 * How often what can only be polled is asked where the file does not say: with the 5 s that updates are gathered, a change is in
 * effect within half a minute. Prometheus takes 30 s (DNS) and 60 s.
 */
const POLL_MS = 20_000;
/** Files are watched; this is how often they are read all the same, as in Prometheus. */
const FILES_MS = 5 * 60_000;

/** Keeps the client's settings apart from the section's own fields. */
function clientOf(value: HttpClientSettings): HttpClientSettings {
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(httpClientFields)) {
    const setting = value[key as keyof HttpClientSettings];
    if (setting !== undefined) out[key] = setting;
  }
  return out as HttpClientSettings;
}

/** Decodes with `fields`, then makes the section; the result is whatever `make` gives. */
function section<F extends Record<string, Field<unknown>>, S>(
  typeName: string,
  fields: F,
  check: (value: Decoded<F>, fail: Fail) => void,
  make: (value: Decoded<F>, baseDir: string) => S,
): { decode: Decoder<Decoded<F>>; make: (value: unknown, baseDir: string) => S } {
  return {
    decode: struct(typeName, fields, { check }),
    make: (value, baseDir) => make(value as Decoded<F>, baseDir),
  };
}

const FILE_PATTERN = /^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$/;

const file = section(
  'file.plain',
  { files: yes(list(str)), refresh_interval: yes(duration) },
  (value, fail) => {
    if ((value.files ?? []).length === 0) fail('file service discovery config must contain at least one path name');
    for (const name of value.files ?? []) {
      if (!FILE_PATTERN.test(name)) fail(`path name ${JSON.stringify(name)} is not valid for file discovery`, 'files');
    }
  },
  (value, baseDir): FileDiscovery => ({
    mechanism: 'file',
    files: value.files ?? [],
    refreshIntervalMs: value.refresh_interval || FILES_MS,
    baseDir,
  }),
);

export function requireHttpUrl(url: string | undefined, fail: Fail): void {
  const match = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/([^/?#]*)/.exec(url ?? '');
  if (!url) fail('URL is missing');
  else if (match === null || !/^https?$/.test(match[1] as string)) fail("URL scheme must be 'http' or 'https'", 'url');
  else if (match[2] === '') fail('host is missing in URL', 'url');
}

const http = section(
  'http.plain',
  { ...httpClientFields, refresh_interval: yes(duration), url: yes(str) },
  (value, fail) => {
    checkHttpClient(value, fail);
    requireHttpUrl(value.url, fail);
  },
  (value, baseDir): HttpDiscovery => ({
    mechanism: 'http',
    url: value.url ?? '',
    refreshIntervalMs: value.refresh_interval || POLL_MS,
    httpClient: clientOf(value),
    baseDir,
  }),
);

const DNS_TYPES = ['SRV', 'A', 'AAAA', 'MX', 'NS'];

const dns = section(
  'dns.plain',
  { names: yes(list(str)), type: yes(str), port: yes(int), refresh_interval: yes(duration) },
  (value, fail) => {
    if ((value.names ?? []).length === 0) fail('DNS-SD config must contain at least one SRV record name');
    const type = (value.type ?? 'SRV').toUpperCase();
    if (!DNS_TYPES.includes(type)) fail(`invalid DNS-SD records type ${type}`, 'type');
    else if (!['SRV', 'MX', 'NS'].includes(type) && !value.port) {
      fail('a port is required in DNS-SD configs for all record types except SRV, MX and NS');
    }
  },
  (value): DnsDiscovery => ({
    mechanism: 'dns',
    names: value.names ?? [],
    type: (value.type ?? 'SRV').toUpperCase() as DnsDiscovery['type'],
    port: value.port ?? 0,
    refreshIntervalMs: value.refresh_interval || POLL_MS,
  }),
);

const consul = section(
  'consul.plain',
  {
    ...httpClientFields,
    server: yes(str),
    path_prefix: yes(str),
    token: yes(str),
    datacenter: yes(str),
    namespace: yes(str),
    partition: yes(str),
    tag_separator: yes(str),
    scheme: yes(str),
    username: yes(str),
    password: yes(str),
    allow_stale: yes(bool),
    refresh_interval: yes(duration),
    services: yes(list(str)),
    tags: yes(list(str)),
    node_meta: yes(dict(str)),
    filter: yes(str),
    health_filter: yes(str),
  },
  (value, fail) => {
    if (value.server !== undefined && value.server.trim() === '') {
      fail('consul SD configuration requires a server address', 'server');
    }
    if ((value.username || value.password) && value.basic_auth !== undefined) {
      fail('at most one of consul SD configuration username and password and basic auth can be configured');
    }
    if (value.token && (value.authorization !== undefined || value.oauth2 !== undefined)) {
      fail('at most one of consul SD token, authorization, or oauth2 can be configured');
    }
    checkHttpClient(value, fail);
  },
  (value, baseDir): ConsulDiscovery => {
    const httpClient = clientOf(value);
    if (value.username || value.password) {
      httpClient.basic_auth = { username: value.username ?? '', password: value.password ?? '' };
    }
    return {
      mechanism: 'consul',
      server: value.server ?? 'localhost:8500',
      scheme: value.scheme ?? 'http',
      pathPrefix: value.path_prefix ?? '',
      token: value.token ?? '',
      datacenter: value.datacenter ?? '',
      namespace: value.namespace ?? '',
      partition: value.partition ?? '',
      tagSeparator: value.tag_separator ?? ',',
      allowStale: value.allow_stale ?? true,
      services: value.services ?? [],
      tags: value.tags ?? [],
      nodeMeta: value.node_meta ?? new Map(),
      filter: value.filter ?? '',
      healthFilter: value.health_filter ?? '',
      refreshIntervalMs: value.refresh_interval ?? 0,
      httpClient,
      baseDir,
    };
  },
);

const filters = list(struct('moby.plain', { name: yes(str), values: yes(list(str)) }));

const docker = section(
  'moby.plain',
  {
    ...httpClientFields,
    host: yes(str),
    port: yes(int),
    filters: yes(filters),
    host_networking_host: yes(str),
    match_first_network: yes(bool),
    refresh_interval: yes(duration),
  },
  (value, fail) => {
    if (!value.host) fail('host missing');
    checkHttpClient(value, fail);
  },
  (value, baseDir): DockerDiscovery => ({
    mechanism: 'docker',
    host: value.host ?? '',
    port: value.port ?? 80,
    filters: (value.filters ?? []).map(({ name, values }) => ({ name: name ?? '', values: values ?? [] })),
    hostNetworkingHost: value.host_networking_host ?? 'localhost',
    matchFirstNetwork: value.match_first_network ?? true,
    refreshIntervalMs: value.refresh_interval || POLL_MS,
    httpClient: clientOf(value),
    baseDir,
  }),
);

const SELECTORS: Readonly<Record<string, readonly string[]>> = {
  pod: ['pod', 'node'],
  service: ['service'],
  endpoints: ['pod', 'service', 'endpoints', 'node'],
  endpointslice: ['pod', 'service', 'endpointslice', 'node'],
  node: ['node'],
  ingress: ['ingress'],
};

/** Prometheus' words list what a role takes; node selectors of endpoints come only with attached metadata. */
function selectorsOf(role: string, attachNode: boolean): readonly string[] {
  const all = SELECTORS[role] ?? [];
  return role.startsWith('endpoint') && !attachNode ? all.filter(name => name !== 'node') : all;
}

const KUBERNETES_TYPE = 'kubernetes.plain';

const attachFields = {
  node: yes(bool),
  namespace: yes(bool),
  // Of pods, by a look at the owner's owner: not watched here.
  deployment: no(bool),
  job: no(bool),
  cronjob: no(bool),
};

const kubernetesFields = {
  ...httpClientFields,
  api_server: yes(str),
  role: yes(str),
  kubeconfig_file: yes(str),
  namespaces: yes(struct(KUBERNETES_TYPE, { own_namespace: yes(bool), names: yes(list(str)) })),
  selectors: yes(list(struct(KUBERNETES_TYPE, { role: yes(str), label: yes(str), field: yes(str) }))),
  attach_metadata: yes(struct(KUBERNETES_TYPE, attachFields, { lenient: true })),
};

const kubernetes = section(
  KUBERNETES_TYPE,
  kubernetesFields,
  (value, fail) => {
    const role = value.role ?? '';
    if (role === '') fail('role missing (one of: pod, service, endpoints, endpointslice, node, ingress)');
    else if (!Object.hasOwn(SELECTORS, role)) fail(`unknown Kubernetes SD role ${JSON.stringify(role)}`, 'role');
    checkHttpClient(value, fail);
    checkKubernetesAccess(value, fail);
    checkSelectors(role, value.selectors ?? [], value.attach_metadata?.node === true, fail);
  },
  (value, baseDir): KubernetesDiscovery => ({
    mechanism: 'kubernetes',
    role: value.role ?? '',
    apiServer: value.api_server ?? '',
    kubeconfigFile: value.kubeconfig_file ?? '',
    ownNamespace: value.namespaces?.own_namespace ?? false,
    namespaces: value.namespaces?.names ?? [],
    selectors: (value.selectors ?? []).map(({ role = '', label = '', field = '' }) => ({ role, label, field })),
    attachNode: value.attach_metadata?.node ?? false,
    attachNamespace: value.attach_metadata?.namespace ?? false,
    httpClient: clientOf(value),
    baseDir,
  }),
);

function checkKubernetesAccess(value: Decoded<typeof kubernetesFields>, fail: Fail): void {
  const own = value.namespaces?.own_namespace === true;
  if (value.api_server && value.kubeconfig_file) fail("cannot use 'kubeconfig_file' and 'api_server' simultaneously");
  const custom = Object.keys(httpClientFields).some(
    key => !['follow_redirects', 'enable_http2'].includes(key) && value[key as keyof HttpClientSettings] !== undefined,
  );
  if (value.kubeconfig_file && custom)
    fail("cannot use a custom HTTP client configuration together with 'kubeconfig_file'");
  if (!value.api_server && !value.kubeconfig_file && custom) {
    fail("to use custom HTTP client configuration please provide the 'api_server' URL explicitly");
  }
  if (value.api_server && own) fail("cannot use 'api_server' and 'namespaces.own_namespace' simultaneously");
  if (value.kubeconfig_file && own) fail("cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously");
}

function checkSelectors(
  role: string,
  selectors: readonly { role?: string; label?: string; field?: string }[],
  attachNode: boolean,
  fail: Fail,
): void {
  const allowed = selectorsOf(role, attachNode);
  const seen = new Set<string>();
  for (const selector of selectors) {
    const of = selector.role ?? '';
    if (seen.has(of)) fail(`duplicated selector role: ${of}`, 'selectors');
    seen.add(of);
    if (!allowed.includes(of)) {
      fail(`${role} role supports only ${allowed.join(', ')} selectors`, 'selectors');
      return;
    }
    const bad = badFieldSelector(selector.field ?? '');
    if (bad !== '') fail(`invalid selector: '${selector.field}'; can't understand '${bad}'`, 'selectors');
  }
}

/** The first term of a field selector that is not `key=value`, `key==value` or `key!=value`; '' where all are. */
function badFieldSelector(text: string): string {
  if (text === '') return '';
  return text.split(',').find(term => !/^[^=!]+(?:==?|!=)[^=]*$/.test(term)) ?? '';
}

const SUPPORTED: Readonly<
  Record<string, { decode: Decoder<unknown>; make: (value: unknown, baseDir: string) => DiscoverySection }>
> = { file, http, dns, consul, kubernetes, docker };

/** By key of a scrape config. */
export const supportedFields: Record<string, Field<unknown[]>> = Object.fromEntries(
  Object.entries(SUPPORTED).map(([name, { decode }]) => [
    `${name}_sd_configs`,
    yes(list(decode, `empty or null section in ${name}_sd_configs`)),
  ]),
);

/** All discovery sections of a decoded scrape config, in the order of their mechanisms. */
export function discoverySections(config: object, baseDir: string): DiscoverySection[] {
  const all = config as Record<string, unknown[] | undefined>;
  return Object.entries(SUPPORTED).flatMap(([name, { make }]) =>
    (all[`${name}_sd_configs`] ?? []).map(value => make(value, baseDir)),
  );
}

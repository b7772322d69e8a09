/**
 * Service discovery sections: which there are, and what Prometheus refuses in them.
 *
 * Only static_configs is acted on; every other section is judged (a file that Prometheus refuses is refused) and noted as
 * unsupported. Sections whose fields differ between versions and vendors are lenient about unknown fields.
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
type Fields = Record<string, Field<unknown>>;

const common = { refresh_interval: yes(duration), port: yes(int) };
const http = quiet(httpClientFields);

/** The same fields without notes: the section as a whole is noted already. */
function quiet<F extends Fields>(fields: F): F {
  return Object.fromEntries(
    Object.entries(fields).map(([key, field]) => [key, { decode: field.decode }]),
  ) as unknown as F;
}

function section<F extends Fields>(
  fields: F,
  check: (value: Decoded<F>, fail: Fail) => void,
  lenient = true,
): Decoder<unknown> {
  const options = { check: check as (value: Decoded<F>, fail: Fail) => void };
  return struct('discovery.plain', fields, lenient ? { ...options, lenient: true } : options) as Decoder<unknown>;
}

function withHttp<F extends Fields>(fields: F, check: (value: Decoded<F>, fail: Fail) => void): Decoder<unknown> {
  return section({ ...http, ...common, ...fields }, (value, fail) => {
    checkHttpClient(value as HttpClientSettings, fail);
    check(value as unknown as Decoded<F>, fail);
  });
}

function fine(): void {}

function requireHttpUrl(url: string | undefined, fail: Fail): void {
  const match = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/([^/?#]*)/.exec(url ?? '');
  if (!url) fail('URL is missing');
  else if (match === null || !/^https?$/.test(match[1] as string)) fail("URL scheme must be 'http' or 'https'", 'url');
  else if (match[2] === '') fail('host is missing in URL', 'url');
}

function secretPair(value: { secret_key?: string; secret_key_file?: string }, fail: Fail): void {
  if (value.secret_key && value.secret_key_file)
    fail('at most one of secret_key & secret_key_file must be configured', 'secret_key');
  if (!value.secret_key && !value.secret_key_file) fail('one of secret_key & secret_key_file must be configured');
}

const filters = list(struct('ec2.plain', { name: yes(str), values: yes(list(str)) }));

function ec2Like(value: { filters?: { values?: string[] }[] }, fail: Fail): void {
  for (const filter of value.filters ?? []) {
    if ((filter.values ?? []).length === 0) fail('EC2 SD configuration filter values cannot be empty', 'filters');
  }
}

const AZURE_METHODS = ['OAuth', 'ManagedIdentity', 'SDK', 'WorkloadIdentity'];

const azure = withHttp(
  {
    environment: yes(str),
    authentication_method: yes(str),
    subscription_id: yes(str),
    tenant_id: yes(str),
    client_id: yes(str),
    client_secret: yes(str),
    resource_group: yes(str),
  },
  (value, fail) => {
    const method = value.authentication_method ?? 'OAuth';
    if (!AZURE_METHODS.includes(method)) {
      fail(
        `unknown authentication_type ${JSON.stringify(method)}. Supported types are "OAuth", "ManagedIdentity", "SDK" or "WorkloadIdentity"`,
        'authentication_method',
      );
    }
    const needed = method === 'OAuth' ? (['tenant_id', 'client_id', 'client_secret'] as const) : [];
    for (const name of ['subscription_id', ...needed] as const) {
      if (!value[name]) fail(`azure SD configuration requires a ${name}`);
    }
  },
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

const kubernetesPlain = { lenient: false, typeName: 'kubernetes.plain' };

const kubernetes: Decoder<unknown> = struct(
  kubernetesPlain.typeName,
  {
    ...http,
    api_server: yes(str),
    role: yes(str),
    kubeconfig_file: yes(str),
    namespaces: yes(struct(kubernetesPlain.typeName, { own_namespace: yes(bool), names: yes(list(str)) })),
    selectors: yes(list(struct(kubernetesPlain.typeName, { role: yes(str), label: yes(str), field: yes(str) }))),
    attach_metadata: yes(
      struct(kubernetesPlain.typeName, { node: yes(bool), namespace: yes(bool) }, { lenient: true }),
    ),
  },
  {
    check(value, fail) {
      const role = value.role ?? '';
      if (role === '') fail('role missing (one of: pod, service, endpoints, endpointslice, node, ingress)');
      else if (!Object.hasOwn(SELECTORS, role)) fail(`unknown Kubernetes SD role ${JSON.stringify(role)}`, 'role');
      checkHttpClient(value, fail);
      checkKubernetesAccess(value, fail);
      checkSelectors(role, value.selectors ?? [], value.attach_metadata?.node === true, fail);
    },
  },
);

function checkKubernetesAccess(
  value: HttpClientSettings & {
    api_server?: string;
    kubeconfig_file?: string;
    namespaces?: { own_namespace?: boolean };
  },
  fail: Fail,
): void {
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

const marathon = withHttp(
  { servers: yes(list(str)), auth_token: yes(str), auth_token_file: yes(str) },
  (value, fail) => {
    const all = value as HttpClientSettings & typeof value;
    if ((value.servers ?? []).length === 0) fail('marathon_sd: must contain at least one Marathon server');
    const own = Boolean(value.auth_token || value.auth_token_file);
    if (value.auth_token && value.auth_token_file) {
      fail('marathon_sd: at most one of auth_token & auth_token_file must be configured');
    }
    if (!own) return;
    if (all.basic_auth) fail('marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured');
    if (all.bearer_token || all.bearer_token_file) {
      fail(
        'marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured',
      );
    }
    if (all.authorization)
      fail('marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured');
  },
);

const openstack = withHttp({ role: yes(str), availability: yes(str), region: yes(str) }, (value, fail) => {
  const availability = value.availability ?? 'public';
  if (!['admin', 'internal', 'public'].includes(availability)) {
    fail(`unknown availability ${availability}, must be one of admin, internal or public`, 'availability');
  }
  const role = value.role ?? '';
  if (role === '') fail('role missing (one of: instance, hypervisor, loadbalancer)');
  else if (!['hypervisor', 'instance', 'loadbalancer'].includes(role))
    fail(`unknown OpenStack SD role ${JSON.stringify(role)}`, 'role');
});

const FILE_PATTERN = /^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$/;

/** Every section but static_configs, by the name of its key without `_sd_configs`. */
const SECTIONS: Readonly<Record<string, Decoder<unknown>>> = {
  aws: section({ role: yes(str) }, fine),
  azure,
  consul: withHttp(
    { server: yes(str), services: yes(list(str)), tags: yes(list(str)), node_meta: yes(dict(str)) },
    fine,
  ),
  digitalocean: withHttp({}, fine),
  dns: section({ ...common, names: yes(list(str)), type: yes(str) }, (value, fail) => {
    if ((value.names ?? []).length === 0) fail('DNS-SD config must contain at least one SRV record name');
    const type = (value.type ?? 'SRV').toUpperCase();
    if (!['SRV', 'A', 'AAAA', 'MX', 'NS'].includes(type)) fail(`invalid DNS-SD records type ${type}`, 'type');
    else if (!['SRV', 'MX', 'NS'].includes(type) && !value.port) {
      fail('a port is required in DNS-SD configs for all record types except SRV, MX and NS');
    }
  }),
  docker: withHttp({ host: yes(str) }, (value, fail) => {
    if (!value.host) fail('host missing');
  }),
  dockerswarm: withHttp({ host: yes(str), role: yes(str) }, (value, fail) => {
    if (!value.host) fail('host missing');
    if (!['services', 'nodes', 'tasks'].includes(value.role ?? ''))
      fail(`invalid role ${value.role ?? ''}, expected tasks, services, or nodes`);
  }),
  ec2: withHttp({ region: yes(str), filters: yes(filters) }, ec2Like),
  ecs: withHttp({ region: yes(str) }, fine),
  elasticache: withHttp({ region: yes(str) }, fine),
  eureka: withHttp({ server: yes(str) }, (value, fail) => {
    const server = value.server ?? '';
    if (server === '') fail('eureka_sd: empty or null eureka server');
    else if (!/^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/]+/.test(server)) fail('invalid eureka server URL', 'server');
  }),
  file: section(
    { files: yes(list(str)), refresh_interval: yes(duration) },
    (value, fail) => {
      if ((value.files ?? []).length === 0) fail('file service discovery config must contain at least one path name');
      for (const name of value.files ?? []) {
        if (!FILE_PATTERN.test(name))
          fail(`path name ${JSON.stringify(name)} is not valid for file discovery`, 'files');
      }
    },
    false,
  ),
  gce: section({ ...common, project: yes(str), zone: yes(str) }, (value, fail) => {
    if (!value.project) fail('GCE SD configuration requires a project');
    if (!value.zone) fail('GCE SD configuration requires a zone');
  }),
  hetzner: withHttp({ role: yes(str) }, (value, fail) => {
    if (!value.role) fail('role missing (one of: robot, hcloud)');
    else if (!['robot', 'hcloud'].includes(value.role)) fail(`unknown role ${JSON.stringify(value.role)}`, 'role');
  }),
  http: withHttp({ url: yes(str) }, (value, fail) => requireHttpUrl(value.url, fail)),
  ionos: withHttp({ datacenter_id: yes(str) }, (value, fail) => {
    if (!value.datacenter_id) fail("datacenter id can't be empty");
  }),
  kubernetes,
  kuma: withHttp({ server: yes(str) }, (value, fail) => {
    if (!value.server) fail('kuma SD server must not be empty: ');
  }),
  lightsail: withHttp({ region: yes(str) }, fine),
  linode: withHttp({}, fine),
  marathon,
  msk: withHttp({ region: yes(str) }, fine),
  nerve: section({ servers: yes(list(str)), paths: yes(list(str)), timeout: yes(duration) }, zookeeper('nerve')),
  nomad: withHttp({ server: yes(str) }, (value, fail) => {
    if (value.server === '') fail('nomad SD configuration requires a server address');
  }),
  oci: withHttp({ auth: yes(str) }, (value, fail) => {
    if (!['api_key', 'instance_principal', ''].includes(value.auth ?? '')) {
      fail(
        `oci_sd: unknown auth method ${JSON.stringify(value.auth)}, expected "api_key" or "instance_principal"`,
        'auth',
      );
    }
  }),
  openstack,
  outscale: withHttp(
    { region: yes(str), access_key: yes(str), secret_key: yes(str), secret_key_file: yes(str) },
    (value, fail) => {
      if (!value.region) fail('outscale SD configuration requires a region');
      if (!value.access_key) fail('outscale SD configuration requires an access_key');
      secretPair(value, fail);
    },
  ),
  ovhcloud: section(
    {
      ...common,
      endpoint: yes(str),
      application_key: yes(str),
      application_secret: yes(str),
      consumer_key: yes(str),
      service: yes(str),
    },
    (value, fail) => {
      if (!value.endpoint) fail('endpoint can not be empty');
      if (!value.application_key) fail('application key can not be empty');
      if (!value.application_secret) fail('application secret can not be empty');
      if (!value.consumer_key) fail('consumer key can not be empty');
      if (!['vps', 'dedicated_server'].includes(value.service ?? ''))
        fail(`unknown service: ${value.service ?? ''}`, 'service');
    },
  ),
  puppetdb: withHttp({ url: yes(str), query: yes(str) }, (value, fail) => {
    requireHttpUrl(value.url, fail);
    if (!value.query) fail('query missing');
  }),
  rds: withHttp({ region: yes(str) }, fine),
  scaleway: withHttp(
    { role: yes(str), project_id: yes(str), access_key: yes(str), secret_key: yes(str), secret_key_file: yes(str) },
    (value, fail) => {
      if (!['instance', 'baremetal'].includes(value.role ?? ''))
        fail(`unknown role ${JSON.stringify(value.role ?? '')}`, 'role');
      if (!value.project_id) fail('project_id is mandatory');
      if (!value.access_key) fail('access_key is mandatory');
      secretPair(value, fail);
    },
  ),
  serverset: section(
    { servers: yes(list(str)), paths: yes(list(str)), timeout: yes(duration) },
    zookeeper('serverset'),
  ),
  stackit: withHttp({ project: yes(str), endpoint: yes(str) }, (value, fail) => {
    if (value.endpoint && !URL.canParse(value.endpoint))
      fail(`invalid endpoint ${JSON.stringify(value.endpoint)}`, 'endpoint');
    if (!value.endpoint && !value.project) fail('stackit_sd: project is required');
  }),
  triton: section({ ...common, account: yes(str), dns_suffix: yes(str), endpoint: yes(str) }, (value, fail) => {
    for (const name of ['account', 'dns_suffix', 'endpoint'] as const) {
      if (!value[name]) fail(`triton SD configuration requires an ${name}`);
    }
  }),
  uyuni: withHttp({ server: yes(str), username: yes(str), password: yes(str) }, (value, fail) => {
    if (!value.server) fail('Uyuni SD configuration requires server host');
    else if (!value.username) fail('Uyuni SD configuration requires a username');
    else if (!value.password) fail('Uyuni SD configuration requires a password');
  }),
  vultr: withHttp({}, fine),
};

function zookeeper(name: string) {
  return (value: { servers?: string[]; paths?: string[] }, fail: Fail): void => {
    if ((value.servers ?? []).length === 0) fail(`${name} SD config must contain at least one Zookeeper server`);
    if ((value.paths ?? []).length === 0) fail(`${name} SD config must contain at least one path`);
    for (const path of value.paths ?? [])
      if (!path.startsWith('/')) fail(`${name} SD config paths must begin with '/': ${path}`, 'paths');
  };
}

/** Fields for every discovery section, for a scrape config or an Alertmanager to take in. */
export const discoveryFields: Fields = Object.fromEntries(
  Object.entries(SECTIONS).map(([name, decode]) => [
    `${name}_sd_configs`,
    no(list(decode, `empty or null section in ${name}_sd_configs`)),
  ]),
);

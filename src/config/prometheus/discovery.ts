/**
 * Service discovery sections: which there are, and what Prometheus refuses in them.
 *
 * Those in discovery-sections.ts take effect; every other section is judged (a file that Prometheus refuses is refused) and noted
 * as unsupported. Sections whose fields differ between versions and vendors are lenient about unknown fields.
 */
import { type Decoded, type Decoder, duration, type Field, int, list, no, str, struct, yes } from './decode.ts';
import { requireHttpUrl, supportedFields } from './discovery-sections.ts';
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

/** Sections without effect here, by the name of their key without `_sd_configs`. */
const SECTIONS: Readonly<Record<string, Decoder<unknown>>> = {
  aws: section({ role: yes(str) }, fine),
  azure,
  digitalocean: withHttp({}, fine),
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
  gce: section({ ...common, project: yes(str), zone: yes(str) }, (value, fail) => {
    if (!value.project) fail('GCE SD configuration requires a project');
    if (!value.zone) fail('GCE SD configuration requires a zone');
  }),
  hetzner: withHttp({ role: yes(str) }, (value, fail) => {
    if (!value.role) fail('role missing (one of: robot, hcloud)');
    else if (!['robot', 'hcloud'].includes(value.role)) fail(`unknown role ${JSON.stringify(value.role)}`, 'role');
  }),
  ionos: withHttp({ datacenter_id: yes(str) }, (value, fail) => {
    if (!value.datacenter_id) fail("datacenter id can't be empty");
  }),
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
export const discoveryFields: Fields = {
  ...supportedFields,
  ...Object.fromEntries(
    Object.entries(SECTIONS).map(([name, decode]) => [
      `${name}_sd_configs`,
      no(list(decode, `empty or null section in ${name}_sd_configs`)),
    ]),
  ),
};

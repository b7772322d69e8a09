/**
 * How to reach an API server: from the section itself, a kubeconfig file, or what a pod is given by its cluster. Programs that a kubeconfig
 * names for signing in (exec, auth-provider) are not run.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import type { HttpClientSettings, TlsSettings } from '../../../lib/http-client/settings.ts';
import type { KubernetesSection } from '../sections.ts';
import { items, record, text } from '../untrusted.ts';

export interface Access {
  /** Without a slash at the end. */
  server: string;
  settings: HttpClientSettings;
  /** Folder that file names in the settings are relative to. */
  baseDir: string;
}

export interface PodEnvironment {
  variables: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its token, CA and namespace. */
  accountFolder: string;
}

const ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

export const podEnvironment: PodEnvironment = { variables: process.env, accountFolder: ACCOUNT_FOLDER };

/** Throws with a message for people. */
export function accessOf(section: KubernetesSection, environment: PodEnvironment): Access {
  const { apiServer, kubeconfigFile, httpClient, baseDir } = section;
  if (apiServer !== '') return { server: bare(apiServer), settings: httpClient, baseDir };
  return kubeconfigFile === '' ? inCluster(environment) : fromKubeconfig(resolve(baseDir, kubeconfigFile));
}

/** The namespaces to look in; [''] = all. */
export function namespacesOf(section: KubernetesSection, environment: PodEnvironment): string[] {
  const names = [...section.namespaces];
  if (section.ownNamespace) {
    const file = resolve(environment.accountFolder, 'namespace');
    try {
      names.push(readFileSync(file, 'utf8').trim());
    } catch (error) {
      throw new Error(`own_namespace: cannot read ${file}: this is no pod with a service account`, { cause: error });
    }
  }
  return names.length === 0 ? [''] : [...new Set(names)];
}

function bare(url: string): string {
  return (/^https?:\/\//.test(url) ? url : `http://${url}`).replace(/\/+$/, '');
}

function inCluster({ variables, accountFolder }: PodEnvironment): Access {
  const host = variables.KUBERNETES_SERVICE_HOST ?? '';
  const port = variables.KUBERNETES_SERVICE_PORT ?? '';
  if (host === '' || port === '') {
    throw new Error(
      'not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; name an api_server or a kubeconfig_file',
    );
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    settings: {
      authorization: { type: 'Bearer', credentials_file: resolve(accountFolder, 'token') },
      tls_config: { ca_file: resolve(accountFolder, 'ca.crt') },
    },
    baseDir: accountFolder,
  };
}

export function fromKubeconfig(file: string): Access {
  const config = record(parse(readFileSync(file, 'utf8'), { maxAliasCount: 100 }));
  const fail = (message: string): Error => new Error(`${file}: ${message}`);
  const named = (list: unknown, name: string, part: string): Readonly<Record<string, unknown>> => {
    const entry = items(list)
      .map(record)
      .find(candidate => candidate.name === name);
    if (entry === undefined) throw fail(`there is no ${part} ${JSON.stringify(name)}`);
    return record(entry[part]);
  };
  const current = text(config['current-context']);
  if (current === '') throw fail('current-context is not set');
  const context = named(config.contexts, current, 'context');
  const cluster = named(config.clusters, text(context.cluster), 'cluster');
  const userName = text(context.user);
  const user = userName === '' ? {} : named(config.users, userName, 'user');
  const server = text(cluster.server);
  if (server === '') throw fail('the cluster has no server');
  for (const way of ['exec', 'auth-provider']) {
    if (user[way] !== undefined)
      throw fail(`users that sign in by ${way} are not supported; use a token or certificate`);
  }
  return { server: bare(server), settings: settingsOf(cluster, user), baseDir: dirname(file) };
}

function settingsOf(
  cluster: Readonly<Record<string, unknown>>,
  user: Readonly<Record<string, unknown>>,
): HttpClientSettings {
  const settings: HttpClientSettings = { tls_config: tlsOf(cluster, user) };
  const token = text(user.token);
  const tokenFile = text(user.tokenFile);
  // The file wins, as it is the one that is kept fresh.
  if (tokenFile !== '') settings.authorization = { type: 'Bearer', credentials_file: tokenFile };
  else if (token !== '') settings.authorization = { type: 'Bearer', credentials: token };
  else if (text(user.username) !== '') {
    settings.basic_auth = { username: text(user.username), password: text(user.password) };
  }
  const proxy = text(cluster['proxy-url']);
  if (proxy !== '') settings.proxy_url = proxy;
  return settings;
}

function tlsOf(cluster: Readonly<Record<string, unknown>>, user: Readonly<Record<string, unknown>>): TlsSettings {
  const tls: TlsSettings = {};
  const decoded = (value: unknown): string => Buffer.from(text(value), 'base64').toString('utf8');
  const put = (
    from: Readonly<Record<string, unknown>>,
    name: string,
    inline: 'ca' | 'cert' | 'key',
    file: 'ca_file' | 'cert_file' | 'key_file',
  ): void => {
    const data = decoded(from[`${name}-data`]);
    if (data !== '') tls[inline] = data;
    else if (text(from[name]) !== '') tls[file] = text(from[name]);
  };
  put(cluster, 'certificate-authority', 'ca', 'ca_file');
  put(user, 'client-certificate', 'cert', 'cert_file');
  put(user, 'client-key', 'key', 'key_file');
  if (cluster['insecure-skip-tls-verify'] === true) tls.insecure_skip_verify = true;
  const name = text(cluster['tls-server-name']);
  if (name !== '') tls.server_name = name;
  return tls;
}

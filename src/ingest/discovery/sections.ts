/**
 * What discovery is told: one section per mechanism, with its defaults filled in. Structurally what the configuration of a
 * Prometheus file gives; this folder knows nothing of configuration files.
 */
import type { HttpClientSettings } from '../../lib/http-client/settings.ts';

interface OverHttp {
  httpClient: HttpClientSettings;
  /** Folder that file names are relative to. */
  baseDir: string;
}

export interface FileSection {
  mechanism: 'file';
  /** Paths; wildcards in the last part. */
  files: readonly string[];
  refreshIntervalMs: number;
  baseDir: string;
}

export interface HttpSection extends OverHttp {
  mechanism: 'http';
  url: string;
  refreshIntervalMs: number;
}

export interface DnsSection {
  mechanism: 'dns';
  names: readonly string[];
  type: 'A' | 'AAAA' | 'SRV' | 'MX' | 'NS';
  /** For records that have none. */
  port: number;
  refreshIntervalMs: number;
}

export interface ConsulSection extends OverHttp {
  mechanism: 'consul';
  server: string;
  scheme: string;
  pathPrefix: string;
  token: string;
  datacenter: string;
  namespace: string;
  partition: string;
  tagSeparator: string;
  allowStale: boolean;
  services: readonly string[];
  tags: readonly string[];
  nodeMeta: ReadonlyMap<string, string>;
  filter: string;
  healthFilter: string;
  /** Least time between two queries of the same thing; 0 = not said. */
  refreshIntervalMs: number;
}

export interface KubernetesSection extends OverHttp {
  mechanism: 'kubernetes';
  role: string;
  apiServer: string;
  kubeconfigFile: string;
  ownNamespace: boolean;
  namespaces: readonly string[];
  selectors: readonly { role: string; label: string; field: string }[];
  attachNode: boolean;
  attachNamespace: boolean;
}

export interface DockerSection extends OverHttp {
  mechanism: 'docker';
  host: string;
  port: number;
  filters: readonly { name: string; values: readonly string[] }[];
  hostNetworkingHost: string;
  matchFirstNetwork: boolean;
  refreshIntervalMs: number;
}

export type DiscoverySection =
  | FileSection
  | HttpSection
  | DnsSection
  | ConsulSection
  | KubernetesSection
  | DockerSection;

/** For people: what is asked. Without credentials. */
export function describeSection(section: DiscoverySection): string {
  switch (section.mechanism) {
    case 'file':
      return section.files.join(', ');
    case 'http':
      return withoutUser(section.url);
    case 'dns':
      return `${section.type} of ${section.names.join(', ')}`;
    case 'consul':
      return withoutUser(section.server);
    case 'kubernetes':
      return `${section.role} of ${withoutUser(section.apiServer || section.kubeconfigFile || 'this cluster')}`;
    case 'docker':
      return withoutUser(section.host);
  }
}

function withoutUser(text: string): string {
  return text.replace(/^([a-z]+:\/\/)?[^/@]*@/, '$1');
}

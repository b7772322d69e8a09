/**
 * DockerDiscoverer: the running containers of a Docker daemon, over its unix socket or TCP, asked again and again. One target for each
 * exposed TCP port of a container in each of its networks (or in the first by name), one without where none is exposed.
 */
import {
  BODY_BYTES_MAX,
  type Discoverer,
  type DiscoveryContext,
  getJson,
  refreshEvery,
  type SdHttp,
} from './discoverer.ts';
import type { DockerSection } from './sections.ts';
import { joinHostPort, labelName, type TargetGroup } from './target-group.ts';
import { UnixHttp } from './unix-http.ts';
import { items, num, pairs, record, text, texts } from './untrusted.ts';

const PREFIX = '__meta_docker_';
/** Containers that share a network through one another, in a row. */
const SHARED_DEPTH_MAX = 32;

interface Container {
  id: string;
  name: string;
  networkMode: string;
  labels: [string, string][];
  networks: { name: string; id: string; ip: string }[];
  ports: { privatePort: number; publicPort: number; publicIp: string; type: string }[];
}

export class DockerDiscoverer implements Discoverer {
  private readonly section: DockerSection;

  constructor(section: DockerSection) {
    this.section = section;
  }

  async run(context: DiscoveryContext): Promise<void> {
    const { host, httpClient, baseDir, refreshIntervalMs } = this.section;
    if (!/^(?:unix:\/\/\/|(?:tcp|https?):\/\/[^/])/.test(host)) {
      throw new Error(`host ${JSON.stringify(host)} is not supported: unix:///, tcp://, http:// or https:// is`);
    }
    const socket = /^unix:\/\/(.+)$/.exec(host)?.[1];
    const http = socket === undefined ? context.openHttp(httpClient, baseDir) : new UnixHttp(socket);
    try {
      await refreshEvery(context, refreshIntervalMs, signal => this.refresh(http, signal));
    } finally {
      http.close();
    }
  }

  private async refresh(http: SdHttp, signal: AbortSignal): Promise<TargetGroup[]> {
    const base = this.baseUrl();
    const { filters } = this.section;
    const wanted = Object.fromEntries(
      filters.map(({ name, values }) => [name, Object.fromEntries(values.map(value => [value, true]))]),
    );
    const query = filters.length === 0 ? '' : `?filters=${encodeURIComponent(JSON.stringify(wanted))}`;
    const get = async (path: string): Promise<readonly unknown[]> =>
      items((await getJson(http, { url: base + path, signal, bodyBytesMax: BODY_BYTES_MAX })).value);
    const containers = (await get(`/containers/json${query}`)).map(containerOf);
    const networks = new Map((await get('/networks')).map(networkLabels));
    const byId = new Map(containers.map(container => [container.id, container]));
    const targets = containers
      .filter(container => container.name !== '')
      .flatMap(container => this.targetsOf(container, byId, networks));
    return [{ source: 'Docker', labels: new Map(), targets }];
  }

  private baseUrl(): string {
    const { host, httpClient } = this.section;
    if (host.startsWith('unix:')) return 'http://docker';
    const scheme = httpClient.tls_config === undefined ? 'http' : 'https';
    return host.replace(/^tcp:/, `${scheme}:`).replace(/\/+$/, '');
  }

  private targetsOf(
    container: Container,
    byId: ReadonlyMap<string, Container>,
    networks: ReadonlyMap<string, [string, string][]>,
  ): Map<string, string>[] {
    const { matchFirstNetwork, port, hostNetworkingHost } = this.section;
    const common: [string, string][] = [
      [`${PREFIX}container_id`, container.id],
      [`${PREFIX}container_name`, container.name],
      [`${PREFIX}container_network_mode`, container.networkMode],
      ...container.labels.map(([name, value]): [string, string] => [
        `${PREFIX}container_label_${labelName(name)}`,
        value,
      ]),
    ];
    let all = networksOf(container, byId);
    if (matchFirstNetwork) all = all.slice(0, 1);
    return all.flatMap(({ id, ip }) => {
      const shared = [...common, ...(networks.get(id) ?? [])];
      const exposed = container.ports.filter(({ type }) => type === 'tcp');
      if (exposed.length === 0) {
        const address = container.networkMode === 'host' ? hostNetworkingHost : joinHostPort(ip, port);
        return [new Map([['__address__', address], [`${PREFIX}network_ip`, ip], ...shared])];
      }
      return exposed.map(({ privatePort, publicPort, publicIp }) => {
        const labels = new Map([
          ['__address__', joinHostPort(ip, privatePort)],
          [`${PREFIX}network_ip`, ip],
          [`${PREFIX}port_private`, String(privatePort)],
          ...shared,
        ]);
        if (publicPort > 0) {
          labels.set(`${PREFIX}port_public`, String(publicPort));
          labels.set(`${PREFIX}port_public_ip`, publicIp);
        }
        return labels;
      });
    });
  }
}

/** A container without networks may live in another's (`--network container:ID`). */
function networksOf(container: Container, byId: ReadonlyMap<string, Container>): Container['networks'] {
  let at: Container | undefined = container;
  for (let depth = 0; at !== undefined && depth < SHARED_DEPTH_MAX; depth++) {
    if (at.networks.length > 0) return at.networks;
    const other: string | undefined = /^container:(.+)$/.exec(at.networkMode)?.[1];
    at = other === undefined ? undefined : byId.get(other);
  }
  return [];
}

function containerOf(value: unknown): Container {
  const all = record(value);
  return {
    id: text(all.Id),
    name: texts(all.Names)[0] ?? '',
    networkMode: text(record(all.HostConfig).NetworkMode),
    labels: pairs(all.Labels),
    networks: Object.entries(record(record(all.NetworkSettings).Networks))
      .filter(([, network]) => network !== null)
      .map(([name, network]) => ({
        name,
        id: text(record(network).NetworkID),
        ip: text(record(network).IPAddress),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    ports: items(all.Ports).map(port => {
      const { PrivatePort, PublicPort, IP, Type } = record(port);
      return { privatePort: num(PrivatePort), publicPort: num(PublicPort), publicIp: text(IP), type: text(Type) };
    }),
  };
}

function networkLabels(value: unknown): [string, [string, string][]] {
  const all = record(value);
  const id = text(all.Id);
  const labels: [string, string][] = [
    [`${PREFIX}network_id`, id],
    [`${PREFIX}network_name`, text(all.Name)],
    [`${PREFIX}network_scope`, text(all.Scope)],
    [`${PREFIX}network_internal`, String(all.Internal === true)],
    [`${PREFIX}network_ingress`, String(all.Ingress === true)],
  ];
  for (const [name, label] of pairs(all.Labels)) labels.push([`${PREFIX}network_label_${labelName(name)}`, label]);
  return [id, labels];
}

/**
 * Target groups of Kubernetes objects, one builder per role. What an object refers to (the pods behind an address, the service of a slice,
 * a node, a namespace) comes through `Related`, which also notes the reference, so that the object is built anew when that changes.
 */
import { joinHostPort, labelName, type TargetGroup } from '../target-group.ts';
import {
  addContainer,
  addContainerPort,
  addLabelsAndAnnotations,
  addMeta,
  addNode,
  addPod,
  addService,
  type LabelMap,
  PREFIX,
} from './labels.ts';
import {
  type Container,
  type EndpointAddress,
  type EndpointSlice,
  type Endpoints,
  type Ingress,
  type Kind,
  type KubernetesObject,
  keyOf,
  type Node,
  type ObjectOf,
  type Pod,
  type Reference,
  type Service,
} from './objects.ts';

export interface Related {
  find<K extends Kind>(kind: K, key: string): ObjectOf<K> | undefined;
  attachNode: boolean;
  attachNamespace: boolean;
}

export function sourceOf(kind: Kind, key: string): string {
  return `${kind === 'service' ? 'svc' : kind}/${key}`;
}

export function buildGroup(object: KubernetesObject, related: Related): TargetGroup {
  const source = sourceOf(object.kind, keyOf(object.meta));
  const labels: LabelMap = new Map();
  const namespace = object.meta.namespace;
  if (namespace !== '') {
    labels.set(`${PREFIX}namespace`, namespace);
    const found = related.attachNamespace ? related.find('namespace', namespace) : undefined;
    if (found !== undefined) addLabelsAndAnnotations(labels, found.meta, 'namespace');
  }
  return { source, labels, targets: targetsOf(object, labels, related) };
}

/** Also adds to the labels of the group. */
function targetsOf(object: KubernetesObject, labels: LabelMap, related: Related): LabelMap[] {
  switch (object.kind) {
    case 'pod':
      return podTargets(object, labels, related);
    case 'service':
      return serviceTargets(object, labels);
    case 'endpoints':
      return endpointsTargets(object, labels, related);
    case 'endpointslice':
      return sliceTargets(object, labels, related);
    case 'node':
      return nodeTargets(object, labels);
    case 'ingress':
      return ingressTargets(object, labels);
    case 'namespace':
      return [];
  }
}

function podTargets(pod: Pod, labels: LabelMap, related: Related): LabelMap[] {
  // A pod that starts, or was evicted.
  if (pod.ip === '') return [];
  addPod(labels, pod);
  attachNode(labels, related, pod.nodeName);
  return pod.containers.flatMap(container => {
    if (container.ports.length === 0) {
      const target: LabelMap = new Map([['__address__', pod.ip]]);
      addContainer(target, container);
      return [target];
    }
    return container.ports.map(port => {
      const target: LabelMap = new Map([['__address__', joinHostPort(pod.ip, port.number)]]);
      addContainer(target, container);
      addContainerPort(target, port);
      return target;
    });
  });
}

function serviceTargets(service: Service, labels: LabelMap): LabelMap[] {
  const { name, namespace } = service.meta;
  addService(labels, service);
  return service.ports.map(port => {
    const target: LabelMap = new Map([
      ['__address__', joinHostPort(`${name}.${namespace}.svc`, port.number)],
      [`${PREFIX}service_port_name`, port.name],
      [`${PREFIX}service_port_number`, String(port.number)],
      [`${PREFIX}service_port_protocol`, port.protocol],
      [`${PREFIX}service_type`, service.type],
    ]);
    if (service.type === 'ExternalName') target.set(`${PREFIX}service_external_name`, service.externalName);
    else target.set(`${PREFIX}service_cluster_ip`, service.clusterIp);
    if (service.type === 'LoadBalancer') target.set(`${PREFIX}service_loadbalancer_ip`, service.loadBalancerIp);
    return target;
  });
}

function endpointsTargets(endpoints: Endpoints, labels: LabelMap, related: Related): LabelMap[] {
  const service = related.find('service', keyOf(endpoints.meta));
  addMeta(labels, endpoints.meta, 'endpoints');
  if (service !== undefined) addService(labels, service);
  const pods = new SeenPods(related);
  const out: LabelMap[] = [];
  const add = (address: EndpointAddress, port: { name: string; number: number; protocol: string }, ready: boolean) => {
    const target: LabelMap = new Map([
      ['__address__', joinHostPort(address.ip, port.number)],
      [`${PREFIX}endpoint_port_name`, port.name],
      [`${PREFIX}endpoint_port_protocol`, port.protocol],
      [`${PREFIX}endpoint_ready`, String(ready)],
    ]);
    if (address.target !== null) {
      target.set(`${PREFIX}endpoint_address_target_kind`, address.target.kind);
      target.set(`${PREFIX}endpoint_address_target_name`, address.target.name);
    }
    if (address.nodeName !== null) target.set(`${PREFIX}endpoint_node_name`, address.nodeName);
    if (address.hostname !== '') target.set(`${PREFIX}endpoint_hostname`, address.hostname);
    attachTargetNode(target, related, address.target, address.nodeName);
    pods.add(target, address.target, port.number);
    out.push(target);
  };
  for (const { addresses, notReady, ports } of endpoints.subsets) {
    for (const port of ports) {
      for (const address of addresses) add(address, port, true);
      for (const address of notReady) add(address, port, false);
    }
  }
  return [...out, ...pods.otherPorts()];
}

function sliceTargets(slice: EndpointSlice, labels: LabelMap, related: Related): LabelMap[] {
  labels.set(`${PREFIX}endpointslice_address_type`, slice.addressType);
  addMeta(labels, slice.meta, 'endpointslice');
  const serviceName = slice.meta.labels.find(([name]) => name === 'kubernetes.io/service-name')?.[1];
  const service =
    serviceName === undefined ? undefined : related.find('service', `${slice.meta.namespace}/${serviceName}`);
  if (service !== undefined) addService(labels, service);
  const pods = new SeenPods(related);
  const out: LabelMap[] = [];
  for (const endpoint of slice.endpoints) {
    for (const port of slice.ports) {
      for (const address of endpoint.addresses) {
        const target = sliceTarget(address, endpoint, port);
        attachTargetNode(target, related, endpoint.target, endpoint.nodeName);
        pods.add(target, endpoint.target, port.number);
        out.push(target);
      }
    }
  }
  return [...out, ...pods.otherPorts()];
}

function sliceTarget(
  address: string,
  endpoint: EndpointSlice['endpoints'][number],
  port: EndpointSlice['ports'][number],
): LabelMap {
  const target: LabelMap = new Map([
    ['__address__', port.number === null ? address : joinHostPort(address, port.number)],
  ]);
  const set = (name: string, value: string | number | boolean | null): void => {
    if (value !== null) target.set(`${PREFIX}endpointslice_${name}`, String(value));
  };
  set('port_name', port.name);
  set('port_protocol', port.protocol);
  set('port', port.number);
  set('port_app_protocol', port.appProtocol);
  set('endpoint_conditions_ready', endpoint.ready);
  set('endpoint_conditions_serving', endpoint.serving);
  set('endpoint_conditions_terminating', endpoint.terminating);
  set('endpoint_hostname', endpoint.hostname);
  set('endpoint_node_name', endpoint.nodeName);
  set('endpoint_zone', endpoint.zone);
  if (endpoint.target !== null) {
    set('address_target_kind', endpoint.target.kind);
    set('address_target_name', endpoint.target.name);
  }
  for (const [name, value] of endpoint.topology) {
    set(`endpoint_topology_${labelName(name)}`, value);
    set(`endpoint_topology_present_${labelName(name)}`, true);
  }
  return target;
}

/** Pods behind addresses: their labels on the targets, and a target of its own for each port that no address covers. */
class SeenPods {
  private readonly related: Related;
  private readonly seen = new Map<string, { pod: Pod; ports: Set<number> }>();

  constructor(related: Related) {
    this.related = related;
  }

  add(target: LabelMap, reference: Reference | null, port: number | null): void {
    if (reference?.kind !== 'Pod') return;
    const key = `${reference.namespace}/${reference.name}`;
    const pod = this.related.find('pod', key);
    if (pod === undefined) return;
    let entry = this.seen.get(key);
    if (entry === undefined) {
      entry = { pod, ports: new Set() };
      this.seen.set(key, entry);
    }
    addPod(target, pod);
    if (port === null) return;
    entry.ports.add(port);
    for (const container of pod.containers) {
      const own = container.ports.find(({ number }) => number === port);
      if (own !== undefined) addOwner(target, container, own);
    }
  }

  otherPorts(): LabelMap[] {
    const out: LabelMap[] = [];
    for (const { pod, ports } of this.seen.values()) {
      if (pod.ip === '') continue;
      for (const container of pod.containers) {
        for (const port of container.ports) {
          if (ports.has(port.number)) continue;
          const target: LabelMap = new Map([['__address__', joinHostPort(pod.ip, port.number)]]);
          addOwner(target, container, port);
          addPod(target, pod);
          out.push(target);
        }
      }
    }
    return out;
  }
}

/** Roles of addresses do not tell a container's id. */
function addOwner(target: LabelMap, container: Container, port: Container['ports'][number]): void {
  addContainer(target, container);
  target.delete(`${PREFIX}pod_container_id`);
  addContainerPort(target, port);
}

function attachTargetNode(
  target: LabelMap,
  related: Related,
  reference: Reference | null,
  nodeName: string | null,
): void {
  attachNode(target, related, reference?.kind === 'Node' ? reference.name : nodeName);
}

function attachNode(labels: LabelMap, related: Related, name: string | null): void {
  if (!related.attachNode || name === null || name === '') return;
  const node = related.find('node', name);
  if (node !== undefined) addNode(labels, node);
}

/** Types of a node's addresses, the preferred first. */
const NODE_ADDRESSES = ['InternalIP', 'InternalDNS', 'ExternalIP', 'ExternalDNS', 'LegacyHostIP', 'Hostname'];

function nodeTargets(node: Node, labels: LabelMap): LabelMap[] {
  labels.set(`${PREFIX}node_provider_id`, node.providerId);
  addNode(labels, node);
  const type = NODE_ADDRESSES.find(wanted => node.addresses.some(address => address.type === wanted));
  const address = node.addresses.find(candidate => candidate.type === type)?.address;
  if (address === undefined) return [];
  const target: LabelMap = new Map([
    ['__address__', joinHostPort(address, node.kubeletPort)],
    ['instance', node.meta.name],
  ]);
  for (const other of node.addresses) {
    const name = `${PREFIX}node_address_${labelName(other.type)}`;
    if (!target.has(name)) target.set(name, other.address);
  }
  return [target];
}

function ingressTargets(ingress: Ingress, labels: LabelMap): LabelMap[] {
  addMeta(labels, ingress.meta, 'ingress');
  if (ingress.className !== null) labels.set(`${PREFIX}ingress_class_name`, ingress.className);
  return ingress.rules.flatMap(({ host, paths }) => {
    const secure = ingress.tlsHosts.some(pattern => coversHost(pattern, host));
    return (paths ?? ['/']).map(
      (path): LabelMap =>
        new Map([
          ['__address__', host],
          [`${PREFIX}ingress_scheme`, secure ? 'https' : 'http'],
          [`${PREFIX}ingress_host`, host],
          [`${PREFIX}ingress_path`, path === '' ? '/' : path],
        ]),
    );
  });
}

/** Equal, or `*.` in the place of the host's first part. */
function coversHost(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  return pattern.startsWith('*.') && host.includes('.') && pattern.slice(1) === host.slice(host.indexOf('.'));
}

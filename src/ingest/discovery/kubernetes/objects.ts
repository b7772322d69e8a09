/**
 * The parts of Kubernetes objects that targets are made of, taken out of what the API server sends as soon as it comes: a pod as sent
 * is ten times as large, most of it bookkeeping. Every field may be missing or of another kind; then it is empty.
 */
import { items, num, optionalText, pairs, record, text, texts } from '../untrusted.ts';

export interface ObjectMeta {
  name: string;
  /** '' for those that have none. */
  namespace: string;
  uid: string;
  labels: [string, string][];
  annotations: [string, string][];
}

export interface Container {
  name: string;
  image: string;
  /** `<type>://<id>`, '' while it has none. */
  id: string;
  /** Runs before the others, or beside them where it is restarted always. */
  init: boolean;
  ports: { name: string; number: number; protocol: string }[];
}

export interface Pod {
  kind: 'pod';
  meta: ObjectMeta;
  ip: string;
  hostIp: string;
  nodeName: string;
  phase: string;
  ready: string;
  controller: { kind: string; name: string } | null;
  containers: Container[];
}

export interface Service {
  kind: 'service';
  meta: ObjectMeta;
  type: string;
  clusterIp: string;
  externalName: string;
  loadBalancerIp: string;
  ports: { name: string; number: number; protocol: string }[];
}

export interface Reference {
  kind: string;
  namespace: string;
  name: string;
}

export interface EndpointAddress {
  ip: string;
  hostname: string;
  nodeName: string | null;
  target: Reference | null;
}

export interface Endpoints {
  kind: 'endpoints';
  meta: ObjectMeta;
  subsets: {
    addresses: EndpointAddress[];
    notReady: EndpointAddress[];
    ports: { name: string; number: number; protocol: string }[];
  }[];
}

export interface EndpointSlice {
  kind: 'endpointslice';
  meta: ObjectMeta;
  addressType: string;
  endpoints: {
    addresses: string[];
    ready: boolean | null;
    serving: boolean | null;
    terminating: boolean | null;
    hostname: string | null;
    nodeName: string | null;
    zone: string | null;
    topology: [string, string][];
    target: Reference | null;
  }[];
  ports: { name: string | null; number: number | null; protocol: string | null; appProtocol: string | null }[];
}

export interface Node {
  kind: 'node';
  meta: ObjectMeta;
  providerId: string;
  kubeletPort: number;
  addresses: { type: string; address: string }[];
}

export interface Ingress {
  kind: 'ingress';
  meta: ObjectMeta;
  className: string | null;
  tlsHosts: string[];
  /** `paths` null: a rule without any, which means all. */
  rules: { host: string; paths: string[] | null }[];
}

export interface Namespace {
  kind: 'namespace';
  meta: ObjectMeta;
}

export type KubernetesObject = Pod | Service | Endpoints | EndpointSlice | Node | Ingress | Namespace;
export type Kind = KubernetesObject['kind'];
export type ObjectOf<K extends Kind> = Extract<KubernetesObject, { kind: K }>;

/** Where a kind's collection is, without namespace. */
export const RESOURCES: Readonly<Record<Kind, { api: string; plural: string; namespaced: boolean }>> = {
  pod: { api: '/api/v1', plural: 'pods', namespaced: true },
  service: { api: '/api/v1', plural: 'services', namespaced: true },
  endpoints: { api: '/api/v1', plural: 'endpoints', namespaced: true },
  endpointslice: { api: '/apis/discovery.k8s.io/v1', plural: 'endpointslices', namespaced: true },
  node: { api: '/api/v1', plural: 'nodes', namespaced: false },
  ingress: { api: '/apis/networking.k8s.io/v1', plural: 'ingresses', namespaced: true },
  namespace: { api: '/api/v1', plural: 'namespaces', namespaced: false },
};

/** `namespace/name`, or the name alone. */
export function keyOf(meta: ObjectMeta): string {
  return meta.namespace === '' ? meta.name : `${meta.namespace}/${meta.name}`;
}

export function objectOf(kind: Kind, value: unknown): KubernetesObject {
  const all = record(value);
  const meta = metaOf(all.metadata);
  const spec = record(all.spec);
  const status = record(all.status);
  switch (kind) {
    case 'pod':
      return podOf(meta, record(all.metadata), spec, status);
    case 'service':
      return {
        kind,
        meta,
        type: text(spec.type),
        clusterIp: text(spec.clusterIP),
        externalName: text(spec.externalName),
        loadBalancerIp: text(spec.loadBalancerIP),
        ports: items(spec.ports).map(portOf),
      };
    case 'endpoints':
      return {
        kind,
        meta,
        subsets: items(all.subsets).map(subset => {
          const { addresses, notReadyAddresses, ports } = record(subset);
          return {
            addresses: items(addresses).map(addressOf),
            notReady: items(notReadyAddresses).map(addressOf),
            ports: items(ports).map(portOf),
          };
        }),
      };
    case 'endpointslice':
      return sliceOf(meta, all);
    case 'node':
      return {
        kind,
        meta,
        providerId: text(spec.providerID),
        kubeletPort: num(record(record(status.daemonEndpoints).kubeletEndpoint).Port),
        addresses: items(status.addresses).map(address => ({
          type: text(record(address).type),
          address: text(record(address).address),
        })),
      };
    case 'ingress':
      return {
        kind,
        meta,
        className: optionalText(spec.ingressClassName),
        tlsHosts: items(spec.tls).flatMap(entry => texts(record(entry).hosts)),
        rules: items(spec.rules).map(rule => {
          const { host, http } = record(rule);
          const paths = items(record(http).paths).map(path => text(record(path).path));
          return { host: text(host), paths: http === undefined || http === null ? null : paths };
        }),
      };
    case 'namespace':
      return { kind, meta };
  }
}

function metaOf(value: unknown): ObjectMeta {
  const { name, namespace, uid, labels, annotations } = record(value);
  return {
    name: text(name),
    namespace: text(namespace),
    uid: text(uid),
    labels: pairs(labels),
    annotations: pairs(annotations),
  };
}

type Part = Readonly<Record<string, unknown>>;

function podOf(meta: ObjectMeta, metadata: Part, spec: Part, status: Part): Pod {
  const owner = items(metadata.ownerReferences)
    .map(record)
    .find(reference => reference.controller === true);
  const ready = items(status.conditions)
    .map(record)
    .find(condition => condition.type === 'Ready');
  return {
    kind: 'pod',
    meta,
    ip: text(status.podIP),
    hostIp: text(status.hostIP),
    nodeName: text(spec.nodeName),
    phase: text(status.phase),
    ready: (ready === undefined ? 'Unknown' : text(ready.status)).toLowerCase(),
    controller: owner === undefined ? null : { kind: text(owner.kind), name: text(owner.name) },
    containers: [
      ...containersOf(spec.containers, status.containerStatuses, false),
      ...containersOf(spec.initContainers, status.initContainerStatuses, true),
    ],
  };
}

function containersOf(specs: unknown, statuses: unknown, init: boolean): Container[] {
  const ids = new Map(items(statuses).map(status => [text(record(status).name), text(record(status).containerID)]));
  return items(specs).map(value => {
    const { name, image, ports } = record(value);
    return {
      name: text(name),
      image: text(image),
      id: ids.get(text(name)) ?? '',
      init,
      ports: items(ports).map(port => {
        const { name: portName, containerPort, protocol } = record(port);
        return { name: text(portName), number: num(containerPort), protocol: text(protocol) };
      }),
    };
  });
}

function portOf(value: unknown): { name: string; number: number; protocol: string } {
  const { name, port, protocol } = record(value);
  return { name: text(name), number: num(port), protocol: text(protocol) };
}

function addressOf(value: unknown): EndpointAddress {
  const { ip, hostname, nodeName, targetRef } = record(value);
  return {
    ip: text(ip),
    hostname: text(hostname),
    nodeName: optionalText(nodeName),
    target: referenceOf(targetRef),
  };
}

function referenceOf(value: unknown): Reference | null {
  if (typeof value !== 'object' || value === null) return null;
  const { kind, namespace, name } = record(value);
  return { kind: text(kind), namespace: text(namespace), name: text(name) };
}

function sliceOf(meta: ObjectMeta, all: Part): EndpointSlice {
  const flag = (value: unknown): boolean | null => (typeof value === 'boolean' ? value : null);
  return {
    kind: 'endpointslice',
    meta,
    addressType: text(all.addressType),
    endpoints: items(all.endpoints).map(value => {
      const { addresses, conditions, hostname, nodeName, zone, deprecatedTopology, targetRef } = record(value);
      const { ready, serving, terminating } = record(conditions);
      return {
        addresses: texts(addresses),
        ready: flag(ready),
        serving: flag(serving),
        terminating: flag(terminating),
        hostname: optionalText(hostname),
        nodeName: optionalText(nodeName),
        zone: optionalText(zone),
        topology: pairs(deprecatedTopology),
        target: referenceOf(targetRef),
      };
    }),
    ports: items(all.ports).map(value => {
      const { name, port, protocol, appProtocol } = record(value);
      return {
        name: optionalText(name),
        number: typeof port === 'number' ? num(port) : null,
        protocol: optionalText(protocol),
        appProtocol: optionalText(appProtocol),
      };
    }),
  };
}

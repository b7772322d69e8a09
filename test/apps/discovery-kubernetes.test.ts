/** Kubernetes discovery against a real API server: every role, attached metadata, watches, disconnection, versions that are gone. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { KubernetesSection } from '../../src/ingest/discovery/sections.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type DiscoveryRig, discoveryRig } from '../support/discovery-rig.ts';
import { type KubeApi, startKubeApi } from '../support/kube-api.ts';
import { needs } from '../support/programs.ts';

const skip = needs('kube-apiserver', 'etcd');

function meta(name: string, namespace = '', changes: object = {}): Record<string, unknown> {
  return {
    name,
    ...(namespace === '' ? {} : { namespace }),
    labels: { 'app.kubernetes.io/name': name },
    annotations: { 'prometheus.io/scrape': 'true' },
    ...changes,
  };
}

function pod(name: string, ip: string, ready = true): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(name, 'shop', {
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-1', uid: 'u1', controller: true }],
    }),
    spec: {
      nodeName: 'node-1',
      containers: [
        {
          name: 'web',
          image: 'web:1',
          ports: [
            { name: 'http', containerPort: 8080 },
            { name: 'metrics', containerPort: 9100 },
          ],
        },
        { name: 'bare', image: 'bare:1' },
      ],
      initContainers: [{ name: 'init', image: 'init:1', ports: [{ name: 'i', containerPort: 7000 }] }],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '192.168.0.1',
      hostIPs: [{ ip: '192.168.0.1' }],
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [
        { name: 'web', image: 'web:1', imageID: 'x', ready: true, restartCount: 0, containerID: 'containerd://abc' },
      ],
    },
  };
}

async function fill(api: KubeApi): Promise<void> {
  await api.put('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: meta('shop') });
  await api.put('/api/v1/nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: meta('node-1'),
    spec: { providerID: 'aws:///x/i-1' },
    status: {
      addresses: [
        { type: 'Hostname', address: 'node-1.local' },
        { type: 'InternalIP', address: '192.168.0.1' },
        { type: 'InternalIP', address: 'fd00::1' },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    },
  });
  await api.put('/api/v1/namespaces/shop/pods', pod('web-1', '10.1.0.1'));
  await api.put('/api/v1/namespaces/shop/services', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta('web', 'shop'),
    spec: { clusterIP: '10.0.0.7', ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  });
  const target = { kind: 'Pod', namespace: 'shop', name: 'web-1' };
  await api.put('/api/v1/namespaces/shop/endpoints', {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: meta('web', 'shop'),
    subsets: [
      {
        addresses: [{ ip: '10.1.0.1', nodeName: 'node-1', targetRef: target }],
        notReadyAddresses: [{ ip: '10.1.0.99', hostname: 'odd' }],
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      },
    ],
  });
  await api.put('/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices', {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: meta('web-abc', 'shop', { labels: { 'kubernetes.io/service-name': 'web' } }),
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: ['10.1.0.1'],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: 'node-1',
        zone: 'z1',
        targetRef: target,
      },
    ],
    ports: [{ name: 'http', port: 8080, protocol: 'TCP', appProtocol: 'http' }],
  });
  await api.put('/apis/networking.k8s.io/v1/namespaces/shop/ingresses', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: meta('web', 'shop'),
    spec: {
      ingressClassName: 'nginx',
      tls: [{ hosts: ['*.example.org'], secretName: 's' }],
      rules: ['shop.example.org', 'plain.example.com'].map(host => ({
        host,
        http: {
          paths: [{ path: '/a', pathType: 'Prefix', backend: { service: { name: 'web', port: { number: 80 } } } }],
        },
      })),
    },
  });
}

function rigOf(t: TestContext, api: KubeApi, role: string, changes: Partial<KubernetesSection> = {}): DiscoveryRig {
  const section: KubernetesSection = {
    mechanism: 'kubernetes',
    role,
    apiServer: api.server,
    kubeconfigFile: '',
    ownNamespace: false,
    namespaces: ['shop'],
    selectors: [],
    attachNode: false,
    attachNamespace: false,
    httpClient: { authorization: { credentials: api.token }, tls_config: { ca_file: api.caFile } },
    baseDir: api.dir,
    ...changes,
  };
  return discoveryRig(t, section, { clock: systemClock });
}

const own = (role: string, name: string): Record<string, string> => ({
  [`__meta_kubernetes_${role}_name`]: name,
  [`__meta_kubernetes_${role}_label_app_kubernetes_io_name`]: name,
  [`__meta_kubernetes_${role}_labelpresent_app_kubernetes_io_name`]: 'true',
  [`__meta_kubernetes_${role}_annotation_prometheus_io_scrape`]: 'true',
  [`__meta_kubernetes_${role}_annotationpresent_prometheus_io_scrape`]: 'true',
});
const NAMESPACE = { __meta_kubernetes_namespace: 'shop' };
const POD = {
  ...own('pod', 'web-1'),
  __meta_kubernetes_pod_ip: '10.1.0.1',
  __meta_kubernetes_pod_ready: 'true',
  __meta_kubernetes_pod_phase: 'Running',
  __meta_kubernetes_pod_node_name: 'node-1',
  __meta_kubernetes_pod_host_ip: '192.168.0.1',
  __meta_kubernetes_pod_controller_kind: 'ReplicaSet',
  __meta_kubernetes_pod_controller_name: 'web-1',
};
const container = (name: string, init: boolean, id: string | null): Record<string, string> => ({
  __meta_kubernetes_pod_container_name: name,
  __meta_kubernetes_pod_container_image: `${name}:1`,
  __meta_kubernetes_pod_container_init: String(init),
  ...(id === null ? {} : { __meta_kubernetes_pod_container_id: id }),
});
const port = (name: string, number: number): Record<string, string> => ({
  __meta_kubernetes_pod_container_port_name: name,
  __meta_kubernetes_pod_container_port_number: String(number),
  __meta_kubernetes_pod_container_port_protocol: 'TCP',
});

/** The server's own uid is not ours to know. */
function withoutUid(targets: Record<string, string>[] | undefined): Record<string, string>[] {
  return (targets ?? []).map(({ __meta_kubernetes_pod_uid: uid, ...rest }) => {
    if (rest.__meta_kubernetes_pod_name !== undefined) assert.match(uid ?? '', /^[0-9a-f-]{36}$/);
    return rest;
  });
}

test('every role, its labels, and changes as they come', { skip }, async t => {
  const api = await startKubeApi(t);
  await fill(api);
  const roles = ['node', 'pod', 'service', 'endpoints', 'endpointslice', 'ingress'];
  const rigs = Object.fromEntries(roles.map(role => [role, rigOf(t, api, role)]));
  const rig = (role: string): DiscoveryRig => rigs[role] ?? assert.fail();
  for (const role of roles) await rig(role).until(() => rig(role).provider.hasSynced, role);

  assert.deepEqual(rig('node').found(), {
    'node/node-1': [
      {
        __address__: '192.168.0.1:10250',
        instance: 'node-1',
        ...own('node', 'node-1'),
        __meta_kubernetes_node_provider_id: 'aws:///x/i-1',
        __meta_kubernetes_node_address_Hostname: 'node-1.local',
        __meta_kubernetes_node_address_InternalIP: '192.168.0.1',
      },
    ],
  });
  assert.deepEqual(withoutUid(rig('pod').found()['pod/shop/web-1']), [
    {
      __address__: '10.1.0.1:8080',
      ...NAMESPACE,
      ...POD,
      ...container('web', false, 'containerd://abc'),
      ...port('http', 8080),
    },
    {
      __address__: '10.1.0.1:9100',
      ...NAMESPACE,
      ...POD,
      ...container('web', false, 'containerd://abc'),
      ...port('metrics', 9100),
    },
    { __address__: '10.1.0.1', ...NAMESPACE, ...POD, ...container('bare', false, '') },
    { __address__: '10.1.0.1:7000', ...NAMESPACE, ...POD, ...container('init', true, ''), ...port('i', 7000) },
  ]);
  assert.deepEqual(rig('service').found(), {
    'svc/shop/web': [
      {
        __address__: 'web.shop.svc:80',
        ...NAMESPACE,
        ...own('service', 'web'),
        __meta_kubernetes_service_port_name: 'http',
        __meta_kubernetes_service_port_number: '80',
        __meta_kubernetes_service_port_protocol: 'TCP',
        __meta_kubernetes_service_type: 'ClusterIP',
        __meta_kubernetes_service_cluster_ip: '10.0.0.7',
      },
    ],
  });
  const endpoint = {
    __meta_kubernetes_endpoint_port_name: 'http',
    __meta_kubernetes_endpoint_port_protocol: 'TCP',
  };
  const group = { ...NAMESPACE, ...own('endpoints', 'web'), ...own('service', 'web') };
  // The server copies a label of its own onto Endpoints of this kind, or not, by version.
  const plain = withoutUid(rig('endpoints').found()['endpoints/shop/web']);
  assert.deepEqual(plain, [
    {
      __address__: '10.1.0.1:8080',
      ...group,
      ...endpoint,
      __meta_kubernetes_endpoint_ready: 'true',
      __meta_kubernetes_endpoint_address_target_kind: 'Pod',
      __meta_kubernetes_endpoint_address_target_name: 'web-1',
      __meta_kubernetes_endpoint_node_name: 'node-1',
      ...POD,
      ...container('web', false, null),
      ...port('http', 8080),
    },
    {
      __address__: '10.1.0.99:8080',
      ...group,
      ...endpoint,
      __meta_kubernetes_endpoint_ready: 'false',
      __meta_kubernetes_endpoint_hostname: 'odd',
    },
    { __address__: '10.1.0.1:9100', ...group, ...POD, ...container('web', false, null), ...port('metrics', 9100) },
    { __address__: '10.1.0.1:7000', ...group, ...POD, ...container('init', true, null), ...port('i', 7000) },
  ]);
  assert.deepEqual(withoutUid(rig('endpointslice').found()['endpointslice/shop/web-abc']).at(0), {
    __address__: '10.1.0.1:8080',
    ...NAMESPACE,
    __meta_kubernetes_endpointslice_name: 'web-abc',
    __meta_kubernetes_endpointslice_label_kubernetes_io_service_name: 'web',
    __meta_kubernetes_endpointslice_labelpresent_kubernetes_io_service_name: 'true',
    __meta_kubernetes_endpointslice_annotation_prometheus_io_scrape: 'true',
    __meta_kubernetes_endpointslice_annotationpresent_prometheus_io_scrape: 'true',
    __meta_kubernetes_endpointslice_address_type: 'IPv4',
    ...own('service', 'web'),
    __meta_kubernetes_endpointslice_port: '8080',
    __meta_kubernetes_endpointslice_port_name: 'http',
    __meta_kubernetes_endpointslice_port_protocol: 'TCP',
    __meta_kubernetes_endpointslice_port_app_protocol: 'http',
    __meta_kubernetes_endpointslice_endpoint_conditions_ready: 'true',
    __meta_kubernetes_endpointslice_endpoint_conditions_serving: 'true',
    __meta_kubernetes_endpointslice_endpoint_conditions_terminating: 'false',
    __meta_kubernetes_endpointslice_endpoint_node_name: 'node-1',
    __meta_kubernetes_endpointslice_endpoint_zone: 'z1',
    __meta_kubernetes_endpointslice_address_target_kind: 'Pod',
    __meta_kubernetes_endpointslice_address_target_name: 'web-1',
    ...POD,
    ...container('web', false, null),
    ...port('http', 8080),
  });
  assert.deepEqual(
    rig('ingress').found()['ingress/shop/web'],
    ['https shop.example.org', 'http plain.example.com'].map(entry => {
      const [scheme = '', host = ''] = entry.split(' ');
      return {
        __address__: host,
        ...NAMESPACE,
        ...own('ingress', 'web'),
        __meta_kubernetes_ingress_class_name: 'nginx',
        __meta_kubernetes_ingress_scheme: scheme,
        __meta_kubernetes_ingress_host: host,
        __meta_kubernetes_ingress_path: '/a',
      };
    }),
  );

  // A pod that changes is seen behind its addresses too, a service that goes takes its labels along.
  await api.put('/api/v1/namespaces/shop/pods', pod('web-2', '10.1.0.2'));
  await api.put('/api/v1/namespaces/shop/pods', {
    ...pod('web-1', '10.1.0.1', false),
    metadata: meta('web-1', 'shop'),
  });
  const readyOf = (role: string, source: string): string | undefined =>
    rig(role).found()[source]?.[0]?.__meta_kubernetes_pod_ready;
  await rig('pod').until(() => rig('pod').addresses().includes('10.1.0.2:8080'));
  await rig('endpoints').until(() => readyOf('endpoints', 'endpoints/shop/web') === 'false');
  await rig('endpointslice').until(() => readyOf('endpointslice', 'endpointslice/shop/web-abc') === 'false');
  await api.remove('/api/v1/namespaces/shop/services/web');
  await api.remove('/api/v1/namespaces/shop/pods/web-2');
  await rig('service').until(() => rig('service').addresses().length === 0);
  await rig('pod').until(() => !rig('pod').addresses().includes('10.1.0.2:8080'));
  const slice = (): Record<string, string> | undefined =>
    rig('endpointslice').found()['endpointslice/shop/web-abc']?.[0];
  await rig('endpointslice').until(
    () => slice() !== undefined && slice()?.__meta_kubernetes_service_name === undefined,
  );
});

test('attached metadata, selectors, namespaces, a kubeconfig', { skip }, async t => {
  const api = await startKubeApi(t);
  await fill(api);
  await api.put('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: meta('other') });
  const elsewhere = { ...pod('far', '10.1.0.50'), metadata: meta('far', 'other') };
  await api.put('/api/v1/namespaces/other/pods', elsewhere);
  writeFileSync(
    join(api.dir, 'kubeconfig'),
    [
      'apiVersion: v1',
      'kind: Config',
      'current-context: c',
      'contexts: [{name: c, context: {cluster: k, user: u}}]',
      `clusters: [{name: k, cluster: {server: "${api.server}", certificate-authority: certs/apiserver.crt}}]`,
      `users: [{name: u, user: {token: ${api.token}}}]`,
    ].join('\n'),
  );
  const byFile = { apiServer: '', kubeconfigFile: 'kubeconfig', httpClient: {}, namespaces: [] };
  const attached = rigOf(t, api, 'pod', { ...byFile, attachNode: true, attachNamespace: true });
  await attached.until(() => attached.provider.hasSynced);
  const [target] = attached.found()['pod/shop/web-1'] ?? [];
  assert.equal(target?.__meta_kubernetes_node_label_app_kubernetes_io_name, 'node-1');
  assert.equal(target?.__meta_kubernetes_node_name, 'node-1');
  assert.equal(target?.__meta_kubernetes_namespace_label_app_kubernetes_io_name, 'shop');
  assert.ok(attached.addresses().includes('10.1.0.50:8080'));
  await api.put('/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: meta('shop', '', { labels: { team: 'b' } }),
  });
  await attached.until(
    () => attached.found()['pod/shop/web-1']?.[0]?.__meta_kubernetes_namespace_label_team === 'b',
    'a namespace that changes',
  );
  const selected = rigOf(t, api, 'pod', {
    ...byFile,
    selectors: [{ role: 'pod', label: 'app.kubernetes.io/name=far', field: 'status.phase=Running' }],
  });
  await selected.until(() => selected.provider.hasSynced);
  assert.deepEqual(Object.keys(selected.found()), ['pod/other/far']);
  const two = rigOf(t, api, 'pod', { ...byFile, namespaces: ['shop', 'other'] });
  await two.until(() => two.provider.hasSynced);
  assert.deepEqual(Object.keys(two.found()).sort(), ['pod/other/far', 'pod/shop/web-1']);
  const refused = rigOf(t, api, 'pod', {
    httpClient: { authorization: { credentials: 'wrong' }, tls_config: { ca_file: api.caFile } },
  });
  await refused.until(() => /pod: server returned HTTP status 401/.test(refused.provider.status.lastError));
});

test('long lists come in pages; a server that is away, and forgets, loses no target', { skip }, async t => {
  const api = await startKubeApi(t);
  await api.put('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: meta('shop') });
  const service = (i: number): Record<string, unknown> => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(`s${i}`, 'shop'),
    spec: { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] },
  });
  const path = '/api/v1/namespaces/shop/services';
  for (let i = 0; i < 520; i += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, k) => api.put(path, service(i + k))));
  }
  const rig = rigOf(t, api, 'service');
  await rig.until(() => rig.provider.hasSynced);
  assert.equal(rig.addresses().length, 520);
  await api.kill();
  await rig.until(() => rig.provider.status.lastError !== '', 'the disconnection');
  assert.equal(rig.addresses().length, 520);
  await api.start();
  await api.remove(`${path}/s0`);
  await api.put(path, service(1000));
  await api.compact();
  await rig.until(() => rig.provider.status.lastError === '', 'the connection');
  await rig.until(() => rig.addresses().includes('s1000.shop.svc:80') && !rig.addresses().includes('s0.shop.svc:80'));
  assert.equal(rig.addresses().length, 520);
});

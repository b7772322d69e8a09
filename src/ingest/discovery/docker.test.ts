import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { discoveryRig, type ScriptedServer, scriptedServer, sendJson } from '../../../test/support/discovery-rig.ts';
import type { DockerSection } from './sections.ts';

const NETWORKS = [
  { Id: 'n1', Name: 'front', Scope: 'local', Internal: false, Ingress: false, Labels: { 'com.x/y': 'z' } },
  { Id: 'n2', Name: 'back', Scope: 'local', Internal: true, Ingress: false, Labels: null },
];

const CONTAINERS = [
  {
    Id: 'c1',
    Names: ['/web'],
    Labels: { 'com.docker.compose.project': 'shop', 'prometheus-job': 'web' },
    HostConfig: { NetworkMode: 'shop_front' },
    NetworkSettings: {
      Networks: {
        front: { NetworkID: 'n1', IPAddress: '172.18.0.2' },
        back: { NetworkID: 'n2', IPAddress: '172.19.0.2' },
        odd: null,
      },
    },
    Ports: [
      { IP: '0.0.0.0', PrivatePort: 8080, PublicPort: 80, Type: 'tcp' },
      { PrivatePort: 9100, Type: 'tcp' },
      { PrivatePort: 53, Type: 'udp' },
    ],
  },
  {
    Id: 'c2',
    Names: ['/sidecar'],
    Labels: {},
    HostConfig: { NetworkMode: 'container:c1' },
    NetworkSettings: { Networks: {} },
    Ports: [],
  },
  {
    Id: 'c3',
    Names: ['/agent'],
    Labels: {},
    HostConfig: { NetworkMode: 'host' },
    NetworkSettings: { Networks: { host: { NetworkID: 'n3', IPAddress: '' } } },
    Ports: [],
  },
  { Id: 'c4', Names: [], HostConfig: {}, NetworkSettings: {} },
  { Id: 'c5', Names: ['/loop'], HostConfig: { NetworkMode: 'container:c5' }, NetworkSettings: { Networks: {} } },
];

const answer: ScriptedServer['answer'] = (_q, response, path) =>
  sendJson(response, path === '/networks' ? NETWORKS : CONTAINERS);

function section(changes: Partial<DockerSection>): DockerSection {
  return {
    mechanism: 'docker',
    host: '',
    port: 80,
    filters: [],
    hostNetworkingHost: 'localhost',
    matchFirstNetwork: true,
    refreshIntervalMs: 20_000,
    httpClient: {},
    baseDir: '/',
    ...changes,
  };
}

function socketPath(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-docker-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'docker.sock');
}

test('containers over a unix socket: ports, networks, labels', async t => {
  const path = socketPath(t);
  const server = await scriptedServer(t, answer, path);
  const filters = [{ name: 'label', values: ['a=b', 'c'] }];
  const rig = discoveryRig(t, section({ host: `unix://${path}`, filters }));
  await rig.until(() => rig.provider.hasSynced);
  const web = {
    __meta_docker_container_id: 'c1',
    __meta_docker_container_name: '/web',
    __meta_docker_container_network_mode: 'shop_front',
    __meta_docker_container_label_com_docker_compose_project: 'shop',
    __meta_docker_container_label_prometheus_job: 'web',
  };
  const back = {
    __meta_docker_network_id: 'n2',
    __meta_docker_network_name: 'back',
    __meta_docker_network_scope: 'local',
    __meta_docker_network_internal: 'true',
    __meta_docker_network_ingress: 'false',
    __meta_docker_network_ip: '172.19.0.2',
  };
  const side = {
    __meta_docker_container_id: 'c2',
    __meta_docker_container_name: '/sidecar',
    __meta_docker_container_network_mode: 'container:c1',
  };
  assert.deepEqual(rig.found().Docker, [
    {
      __address__: '172.19.0.2:8080',
      __meta_docker_port_private: '8080',
      __meta_docker_port_public: '80',
      __meta_docker_port_public_ip: '0.0.0.0',
      ...web,
      ...back,
    },
    { __address__: '172.19.0.2:9100', __meta_docker_port_private: '9100', ...web, ...back },
    { __address__: '172.19.0.2:80', ...side, ...back },
    {
      __address__: 'localhost',
      __meta_docker_container_id: 'c3',
      __meta_docker_container_name: '/agent',
      __meta_docker_container_network_mode: 'host',
      __meta_docker_network_ip: '',
    },
  ]);
  const asked = server.requests.find(request => request.path === '/containers/json');
  assert.deepEqual(JSON.parse(asked?.query.get('filters') ?? ''), { label: { 'a=b': true, c: true } });
});

test('a host that is spoken to in another way is told', async t => {
  const rig = discoveryRig(t, section({ host: 'npipe:////./pipe/docker' }));
  await rig.until(() => /not supported/.test(rig.provider.status.lastError));
});

test('over TCP, all networks; a daemon that goes away keeps its targets', async t => {
  const server = await scriptedServer(t, answer);
  const rig = discoveryRig(
    t,
    section({ host: server.url.replace('http:', 'tcp:'), matchFirstNetwork: false, port: 1 }),
  );
  await rig.until(() => rig.provider.hasSynced);
  const all = [
    '172.18.0.2:1',
    '172.18.0.2:8080',
    '172.18.0.2:9100',
    '172.19.0.2:1',
    '172.19.0.2:8080',
    '172.19.0.2:9100',
    'localhost',
  ];
  assert.deepEqual(rig.addresses(), all);
  assert.ok(rig.found().Docker?.some(target => target.__meta_docker_network_label_com_x_y === 'z'));
  server.answer = (_q, response) => response.writeHead(500).end('no');
  await rig.until(() => rig.provider.status.lastError !== '');
  assert.deepEqual(rig.addresses(), all);
});

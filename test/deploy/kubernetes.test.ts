/**
 * The Kubernetes manifests: they read as what they are, and agree with each other, with the configuration that they carry, and with the
 * image. (Against Kubernetes' own types they were checked by hand when they were written.)
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { needs } from '../support/programs.ts';
import { runProgram } from '../support/sightline.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FOLDER = join(ROOT, 'deploy', 'kubernetes');

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  [key: string]: unknown;
}

function manifests(): Manifest[] {
  return readdirSync(FOLDER)
    .filter(name => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap(name =>
      parseAllDocuments(readFileSync(join(FOLDER, name), 'utf8')).map(document => {
        assert.deepEqual(document.errors, [], name);
        return document.toJS() as Manifest;
      }),
    );
}

function find<T>(kind: string, name: string): Manifest & T {
  const found = manifests().find(m => m.kind === kind && m.metadata.name === name);
  assert.ok(found !== undefined, `${kind} ${name}`);
  return found as Manifest & T;
}

interface Container {
  args: string[];
  ports: { name: string; containerPort: number }[];
  livenessProbe: { httpGet: { path: string; port: string } };
  readinessProbe: { httpGet: { path: string; port: string } };
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  securityContext: Record<string, unknown>;
  volumeMounts: { name: string; mountPath: string; subPath?: string }[];
}

interface StatefulSet {
  spec: {
    replicas: number;
    serviceName: string;
    selector: { matchLabels: Record<string, string> };
    template: {
      metadata: { labels: Record<string, string> };
      spec: {
        serviceAccountName: string;
        terminationGracePeriodSeconds: number;
        securityContext: { runAsUser: number; runAsNonRoot: boolean };
        containers: Container[];
        volumes: { name: string; configMap?: { name: string }; secret?: { secretName: string } }[];
      };
    };
    volumeClaimTemplates: { metadata: { name: string } }[];
  };
}

interface Service {
  spec: { selector: Record<string, string>; ports: { targetPort: string }[] };
}

const { spec } = find<StatefulSet>('StatefulSet', 'sightline');
const pod = spec.template.spec;
const container = pod.containers[0] as Container;

/** The configuration as the pod would find it, in a folder of its own. */
function mounted(folder: string): ReturnType<typeof loadConfig> {
  const { data } = find<{ data: Record<string, string> }>('ConfigMap', 'sightline-config');
  mkdirSync(join(folder, 'scrape'));
  writeFileSync(
    join(folder, 'scrape', 'prometheus.yml'),
    readFileSync(join(ROOT, 'examples/kubernetes-annotations.yml')),
  );
  const file = join(folder, 'sightline.yaml');
  writeFileSync(file, (data['sightline.yaml'] as string).replaceAll('/etc/sightline/', `${folder}/`));
  return loadConfig(file, {}, () => '');
}

test('every manifest has a kind, a version, a name, and the namespace', () => {
  for (const m of manifests()) {
    assert.match(m.apiVersion, /^([a-z.0-9]+\/)?v\d+$/);
    assert.ok(m.kind !== '' && m.metadata.name !== '');
    const ofCluster = ['Namespace', 'ClusterRole', 'ClusterRoleBinding'].includes(m.kind);
    assert.equal(m.metadata.namespace, ofCluster ? undefined : 'sightline', `${m.kind} ${m.metadata.name}`);
  }
});

test('the configuration loads with the scrape jobs, asks for sign-in, and fits ports, volume and grace', t => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-kubernetes-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { config, prometheus } = mounted(folder);
  assert.equal(config.auth.required, true);
  assert.ok(prometheus.scrapeConfigs.some(job => job.jobName === 'kubernetes-pods'));
  const ports = Object.fromEntries(container.ports.map(p => [p.name, p.containerPort]));
  assert.deepEqual(ports, { http: 7070, 'otlp-grpc': 4317, 'otlp-http': 4318 });
  assert.equal(config.http.listen, '0.0.0.0:7070');
  assert.ok(container.volumeMounts.some(m => m.mountPath === config.data_dir));
  assert.ok(pod.terminationGracePeriodSeconds * 1000 >= 2 * config.http.shutdown_grace);
  assert.deepEqual(container.args.slice(0, 3), ['serve', '--config', '/etc/sightline/config/sightline.yaml']);
});

test('tokens of the configuration are keys of the secret', () => {
  const { data } = find<{ data: Record<string, string> }>('ConfigMap', 'sightline-config');
  const { stringData } = find<{ stringData: Record<string, string> }>('Secret', 'sightline-tokens');
  const files = [...(data['sightline.yaml'] as string).matchAll(/file: \/etc\/sightline\/tokens\/(\w+)/g)].map(
    m => m[1],
  );
  assert.deepEqual(files.sort(), Object.keys(stringData).sort());
  // Nobody gets in with the example.
  for (const value of Object.values(stringData)) assert.equal(value, '');
});

test('one instance, not root, whose mounts are there and whose services find it', () => {
  assert.equal(spec.replicas, 1);
  assert.equal(pod.securityContext.runAsNonRoot, true);
  assert.match(
    readFileSync(join(ROOT, 'Dockerfile'), 'utf8'),
    new RegExp(`^USER ${pod.securityContext.runAsUser}:`, 'm'),
  );
  assert.equal(container.securityContext.readOnlyRootFilesystem, true);
  assert.deepEqual(
    [container.livenessProbe, container.readinessProbe].map(p => `${p.httpGet.port} ${p.httpGet.path}`),
    ['http /-/healthy', 'http /-/ready'],
  );
  const volumes = [...pod.volumes.map(v => v.name), ...spec.volumeClaimTemplates.map(v => v.metadata.name)];
  assert.deepEqual(container.volumeMounts.map(m => m.name).sort(), volumes.sort());
  // A single file that is mounted never changes.
  assert.ok(container.volumeMounts.every(m => m.subPath === undefined));
  assert.deepEqual(spec.selector.matchLabels, spec.template.metadata.labels);
  for (const name of ['sightline', spec.serviceName]) {
    const service = find<Service>('Service', name);
    assert.deepEqual(service.spec.selector, spec.template.metadata.labels);
    for (const { targetPort } of service.spec.ports) assert.ok(container.ports.some(p => p.name === targetPort));
  }
  find('ServiceAccount', pod.serviceAccountName);
});

test('the role lets discovery see what it asks for, and change nothing', () => {
  const { rules } = find<{ rules: { resources?: string[]; verbs: string[] }[] }>('ClusterRole', 'sightline-discovery');
  const listed = rules.filter(rule => rule.verbs.includes('watch')).flatMap(rule => rule.resources ?? []);
  for (const resource of ['pods', 'services', 'endpoints', 'endpointslices', 'ingresses', 'nodes', 'namespaces'])
    assert.ok(listed.includes(resource), resource);
  for (const rule of rules) for (const verb of rule.verbs) assert.ok(['get', 'list', 'watch'].includes(verb), verb);
});

test('kustomize puts it together', { skip: needs('kubectl') }, async () => {
  const { code, stdout, stderr } = await runProgram('kubectl', ['kustomize', FOLDER]);
  assert.equal(code, 0, stderr);
  const kinds = parseAllDocuments(stdout).map(document => (document.toJS() as Manifest).kind);
  assert.ok(kinds.includes('StatefulSet') && !kinds.includes('Secret'), String(kinds));
});

/** The example files load without a remark, and their rules make of typical objects what the files say. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPrometheusFile } from '../../src/config/prometheus/load.ts';
import { buildGroup } from '../../src/ingest/discovery/kubernetes/groups.ts';
import { type KubernetesObject, keyOf, objectOf } from '../../src/ingest/discovery/kubernetes/objects.ts';
import { TargetMaker } from '../../src/ingest/scrape/target.ts';
import { labelsToRecord } from '../../src/model/labels.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'examples');

test('every example loads, and all of it takes effect', () => {
  const files = readdirSync(FOLDER).filter(name => name.endsWith('.yml'));
  assert.ok(files.includes('kubernetes-annotations.yml'));
  for (const name of files) {
    const { config, unsupported } = loadPrometheusFile(join(FOLDER, name));
    assert.deepEqual(unsupported, [], name);
    assert.ok(config.scrapeConfigs.length > 0, name);
  }
});

function pod(
  annotations: Record<string, string>,
  changes: Record<string, unknown> = {},
  ip = '10.0.0.1',
): KubernetesObject {
  return objectOf('pod', {
    metadata: {
      name: 'p',
      namespace: 'n',
      annotations,
      labels: { 'app.kubernetes.io/name': 'shop', 'pod-template-hash': '1' },
    },
    spec: {
      nodeName: 'k1',
      containers: [{ name: 'a', ports: [{ containerPort: 8080 }, { containerPort: 9090 }] }, { name: 'b' }],
      initContainers: [{ name: 'i', ports: [{ containerPort: 7000 }] }],
    },
    status: { podIP: ip, phase: 'Running' },
    ...changes,
  });
}

/** `URL {labels}` of what the job scrapes of these objects; targets that are the same count once. */
function scraped(jobName: string, object: KubernetesObject, ...others: KubernetesObject[]): string[] {
  const { config } = loadPrometheusFile(join(FOLDER, 'kubernetes-annotations.yml'));
  const job = config.scrapeConfigs.find(candidate => candidate.jobName === jobName) ?? assert.fail();
  const maker = new TargetMaker(job as ConstructorParameters<typeof TargetMaker>[0]);
  const group = buildGroup(object, {
    find: (kind, key) => others.find(other => other.kind === kind && keyOf(other.meta) === key) as never,
    attachNode: false,
    attachNamespace: false,
  });
  const out = new Set<string>();
  for (const own of group.targets) {
    const result = maker.make(group, own);
    if (result.kind === 'target')
      out.add(`${result.target.url} ${JSON.stringify(labelsToRecord(result.target.labels))}`);
  }
  return [...out];
}

test('pods are scraped as their annotations say', () => {
  const of = (annotations: Record<string, string>, ip?: string): string[] =>
    scraped('kubernetes-pods', pod(annotations, {}, ip)).map(line => line.split(' ')[0] ?? '');
  const yes = { 'prometheus.io/scrape': 'true' };
  assert.deepEqual(of({}), []);
  assert.deepEqual(of({ 'prometheus.io/scrape': 'false', 'prometheus.io/port': '1' }), []);
  assert.deepEqual(of(yes), ['http://10.0.0.1:8080/metrics', 'http://10.0.0.1:9090/metrics']);
  assert.deepEqual(of({ ...yes, 'prometheus.io/port': '1234' }), ['http://10.0.0.1:1234/metrics']);
  assert.deepEqual(of({ ...yes, 'prometheus.io/port': '1234' }, 'fd00::5'), ['http://[fd00::5]:1234/metrics']);
  assert.deepEqual(
    of({
      ...yes,
      'prometheus.io/port': '443',
      'prometheus.io/scheme': 'https',
      'prometheus.io/path': '/probe',
      'prometheus.io/param_module': 'x y',
    }),
    ['https://10.0.0.1:443/probe?module=x+y'],
  );
  const [first] = scraped('kubernetes-pods', pod({ ...yes, 'prometheus.io/port': '1' }));
  assert.equal(
    first,
    'http://10.0.0.1:1/metrics {"app_kubernetes_io_name":"shop","instance":"10.0.0.1:1","job":"kubernetes-pods","namespace":"n","node":"k1","pod":"p"}',
  );
  assert.deepEqual(scraped('kubernetes-pods', pod(yes, { status: { podIP: '10.0.0.1', phase: 'Succeeded' } })), []);
});

test('endpoints of services are scraped as the services say', () => {
  const service = (annotations: Record<string, string>): KubernetesObject =>
    objectOf('service', { metadata: { name: 's', namespace: 'n', annotations } });
  const slice = objectOf('endpointslice', {
    metadata: { name: 's-1', namespace: 'n', labels: { 'kubernetes.io/service-name': 's' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.9'], nodeName: 'k1' }],
    ports: [{ name: 'http', port: 80 }],
  });
  const job = 'kubernetes-service-endpoints';
  assert.deepEqual(scraped(job, slice, service({})), []);
  const labels =
    '{"instance":"10.0.0.9:80","job":"kubernetes-service-endpoints","namespace":"n","node":"k1","service":"s"}';
  assert.deepEqual(scraped(job, slice, service({ 'prometheus.io/scrape': 'true' })), [
    `http://10.0.0.9:80/metrics ${labels}`,
  ]);
  const port = scraped(job, slice, service({ 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9000' }));
  assert.match(port[0] ?? '', /^http:\/\/10\.0\.0\.9:9000\/metrics /);
});

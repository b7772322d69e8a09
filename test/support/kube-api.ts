/**
 * A real Kubernetes API server (kube-apiserver over etcd, both from the PATH) for tests: no kubelets and no controllers, so that objects are
 * exactly what a test puts in, their status included. Found where `needs('kube-apiserver', 'etcd')` says nothing.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { HttpClient } from '../../src/lib/http-client/http-client.ts';
import { findProgram, freePort, startProgram, until } from './programs.ts';

export interface KubeApi {
  server: string;
  caFile: string;
  token: string;
  dir: string;
  /** Creates, or replaces where it is there; a `status` goes in by its own request. */
  put(path: string, object: Record<string, unknown>): Promise<void>;
  remove(path: string): Promise<void>;
  /** Ends the server at once; `start` brings it back with the same data. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Forgets all versions but the present one: watches from older ones are gone. */
  compact(): Promise<void>;
}

const TOKEN = 'test-token';

export async function startKubeApi(t: TestContext): Promise<KubeApi> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-kube-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const etcd = `http://127.0.0.1:${etcdPort}`;
  startProgram(t, findProgram('etcd'), [
    `--data-dir=${join(dir, 'etcd')}`,
    `--listen-client-urls=${etcd}`,
    `--advertise-client-urls=${etcd}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
  ]);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(join(dir, 'sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
  writeFileSync(join(dir, 'tokens.csv'), `${TOKEN},admin,1,"system:masters"\n`);
  const server = `https://127.0.0.1:${port}`;
  const caFile = join(dir, 'certs', 'apiserver.crt');
  const settings = { authorization: { credentials: TOKEN }, tls_config: { ca_file: caFile } };
  const client = new HttpClient(settings, { baseDir: dir, userAgent: 'test' });
  t.after(() => client.close());
  let child: ReturnType<typeof startProgram> | null = null;
  const send = async (method: string, path: string, body?: object): Promise<number> => {
    const response = await client.request({
      method,
      url: server + path,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      bodyBytesMax: 1 << 20,
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status >= 400 && response.status !== 409 && response.status !== 404) {
      throw new Error(`${method} ${path}: ${response.status} ${Buffer.from(response.body).toString()}`);
    }
    return response.status;
  };
  const api: KubeApi = {
    server,
    caFile,
    token: TOKEN,
    dir,
    async put(path, object) {
      const name = (object.metadata as { name: string }).name;
      if ((await send('POST', path, object)) === 409) await send('PUT', `${path}/${name}`, object);
      if (object.status !== undefined) await send('PUT', `${path}/${name}/status`, object);
    },
    async remove(path) {
      await send('DELETE', `${path}?gracePeriodSeconds=0`);
    },
    async kill() {
      const gone = new Promise(done => child?.once('exit', done));
      child?.kill('SIGKILL');
      await gone;
    },
    async compact() {
      const ask = async (path: string, body: object): Promise<{ header?: { revision?: string } }> =>
        (await (await fetch(etcd + path, { method: 'POST', body: JSON.stringify(body) })).json()) as object;
      const { header } = await ask('/v3/kv/range', { key: Buffer.from('x').toString('base64') });
      await ask('/v3/kv/compaction', { revision: header?.revision, physical: true });
    },
    async start() {
      child = startProgram(t, findProgram('kube-apiserver'), [
        `--etcd-servers=${etcd}`,
        `--secure-port=${port}`,
        '--bind-address=127.0.0.1',
        `--cert-dir=${join(dir, 'certs')}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${join(dir, 'sa.key')}`,
        `--service-account-signing-key-file=${join(dir, 'sa.key')}`,
        '--service-cluster-ip-range=10.0.0.0/24',
        '--authorization-mode=AlwaysAllow',
        `--token-auth-file=${join(dir, 'tokens.csv')}`,
        '--disable-admission-plugins=ServiceAccount',
      ]);
      await until('the API server', async () => (await send('GET', '/readyz')) === 200);
    },
  };
  await api.start();
  return api;
}

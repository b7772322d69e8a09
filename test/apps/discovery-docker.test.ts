/**
 * Docker discovery against a real daemon with real containers, in network and mount namespaces of its own, so that it touches nothing of
 * the machine. Needs root for those, and a Go toolchain for a program that runs without any files around it.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { discoveryRig } from '../support/discovery-rig.ts';
import { findProgram, needs, startProgram, until } from '../support/programs.ts';
import { runProgram } from '../support/sightline.ts';

const programs = needs('dockerd', 'docker', 'containerd', 'runc', 'unshare', 'go', 'tar');
const skip = programs === false && process.getuid?.() !== 0 ? 'needs root' : programs;

const SLEEPER = 'package main\n\nimport "time"\n\nfunc main() { time.Sleep(time.Hour) }\n';

test('containers of a real daemon', { skip }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-dockerd-'));
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  const socket = join(dir, 'docker.sock');
  const run = async (program: string, args: string[], cwd = dir): Promise<string> => {
    const env = { DOCKER_HOST: `unix://${socket}`, CGO_ENABLED: '0', GO111MODULE: 'off', GOFLAGS: '' };
    const result = await runProgram(findProgram(program), args, { cwd, env });
    if (result.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  };
  mkdirSync(join(dir, 'image'));
  writeFileSync(join(dir, 'main.go'), SLEEPER);
  await run('go', ['build', '-o', join(dir, 'image', 'sleeper'), 'main.go']);
  await run('tar', ['-C', join(dir, 'image'), '-cf', join(dir, 'image.tar'), 'sleeper']);
  startProgram(t, findProgram('unshare'), [
    '--net',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    findProgram('dockerd'),
    `--host=unix://${socket}`,
    `--data-root=${join(dir, 'data')}`,
    `--exec-root=${join(dir, 'exec')}`,
    `--pidfile=${join(dir, 'pid')}`,
    '--storage-driver=vfs',
    '--iptables=false',
    '--ip6tables=false',
  ]);
  await until('the daemon', () => run('docker', ['version']));
  await run('docker', ['import', 'image.tar', 'sleeper:1']);
  await run('docker', ['network', 'create', '--label', 'team=a', '--subnet', '172.30.0.0/24', 'front']);
  const start = (name: string, ...args: string[]): Promise<string> =>
    run('docker', ['run', '-d', '--name', name, ...args, 'sleeper:1', '/sleeper']);
  const web = await start('web', '--network=front', '--ip=172.30.0.7', '--expose=8080', '--label=com.x/job=web');
  await start('host', '--network=host');
  await start('inside', '--network=container:web');
  const rig = discoveryRig(
    t,
    {
      mechanism: 'docker',
      host: `unix://${socket}`,
      port: 80,
      filters: [],
      hostNetworkingHost: 'localhost',
      matchFirstNetwork: true,
      refreshIntervalMs: 500,
      httpClient: {},
      baseDir: dir,
    },
    { clock: systemClock },
  );
  await rig.until(() => rig.addresses().length === 3);
  assert.deepEqual(rig.addresses(), ['172.30.0.7:80', '172.30.0.7:8080', 'localhost']);
  const target = rig.found().Docker?.find(labels => labels.__meta_docker_container_name === '/web');
  const { __meta_docker_network_id: network, ...labels } = target ?? {};
  assert.match(network ?? '', /^[0-9a-f]{64}$/);
  const mode = labels.__meta_docker_container_network_mode;
  assert.ok(mode === 'front' || mode === network);
  assert.deepEqual(
    { ...labels, __meta_docker_container_network_mode: 'front' },
    {
      __address__: '172.30.0.7:8080',
      __meta_docker_container_id: web,
      __meta_docker_container_name: '/web',
      __meta_docker_container_network_mode: 'front',
      __meta_docker_container_label_com_x_job: 'web',
      __meta_docker_network_name: 'front',
      __meta_docker_network_scope: 'local',
      __meta_docker_network_internal: 'false',
      __meta_docker_network_ingress: 'false',
      __meta_docker_network_label_team: 'a',
      __meta_docker_network_ip: '172.30.0.7',
      __meta_docker_port_private: '8080',
    },
  );
  await run('docker', ['rm', '-f', 'host']);
  await rig.until(() => !rig.addresses().includes('localhost'));
  assert.equal(rig.provider.status.lastError, '');
});

/**
 * The recipe of the container image, as far as it can be judged without a container engine: what it copies is there and let through by
 * .dockerignore, what it names agrees with the program, and its configuration loads.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { runProgram } from '../support/sightline.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

interface Instruction {
  name: string;
  text: string;
}

/** Instructions with their continuation lines joined; comments and empty lines left out. */
function instructions(text: string): Instruction[] {
  const lines = text.split('\n').filter(line => !/^\s*(#|$)/.test(line));
  return lines
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map(line => {
      const [, name = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      return { name, text: rest };
    });
}

const dockerfile = instructions(read('Dockerfile'));
const of = (name: string): string[] => dockerfile.filter(i => i.name === name).map(i => i.text);

test('every instruction is one, and every file copied is there and let through', () => {
  const known = 'ARG FROM WORKDIR COPY RUN ENV LABEL USER VOLUME EXPOSE HEALTHCHECK ENTRYPOINT CMD'.split(' ');
  for (const { name, text } of dockerfile) assert.ok(known.includes(name), `${name} ${text}`);
  const allowed = read('.dockerignore')
    .split('\n')
    .filter(line => line.startsWith('!'))
    .map(line => line.slice(1));
  for (const copy of of('COPY')) {
    const [first = '', ...rest] = copy.split(/\s+/);
    if (first.startsWith('--from=build')) continue;
    for (const source of [first, ...rest].slice(0, -1)) {
      assert.ok(existsSync(join(ROOT, source)), `COPY ${source}: no such file`);
      assert.ok(
        allowed.some(path => source === path || source.startsWith(`${path}/`)),
        `COPY ${source}: .dockerignore keeps it out`,
      );
    }
  }
});

test('the Node.js of the base image is the one that the program asks for', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const major = dependencies.node?.split('.')[0];
  assert.deepEqual(of('ARG'), [`NODE_IMAGE=node:${major}-slim`]);
});

test('it runs as nobody in particular, and its entry point is the program', () => {
  assert.deepEqual(of('USER'), ['10001:10001']);
  assert.deepEqual(JSON.parse(of('ENTRYPOINT')[0] as string), ['node', '/opt/sightline/bin/sightline']);
  assert.deepEqual(JSON.parse(of('CMD')[0] as string), ['serve', '--config', '/etc/sightline/sightline.yaml']);
});

test('its configuration loads, asks for sign-in, and fits the ports and the volume', () => {
  const { config } = loadConfig(join(ROOT, 'deploy/container/sightline.yaml'), {}, () => '');
  assert.equal(config.auth.required, true);
  assert.deepEqual(of('VOLUME'), [config.data_dir]);
  const port = (address: string): string => address.replace('0.0.0.0:', '');
  assert.deepEqual(of('EXPOSE'), [[config.http.listen, config.otlp.grpc, config.otlp.http].map(port).join(' ')]);
});

test('what is trimmed away is not what the program needs', async () => {
  const script = join(ROOT, 'deploy/container/trim.mjs');
  const { code, stdout, stderr } = await runProgram(process.execPath, [script, '--dry-run'], { cwd: ROOT });
  assert.equal(code, 0, stderr);
  const kept = stdout.split('\n').filter(line => line.startsWith('keep '));
  for (const name of ['fastify', 'pino', 'yaml', 'zod', 're2js', '@grpc/grpc-js', '@grpc/proto-loader'])
    assert.ok(kept.includes(`keep node_modules/${name}`), name);
  for (const name of ['uplot', '@codemirror/view', 'node', 'vite', 'typescript'])
    assert.ok(!kept.includes(`keep node_modules/${name}`), name);
});

test('the health check tells a server that answers from one that does not', async t => {
  const { createServer } = await import('node:http');
  let status = 200;
  const server = createServer((_request, response) => {
    response.statusCode = status;
    response.end();
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const check = async (): Promise<number | null> => {
    const script = join(ROOT, 'deploy/container/healthcheck.mjs');
    return (await runProgram(process.execPath, [script], { env: { HEALTHCHECK_PORT: String(port) } })).code;
  };
  assert.equal(await check(), 0);
  status = 503;
  assert.equal(await check(), 1);
});

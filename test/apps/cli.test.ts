/** The command line as people meet it: help, versions, mistakes, the launcher under another Node. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { needs, until } from '../support/programs.ts';
import { runCli, runProgram } from '../support/sightline.ts';

const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'sightline');

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-cli-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A Node on this machine that is older than ours, or ''. */
function olderNode(): string {
  for (const path of ['/usr/bin/node', '/usr/local/bin/node']) {
    if (!existsSync(path)) continue;
    const major = Number(/^v(\d+)/.exec(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout)?.[1]);
    if (major < 26) return path;
  }
  return '';
}

test('help for the program and each command', async () => {
  const main = await runCli(['--help']);
  assert.equal(main.code, 0);
  for (const command of ['serve', 'check-config', 'promqltest', 'tsdb']) {
    assert.match(main.stdout, new RegExp(`^  ${command} `, 'm'));
    const help = await runCli([command, '--help']);
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, new RegExp(`usage: sightline ${command} `));
  }
  assert.match((await runCli(['--version'])).stdout, /^sightline \d+\.\d+\.\d+\n$/);
});

test('calling it wrongly says what is there, with exit code 2', async () => {
  for (const [args, message] of [
    [['srve'], /did you mean serve\?/],
    [['serve', '--data-dirs', 'x'], /did you mean --data-dir\?/],
    [['serve', '--http', '0.0.0.0:0'], /--insecure/],
    [['tsdb'], /needs an action/],
    [['tsdb', 'verfy'], /no action "verfy"/],
    [['promqltest'], /needs at least one FILE/],
    [['promqltest', '--storage', 'tape', 'x.test'], /head, blocks or restart/],
    [['check-config'], /needs at least one FILE/],
  ] as const) {
    const result = await runCli(args);
    assert.equal(result.code, 2, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, message);
  }
  assert.equal((await runCli([])).code, 2);
});

test('check-config tells good from bad, and what has no effect', async t => {
  const dir = tempDir(t);
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const good = write('good.yaml', 'http: {listen: "127.0.0.1:0"}\n');
  const prometheus = write(
    'prometheus.yml',
    'global: {scrape_interval: 5s}\nrule_files: [a.yml]\nscrape_configs: [{job_name: j, scrape_timeout: 1s}]\n',
  );
  const bad = write('bad.yaml', 'htpp: {}\n');
  const all = await runCli(['check-config', good, prometheus]);
  assert.equal(all.code, 0, all.stdout);
  assert.match(all.stdout, /good\.yaml: can be used\n/);
  assert.match(all.stdout, /prometheus\.yml:2: rule_files has no effect/);
  const failed = await runCli(['check-config', good, bad]);
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /bad\.yaml:1:1: htpp: unknown key; did you mean "http"\?/);
});

test('the launcher runs under an older Node, through a link, and passes the exit code on', {
  skip: olderNode() === '' ? 'needs a Node older than 26' : false,
}, async t => {
  const node = olderNode();
  const link = join(tempDir(t), 'sightline');
  symlinkSync(LAUNCHER, link);
  const version = await runProgram(node, [link, '--version']);
  assert.match(version.stdout, /^sightline /, version.stderr);
  const wrong = await runProgram(node, [link, 'srve']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /did you mean serve/);
});

test('npm start: a SIGTERM to npm stops the server cleanly', { skip: needs('npm') }, async t => {
  const dir = tempDir(t);
  const child = spawn('npm', ['start', '--', '--http', '127.0.0.1:0', '--data-dir', join(dir, 'data')], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const closed = new Promise(done => child.once('close', done));
  await until('the ready line', async () => stderr.includes('is ready at'));
  child.kill('SIGTERM');
  await closed;
  // The pipe closes when the server itself has ended, not only npm.
  assert.match(stderr, /SIGTERM: finishing/);
  const { pid } = JSON.parse(readFileSync(join(dir, 'data', 'lock.json'), 'utf8')) as { pid: number };
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

/** What other programs send may be anything: whatever the bytes, the answer is groups of texts or an error in words. Fixed seed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../test/support/random.ts';
import { parseGroupsJson, parseGroupsYaml } from './group-file.ts';
import { buildGroup } from './kubernetes/groups.ts';
import { type Kind, objectOf, RESOURCES } from './kubernetes/objects.ts';
import type { TargetGroup } from './target-group.ts';

const WORDS = [
  'metadata',
  'name',
  'namespace',
  'labels',
  'annotations',
  'ownerReferences',
  'controller',
  'spec',
  'status',
  'containers',
  'ports',
  'containerPort',
  'port',
  'podIP',
  'conditions',
  'type',
  'subsets',
  'addresses',
  'notReadyAddresses',
  'targetRef',
  'kind',
  'endpoints',
  'rules',
  'host',
  'http',
  'paths',
  'path',
  'tls',
  'hosts',
  'targets',
  '__proto__',
  'constructor',
  'toString',
  'kubernetes.io/service-name',
];
const TEXTS = [
  '',
  'a',
  'Pod',
  'Ready',
  'True',
  '10.0.0.1',
  'fe80::1',
  '\u0000',
  '\ud800',
  'x'.repeat(300),
  '__proto__',
  '*.x',
];

function anything(random: Random, depth: number): unknown {
  const shape = depth === 0 ? random.int(5) : random.int(9);
  if (shape === 0) return null;
  if (shape === 1) return random.pick([0, -1, 80, 1.5, 1e300, 2 ** 53]);
  if (shape === 2) return random.chance(0.5);
  if (shape <= 4) return random.pick(TEXTS);
  if (shape === 5) return Array.from({ length: random.int(4) }, () => anything(random, depth - 1));
  // As JSON.parse makes them: `__proto__` is a key like any other.
  const entries = Array.from({ length: random.int(8) }, () => [random.pick(WORDS), anything(random, depth - 1)]);
  return JSON.parse(`{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`);
}

function check(group: TargetGroup): void {
  assert.equal(typeof group.source, 'string');
  for (const labels of [group.labels, ...group.targets]) {
    for (const [name, value] of labels) {
      assert.equal(typeof name, 'string');
      assert.equal(typeof value, 'string', name);
    }
  }
}

test('Kubernetes objects of any shape', () => {
  const random = new Random(20_261_122);
  const kinds = Object.keys(RESOURCES) as Kind[];
  for (let i = 0; i < 20_000; i++) {
    const kind = random.pick(kinds);
    const object = objectOf(kind, anything(random, 6));
    const other = objectOf('pod', anything(random, 5));
    const find = ((wanted: Kind) => (wanted === 'pod' ? other : undefined)) as never;
    check(buildGroup(object, { find, attachNode: true, attachNamespace: true }));
  }
});

test('target groups of any bytes', () => {
  const random = new Random(7);
  const seedText = '[{"targets": ["a:1", "b:2"], "labels": {"x": "y"}}, {"targets": []}]';
  const seedYaml = '- targets: [a:1]\n  labels: &l {x: y}\n- targets: ["b"]\n  labels: *l\n';
  const spice = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '&a',
    '*a',
    '<<: *l',
    '!!binary',
    '\n',
    '- ',
    'null',
    '\u0000',
    '\ud800',
    '|',
    '?',
  ];
  let good = 0;
  for (let i = 0; i < 20_000; i++) {
    const yaml = random.chance(0.5);
    let text = yaml ? seedYaml : seedText;
    for (let n = random.int(4); n > 0; n--) {
      const at = random.int(text.length);
      text = text.slice(0, at) + (random.chance(0.5) ? random.pick(spice) : '') + text.slice(at + random.int(4));
    }
    try {
      const groups = yaml ? parseGroupsYaml(text, String) : parseGroupsJson(Buffer.from(text), String);
      groups.forEach(check);
      good++;
    } catch (error) {
      assert.ok(error instanceof Error && !/BUG/.test(error.message), text);
      assert.ok(!(error instanceof TypeError), `${text}: ${(error as Error).stack}`);
    }
  }
  assert.ok(good > 1000 && good < 19_000, `${good} were good`);
});

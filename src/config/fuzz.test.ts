/** Files that are not what they should be: whatever the bytes, the answer is a configuration or a ConfigError. Fixed seed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DecodeContext, resolve } from './prometheus/decode.ts';
import { EMPTY_PROMETHEUS, loadScrapeSection } from './prometheus/load.ts';
import { configSchema } from './schema.ts';
import { ConfigError, YamlSource } from './yaml-source.ts';

const SEED_TEXT = `
http: {listen: "127.0.0.1:7070", max_body: 1MiB}
scrape_configs:
  - &base
    job_name: a
    scrape_interval: 15s
    static_configs: [{targets: ["x:1", 'y:2'], labels: {a: b}}]
    relabel_configs:
      - {source_labels: [a, b], regex: '(.*)', target_label: c, action: replace}
    kubernetes_sd_configs: [{role: pod, selectors: [{role: pod, field: "a=b"}]}]
    tls_config: {min_version: TLS12, ca: !!binary "YQ=="}
    params: {x: [1, 2.50, true, null, ~]}
  - <<: *base
    job_name: b
    basic_auth: {username: u, password: "p"}
`;
const SPICE = [
  '&',
  '*base',
  '<<:',
  '!!binary',
  '[',
  ']',
  '{',
  '}',
  ':',
  '- ',
  '\n',
  '  ',
  'null',
  '"',
  "'",
  '|',
  '>',
  '?',
  '#',
  '\t',
  '1e999',
  '.inf',
  '\u0000',
];

test('mutated files never throw anything but ConfigError', () => {
  let state = 20_261_122;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let accepted = 0;
  for (let round = 0; round < 1500; round++) {
    let text = SEED_TEXT;
    for (let k = random(4) + 1; k > 0; k--) {
      const at = random(text.length);
      const spice = SPICE[random(SPICE.length)] as string;
      text = text.slice(0, at) + spice + text.slice(at + (random(2) === 0 ? 0 : random(12)));
    }
    try {
      const source = YamlSource.parse('fuzz.yml', text);
      source.value();
      configSchema.safeParse(source.value());
      loadScrapeSection(source, EMPTY_PROMETHEUS);
      accepted++;
    } catch (error) {
      assert.ok(error instanceof ConfigError, `round ${round}: ${(error as Error).stack}\n${text}`);
      assert.ok(error.problems.length > 0);
    }
  }
  assert.ok(accepted > 50, `only ${accepted} files were accepted: the mutations are too wild to tell anything`);
});

test('depth and aliases are bounded', () => {
  for (const depth of [100, 3000]) {
    assert.throws(() => {
      const deep = YamlSource.parse('deep.yml', `scrape_configs: ${'['.repeat(depth)}${']'.repeat(depth)}`);
      loadScrapeSection(deep, EMPTY_PROMETHEUS);
    }, ConfigError);
  }
  const loop = YamlSource.parse('loop.yml', 'a: &a [*a]\n');
  const ctx = new DecodeContext(loop);
  assert.doesNotThrow(() => resolve(ctx, loop.doc?.contents ?? null));
});

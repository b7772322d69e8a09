/** Relabel rules alone, as somebody tries them out: a list, or a map with the list under one of its usual keys. */
import { isMap, type Node } from 'yaml';
import { ConfigError, type Path, YamlSource } from '../yaml-source.ts';
import { DecodeContext, list } from './decode.ts';
import { type RelabelConfig, relabelConfig } from './relabel.ts';

const KEYS = ['metric_relabel_configs', 'write_relabel_configs', 'relabel_configs'];
const RULES_MAX = 200;

const rules = list(relabelConfig, 'empty or null relabeling rule');

/** Throws a ConfigError with every problem and its line. */
export function parseRelabelRules(text: string): RelabelConfig[] {
  const source = YamlSource.parse('rules', text);
  const ctx = new DecodeContext(source);
  let node = (source.doc?.contents ?? null) as Node | null;
  let path: Path = [];
  if (isMap(node)) {
    const key = KEYS.find(name => isMap(node) && node.has(name));
    if (key === undefined) ctx.fail(node, [], `must be a list of rules, or have one under ${KEYS.join(', ')}`);
    else {
      node = (node.get(key, true) as Node | undefined) ?? null;
      path = [key];
    }
  }
  const decoded = ctx.problems.length === 0 ? rules(ctx, node, path) : undefined;
  if (decoded !== undefined && decoded.length > RULES_MAX) ctx.fail(node, path, `more than ${RULES_MAX} rules`);
  if (decoded === undefined && ctx.problems.length === 0) ctx.fail(node, path, 'must be a list of relabel rules');
  if (ctx.problems.length > 0 || decoded === undefined) throw new ConfigError(ctx.problems);
  return decoded;
}

/**
 * Relabelling: Prometheus' rules applied to one label set, before a scrape (targets) and after (samples).
 *
 * Rules are compiled once and run over a Map of labels. Expressions go through re2js (linear time for whatever a user
 * writes), anchored at both ends, dot matching newline. `$1`, `${1}`, `${name}` in replacements as Go's regexp expands them:
 * an unknown group is empty, `$$` a dollar.
 */
import { createHash } from 'node:crypto';
import { RE2JS } from 're2js';
import type { RelabelRule } from '../../contracts/scrape-store.ts';

export type { RelabelRule };

/** Labels by name; an empty value is no label. Changed in place by a rule. */
export type LabelMap = Map<string, string>;

/** Applies all rules in order; false = dropped (the labels are then worth nothing). */
export type Relabel = (labels: LabelMap) => boolean;

type Step = (labels: LabelMap) => boolean;

const DEFAULT_REGEX = '(.*)';
const LEGACY_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export function compileRelabel(rules: readonly RelabelRule[], legacyNames = false): Relabel {
  const steps = rules.map(rule => compileStep(rule, legacyNames));
  return labels => {
    for (const step of steps) if (!step(labels)) return false;
    return true;
  };
}

function compileStep(rule: RelabelRule, legacyNames: boolean): Step {
  const source = sourceOf(rule);
  const { targetLabel } = rule;
  const regex = compileAnchored(rule.regex);
  const isName = (name: string): boolean => (legacyNames ? LEGACY_NAME.test(name) : name !== '' && name.isWellFormed());
  switch (rule.action) {
    case 'keep':
      return labels => regex.matches(source(labels));
    case 'drop':
      return labels => !regex.matches(source(labels));
    case 'keepequal':
      return labels => (labels.get(targetLabel) ?? '') === source(labels);
    case 'dropequal':
      return labels => (labels.get(targetLabel) ?? '') !== source(labels);
    case 'lowercase':
      return labels => set(labels, targetLabel, source(labels).toLowerCase());
    case 'uppercase':
      return labels => set(labels, targetLabel, source(labels).toUpperCase());
    case 'hashmod':
      return labels => set(labels, targetLabel, hashMod(source(labels), rule.modulus));
    case 'labelmap':
      return labels => labelMap(labels, regex, rule.replacement);
    case 'labeldrop':
      return labels => deleteWhere(labels, name => regex.matches(name));
    case 'labelkeep':
      return labels => deleteWhere(labels, name => !regex.matches(name));
    case 'replace':
      return replaceStep(rule, regex, source, isName);
    default:
      throw new Error(`BUG: relabel action ${JSON.stringify(rule.action)} came through the configuration check`);
  }
}

function replaceStep(
  rule: RelabelRule,
  regex: RE2JS,
  source: (labels: LabelMap) => string,
  isName: (name: string) => boolean,
): Step {
  const { targetLabel, replacement } = rule;
  const plain = rule.regex === DEFAULT_REGEX && !targetLabel.includes('$');
  // Fast paths: the default expression matches everything, as group 1.
  if (plain && !replacement.includes('$')) return labels => set(labels, targetLabel, replacement);
  if (plain && /^\$(?:1|\{1\})$/.test(replacement)) return labels => set(labels, targetLabel, source(labels));
  return labels => {
    const matcher = regex.matcher(source(labels));
    if (!matcher.matches()) return true;
    const group = (name: string): string => groupOf(matcher, regex, name);
    const target = expand(targetLabel, group);
    return isName(target) ? set(labels, target, expand(replacement, group)) : true;
  };
}

function sourceOf(rule: RelabelRule): (labels: LabelMap) => string {
  const { sourceLabels, separator } = rule;
  const only = sourceLabels[0];
  if (only === undefined) return () => '';
  if (sourceLabels.length === 1) return labels => labels.get(only) ?? '';
  return labels => sourceLabels.map(name => labels.get(name) ?? '').join(separator);
}

function compileAnchored(text: string): RE2JS {
  return RE2JS.compile(`^(?s:${text})$`);
}

function set(labels: LabelMap, name: string, value: string): true {
  if (value === '') labels.delete(name);
  else labels.set(name, value);
  return true;
}

function deleteWhere(labels: LabelMap, doomed: (name: string) => boolean): true {
  for (const name of [...labels.keys()]) if (doomed(name)) labels.delete(name);
  return true;
}

function labelMap(labels: LabelMap, regex: RE2JS, replacement: string): true {
  for (const [name, value] of [...labels]) {
    const matcher = regex.matcher(name);
    if (!matcher.matches()) continue;
    set(
      labels,
      expand(replacement, group => groupOf(matcher, regex, group)),
      value,
    );
  }
  return true;
}

type Matcher = ReturnType<RE2JS['matcher']>;

function groupOf(matcher: Matcher, regex: RE2JS, name: string): string {
  const index = /^\d+$/.test(name) ? Number(name) : regex.namedGroups()[name];
  if (index === undefined || index > matcher.groupCount()) return '';
  return matcher.group(index) ?? '';
}

const VARIABLE = /\$(?:\$|\{(\w+)\}|(\w+))/g;

/** Go's Regexp.Expand: a dollar that begins no variable stands for itself. */
function expand(template: string, group: (name: string) => string): string {
  if (!template.includes('$')) return template;
  return template.replace(VARIABLE, (whole, braced: string | undefined, bare: string | undefined) =>
    whole === '$$' ? '$' : group(braced ?? bare ?? ''),
  );
}

/** The last eight bytes of MD5, as a number, modulo. */
function hashMod(text: string, modulus: number): string {
  const sum = createHash('md5').update(text).digest().readBigUInt64BE(8);
  return String(sum % BigInt(modulus));
}

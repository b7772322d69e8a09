/**
 * Relabel configs: decoding and the rules of which fields an action takes. Applying them is ingest/scrape/relabel.ts' work.
 */
import { RE2JS } from 're2js';
import { type Decoder, list, str, struct, uint, yes } from './decode.ts';

export const RELABEL_ACTIONS = [
  'replace',
  'keep',
  'drop',
  'keepequal',
  'dropequal',
  'hashmod',
  'labelmap',
  'labeldrop',
  'labelkeep',
  'lowercase',
  'uppercase',
] as const;

export type RelabelAction = (typeof RELABEL_ACTIONS)[number];

export interface RelabelConfig {
  sourceLabels: string[];
  separator: string;
  /** Anchored at both ends when applied. */
  regex: string;
  modulus: number;
  targetLabel: string;
  replacement: string;
  action: RelabelAction;
}

export const RELABEL_DEFAULTS = Object.freeze({ separator: ';', regex: '(.*)', replacement: '$1', action: 'replace' });

export type NameValidation = 'utf8' | 'legacy';

const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** A classic label name in which ${name} or $1 may stand anywhere; no alternative of the loop begins as another does. */
const LEGACY_TARGET = /^(?:[a-zA-Z_]|\$\{\w+\}|\$\w)(?:\w|\$\{\w+\}|\$\w)*$/;

/** Whether a replacement template can give a classic label name: letters, digits, underscores and complete variables. */
export function isLegacyTargetTemplate(text: string): boolean {
  return text.length <= 4096 && LEGACY_TARGET.test(text);
}

export function isLabelName(name: string, scheme: NameValidation): boolean {
  return scheme === 'legacy' ? LEGACY_LABEL.test(name) : name !== '' && name.isWellFormed() && !name.includes('\ufffd');
}

/** What is wrong with a config whose defaults are filled in, or ''. `given` tells which fields the file sets. */
export function relabelProblem(
  config: RelabelConfig,
  scheme: NameValidation,
  given: { sourceLabels: boolean },
): string {
  const action = config.action as string;
  if (action === '') return 'relabel action cannot be empty';
  if (config.modulus === 0 && action === 'hashmod') {
    return 'relabel configuration for hashmod requires non-zero modulus';
  }
  const writesTarget = ['replace', 'hashmod', 'lowercase', 'uppercase', 'keepequal', 'dropequal'].includes(action);
  if (writesTarget && config.targetLabel === '') {
    return `relabel configuration for ${action} action requires 'target_label' value`;
  }
  const template = (text: string): boolean =>
    scheme === 'legacy' ? isLegacyTargetTemplate(text) : isLabelName(text, scheme);
  if (action === 'replace') {
    const valid = config.targetLabel.includes('$')
      ? template(config.targetLabel)
      : isLabelName(config.targetLabel, scheme);
    if (!valid) return `${JSON.stringify(config.targetLabel)} is invalid 'target_label' for ${action} action`;
  } else if (writesTarget && !isLabelName(config.targetLabel, scheme)) {
    return `${JSON.stringify(config.targetLabel)} is invalid 'target_label' for ${action} action`;
  }
  const plainReplacement = config.replacement === RELABEL_DEFAULTS.replacement;
  const plainSeparator = config.separator === RELABEL_DEFAULTS.separator;
  if (action === 'keepequal' || action === 'dropequal') {
    const plain = config.regex === RELABEL_DEFAULTS.regex && config.modulus === 0 && plainSeparator && plainReplacement;
    if (!plain) return `${action} action requires only 'source_labels' and \`target_label\`, and no other fields`;
  }
  if ((action === 'lowercase' || action === 'uppercase') && !plainReplacement) {
    return `'replacement' can not be set for ${action} action`;
  }
  if (action === 'labelmap' && !template(config.replacement)) {
    return `${JSON.stringify(config.replacement)} is invalid 'replacement' for ${action} action`;
  }
  if (action === 'labeldrop' || action === 'labelkeep') {
    const plain =
      !given.sourceLabels && config.targetLabel === '' && config.modulus === 0 && plainSeparator && plainReplacement;
    if (!plain) return `${action} action requires only 'regex', and no other fields`;
  }
  return '';
}

/** '' where the expression compiles. RE2 syntax, linear time. */
export function regexProblem(text: string): string {
  try {
    RE2JS.compile(`^(?s:${text})$`);
    return '';
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}`;
  }
}

const raw = struct('relabel.plain', {
  source_labels: yes(list(str)),
  separator: yes(str),
  regex: yes(str),
  modulus: yes(uint),
  target_label: yes(str),
  replacement: yes(str),
  action: yes(str),
});

/**
 * The name rules depend on the scrape config around it, which is known only when it has been read as a whole: so they are left to
 * `relabelProblem` with its scheme, called by the owner; this decoder checks all else with the wide rules.
 */
export const relabelConfig: Decoder<RelabelConfig> = (ctx, node, path) => {
  const value = raw(ctx, node, path);
  if (value === undefined) return undefined;
  const action = (value.action ?? RELABEL_DEFAULTS.action).toLowerCase();
  if (action !== '' && !(RELABEL_ACTIONS as readonly string[]).includes(action)) {
    ctx.failAt([...path, 'action'], `unknown relabel action ${JSON.stringify(value.action)}`);
    return undefined;
  }
  const config: RelabelConfig = {
    sourceLabels: value.source_labels ?? [],
    separator: value.separator ?? RELABEL_DEFAULTS.separator,
    regex: value.regex ?? RELABEL_DEFAULTS.regex,
    modulus: value.modulus ?? 0,
    targetLabel: value.target_label ?? '',
    replacement: value.replacement ?? RELABEL_DEFAULTS.replacement,
    action: action as RelabelAction,
  };
  const badRegex = regexProblem(config.regex);
  if (badRegex !== '') ctx.failAt([...path, 'regex'], badRegex);
  for (const name of config.sourceLabels) {
    if (!isLabelName(name, 'utf8'))
      ctx.failAt([...path, 'source_labels'], `${JSON.stringify(name)} is not a valid label name`);
  }
  const problem = relabelProblem(config, 'utf8', { sourceLabels: value.source_labels !== undefined });
  if (problem !== '') ctx.fail(node, path, problem);
  return config;
};

/** Suite 04, relabel: rules applied to label sets, and rules that must be refused. */
import {
  isLegacyTargetTemplate,
  RELABEL_DEFAULTS,
  type RelabelAction,
  type RelabelConfig,
  relabelProblem,
} from '../../src/config/prometheus/relabel.ts';
import { compileRelabel } from '../../src/ingest/scrape/relabel.ts';
import { suiteJson } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '04-prom-rules-config';

interface RuleFacts {
  source_labels?: string[];
  separator?: string;
  regex?: string;
  modulus?: number;
  target_label?: string;
  replacement?: string;
  action?: string;
  name_validation?: 'utf8' | 'legacy';
}

interface RelabelCase {
  input: Record<string, string>;
  relabel_configs: RuleFacts[];
  dropped: boolean;
  output: Record<string, string> | null;
}

function ruleOf(facts: RuleFacts): RelabelConfig {
  return {
    sourceLabels: facts.source_labels ?? [],
    separator: facts.separator ?? RELABEL_DEFAULTS.separator,
    regex: facts.regex ?? RELABEL_DEFAULTS.regex,
    modulus: facts.modulus ?? 0,
    targetLabel: facts.target_label ?? '',
    replacement: facts.replacement ?? RELABEL_DEFAULTS.replacement,
    action: (facts.action ?? '') as RelabelAction,
  };
}

const sorted = (labels: Iterable<[string, string]>): string => JSON.stringify([...labels].sort());

export function runRelabel({ suites }: SuiteContext, score: Score): void {
  suiteJson<RelabelCase[]>(suites, FOLDER, 'relabel', 'relabel_cases.json').forEach((c, i) => {
    const labels = new Map(Object.entries(c.input));
    const kept = compileRelabel(c.relabel_configs.map(ruleOf))(labels);
    const got = kept ? sorted(labels) : 'dropped';
    const want = c.dropped ? 'dropped' : sorted(Object.entries(c.output ?? {}));
    score.judge(`relabel/relabel_cases.json[${i}]`, got === want ? '' : `${got} instead of ${want}`);
  });
  interface Verdict {
    config: RuleFacts;
    error_contains: string | null;
  }
  suiteJson<Verdict[]>(suites, FOLDER, 'relabel', 'relabel_validate_cases.json').forEach((c, i) => {
    const problem = relabelProblem(ruleOf(c.config), c.config.name_validation ?? 'utf8', {
      sourceLabels: c.config.source_labels !== undefined,
    });
    const right = c.error_contains === null ? problem === '' : problem.includes(c.error_contains);
    const want = c.error_contains ?? 'no error';
    score.judge(`relabel/relabel_validate_cases.json[${i}]`, right ? '' : `"${problem}" instead of "${want}"`);
  });
  interface Target {
    target_label: string;
    valid: boolean;
  }
  suiteJson<Target[]>(suites, FOLDER, 'relabel', 'target_label_legacy_validity.json').forEach((c, i) => {
    const got = isLegacyTargetTemplate(c.target_label);
    const name = `relabel/target_label_legacy_validity.json[${i}]`;
    score.judge(name, got === c.valid ? '' : `${c.target_label} is judged ${got ? 'valid' : 'not valid'}`);
  });
}

/**
 * `storage.rules` between the configuration, which knows selectors as text, and the storage, which wants matchers.
 */
import type { Config } from '../config/schema.ts';
import { parseMetricSelector } from '../query/promql/parser.ts';
import type { PolicyRule } from '../storage/tsdb/policies.ts';

/** For loadConfig: what is wrong with a rule's selector, '' where nothing is. */
export function selectorProblem(selector: string): string {
  try {
    parseMetricSelector(selector);
    return '';
  } catch (error) {
    const said = (error as Error).message.replace(/^match\[\] /, 'it ');
    return `must be a series selector like {__name__=~"debug_.*"}: ${said}`;
  }
}

export function policyRules(rules: Config['storage']['rules']): PolicyRule[] {
  return rules.map(({ selector, tenant, retention, downsample }): PolicyRule => {
    const rule = { tenant: tenant ?? null, selector, matchers: parseMetricSelector(selector) };
    const levels: PolicyRule['downsample'] = {};
    if (downsample?.['1m'] !== undefined) levels.minuteAfterMs = downsample['1m'] === 0 ? null : downsample['1m'];
    if (downsample?.['1h'] !== undefined) levels.hourAfterMs = downsample['1h'] === 0 ? null : downsample['1h'];
    const periods: PolicyRule['retention'] = {};
    if (retention?.raw !== undefined) periods.rawMs = retention.raw;
    if (retention?.['1m'] !== undefined) periods.minuteMs = retention['1m'];
    if (retention?.['1h'] !== undefined) periods.hourMs = retention['1h'];
    return { ...rule, retention: periods, downsample: levels };
  });
}

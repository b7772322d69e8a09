/** JSON of /rules and /alerts. */
import type { AlertingRuleState, AlertState, RuleGroupState } from '../../contracts/admin.ts';
import { getLabel, type Labels, labelsToRecord } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { formatFloatE } from '../encoding/float.ts';
import { badData, invalidParam } from '../errors.ts';
import { compileMatcher, parseMatcherSets } from './matchers.ts';
import { type Params, quote } from './params.ts';

/** Go's JSON of a time; 0 is its zero time. */
export function goTime(ms: number): string {
  return ms === 0 ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString();
}

export function groupsJson(groups: readonly RuleGroupState[], params: Params): unknown {
  const type = params.get('type').toLowerCase();
  if (type !== '' && type !== 'alert' && type !== 'record') {
    throw invalidParam('type', `not supported value ${quote(type)}`);
  }
  const names = new Set(params.all('rule_name[]'));
  const groupNames = new Set(params.all('rule_group[]'));
  const files = new Set(params.all('file[]'));
  const excludeAlerts = params.bool('exclude_alerts', false);
  const matches = labelFilter(params.all('match[]'));
  const selected = groups
    .filter(g => groupNames.size === 0 || groupNames.has(g.name))
    .filter(g => files.size === 0 || files.has(g.file))
    .map(g => ({
      ...g,
      rules: g.rules.filter(
        r =>
          (type === '' || (type === 'alert') === (r.type === 'alerting')) &&
          (names.size === 0 || names.has(r.name)) &&
          matches(r.labels),
      ),
    }))
    .filter(g => g.rules.length > 0 || (type === '' && names.size === 0 && params.all('match[]').length === 0));
  const page = pageOf(selected, params);
  return {
    groups: page.groups.map(g => groupJson(g, excludeAlerts)),
    ...(page.next === '' ? {} : { groupNextToken: page.next }),
  };
}

export function alertsJson(groups: readonly RuleGroupState[]): unknown[] {
  const out: unknown[] = [];
  for (const group of groups) {
    for (const rule of group.rules) if (rule.type === 'alerting') out.push(...rule.alerts.map(alertJson));
  }
  return out;
}

/** Pages of groups; a token names the first group of the next page. */
function pageOf(groups: RuleGroupState[], params: Params): { groups: RuleGroupState[]; next: string } {
  const text = params.get('group_limit');
  const token = params.get('group_next_token');
  if (text === '') {
    if (token !== '') throw badData('group_limit needs to be set when group_next_token is given');
    return { groups, next: '' };
  }
  const limit = Number(text);
  if (!Number.isInteger(limit))
    throw invalidParam('group_limit', `strconv.Atoi: parsing ${quote(text)}: invalid syntax`);
  if (limit < 0) throw invalidParam('group_limit', 'limit must be non-negative');
  if (limit === 0) return { groups, next: '' };
  const from = token === '' ? 0 : groups.findIndex(g => tokenOf(g) === token);
  if (from === -1) throw invalidParam('group_next_token', 'the group it names is gone; start again without a token');
  const rest = groups.slice(from);
  const next = rest[limit];
  return { groups: rest.slice(0, limit), next: next === undefined ? '' : tokenOf(next) };
}

function tokenOf(group: RuleGroupState): string {
  return Buffer.from(`${group.file};${group.name}`).toString('base64url');
}

function groupJson(g: RuleGroupState, excludeAlerts: boolean): unknown {
  return {
    name: g.name,
    file: g.file,
    rules: g.rules.map(r =>
      r.type === 'alerting'
        ? alertingJson(r, excludeAlerts)
        : {
            name: r.name,
            query: r.query,
            ...(r.labels.length > 0 ? { labels: labelsToRecord(r.labels) } : {}),
            health: r.health,
            ...(r.lastError === '' ? {} : { lastError: r.lastError }),
            evaluationTime: r.evaluationTimeMs / 1000,
            lastEvaluation: goTime(r.lastEvaluationMs),
            type: 'recording',
          },
    ),
    interval: g.intervalMs / 1000,
    limit: g.limit,
    evaluationTime: g.evaluationTimeMs / 1000,
    lastEvaluation: goTime(g.lastEvaluationMs),
  };
}

function alertingJson(r: AlertingRuleState, excludeAlerts: boolean): unknown {
  return {
    state: r.state,
    name: r.name,
    query: r.query,
    duration: r.durationMs / 1000,
    keepFiringFor: r.keepFiringForMs / 1000,
    labels: labelsToRecord(r.labels),
    annotations: labelsToRecord(r.annotations),
    alerts: excludeAlerts ? [] : r.alerts.map(alertJson),
    health: r.health,
    ...(r.lastError === '' ? {} : { lastError: r.lastError }),
    evaluationTime: r.evaluationTimeMs / 1000,
    lastEvaluation: goTime(r.lastEvaluationMs),
    type: 'alerting',
  };
}

function alertJson(a: AlertState): unknown {
  return {
    labels: labelsToRecord(a.labels),
    annotations: labelsToRecord(a.annotations),
    state: a.state,
    activeAt: goTime(a.activeAtMs),
    ...(a.keepFiringSinceMs === 0 ? {} : { keepFiringSince: goTime(a.keepFiringSinceMs) }),
    value: formatFloatE(a.value),
  };
}

function labelFilter(selectors: readonly string[]): (labels: Labels) => boolean {
  if (selectors.length === 0) return () => true;
  let sets: Matcher[][];
  try {
    sets = parseMatcherSets(selectors);
  } catch (error) {
    throw invalidParam('match[]', error instanceof Error ? error.message : String(error));
  }
  const tests = sets.map(set => set.map(m => ({ name: m.name, test: compileMatcher(m) })));
  return labels => tests.some(set => set.every(t => t.test(getLabel(labels, t.name))));
}

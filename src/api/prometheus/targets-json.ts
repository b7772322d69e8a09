/** JSON of /targets and /targets/metadata. */
import type { TargetDirectory } from '../../contracts/targets.ts';
import { formatDuration } from '../../lib/duration.ts';
import { getLabel, type Labels, labelsToRecord } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { MetadataEntry } from '../../model/sample-batch.ts';
import type { TenantId } from '../../model/tenant.ts';
import { invalidParam } from '../errors.ts';
import { compileMatcher, parseMatcherSets } from './matchers.ts';
import type { Params } from './params.ts';
import { goTime } from './rules-json.ts';

export function targetsJson(directory: TargetDirectory | null, params: Params, tenant: TenantId): unknown {
  const state = params.get('state').toLowerCase();
  const pool = params.get('scrapePool');
  const inPool = (target: { scrapePool: string }) => pool === '' || target.scrapePool === pool;
  const showActive = state === '' || state === 'any' || state === 'active';
  const showDropped = state === '' || state === 'any' || state === 'dropped';
  const active = showActive ? (directory?.active(tenant) ?? []).filter(inPool) : [];
  const dropped = showDropped ? (directory?.dropped(tenant) ?? []).filter(inPool) : [];
  return {
    activeTargets: active.map(t => ({
      discoveredLabels: labelsToRecord(t.discoveredLabels),
      labels: labelsToRecord(t.labels),
      scrapePool: t.scrapePool,
      scrapeUrl: t.scrapeUrl,
      globalUrl: t.globalUrl,
      lastError: t.lastError,
      lastScrape: goTime(t.lastScrapeMs),
      lastScrapeDuration: t.lastScrapeDurationMs / 1000,
      health: t.health,
      scrapeInterval: formatDuration(t.scrapeIntervalMs),
      scrapeTimeout: formatDuration(t.scrapeTimeoutMs),
    })),
    droppedTargets: dropped.map(t => ({
      discoveredLabels: labelsToRecord(t.discoveredLabels),
      scrapePool: t.scrapePool,
      // Ours beside theirs: why, and by which of the job's relabel rules.
      reason: t.reason,
      ...(t.rule === null ? {} : { rule: t.rule }),
    })),
    droppedTargetCounts: showDropped ? (directory?.droppedCounts(tenant) ?? {}) : {},
  };
}

export function targetMetadataJson(directory: TargetDirectory | null, params: Params, tenant: TenantId): unknown {
  const limit = params.metadataLimit('limit');
  const matches = targetFilter(params.get('match_target'));
  const metric = params.get('metric');
  const out: unknown[] = [];
  for (const { labels, entries } of directory?.metadata(tenant) ?? []) {
    if (limit >= 0 && out.length >= limit) break;
    if (!matches(labels)) continue;
    const wanted = metric === '' ? entries : entries.filter(e => e.metric === metric);
    for (const entry of wanted) out.push(entryJson(labels, entry, metric === ''));
  }
  return limit >= 0 ? out.slice(0, limit) : out;
}

function entryJson(labels: Labels, entry: MetadataEntry, withMetric: boolean): unknown {
  const { metric, type, help, unit } = entry;
  const target = labelsToRecord(labels);
  return withMetric ? { target, metric, type, help, unit } : { target, type, help, unit };
}

function targetFilter(selector: string): (labels: Labels) => boolean {
  if (selector === '') return () => true;
  let matchers: Matcher[];
  try {
    matchers = parseMatcherSets([selector])[0] ?? [];
  } catch (error) {
    throw invalidParam('match_target', error instanceof Error ? error.message : String(error));
  }
  const tests = matchers.map(m => ({ name: m.name, test: compileMatcher(m) }));
  return labels => tests.every(t => t.test(getLabel(labels, t.name)));
}

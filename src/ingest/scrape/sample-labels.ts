/**
 * The labels of a scraped series: the target's joined with the exposed ones, metric relabelling, limits. Runs once per series
 * text; the result is cached (exposition/series-cache.ts).
 */
import type { ScrapeReadSettings } from '../../contracts/scrape-store.ts';
import { METRIC_NAME } from '../../model/labels.ts';
import type { LabelSet } from '../label-set.ts';
import type { LabelMap, Relabel } from './relabel.ts';

/** A series breaks a limit of its job: the scrape as a whole fails, so that nobody mistakes a part for the whole. */
export class ScrapeLimitError extends Error {
  override name = 'ScrapeLimitError';
}

const NAME_BYTES = Buffer.from(METRIC_NAME);
const LEGACY_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** Completes a set in place; false = relabelled away. */
export function labelFinisher(
  job: ScrapeReadSettings,
  targetLabels: readonly string[],
  relabel: Relabel,
): (set: LabelSet) => boolean {
  const added = isPlain(job) ? encoded(targetLabels) : null;
  return set => {
    // Fast path: nothing but the target's labels to add. A first scrape has thousands of series.
    if (added !== null && addLabels(set, added)) return true;
    const flat = set.toFlat();
    const labels: LabelMap = new Map();
    for (let i = 0; i < flat.length; i += 2) {
      const name = flat[i] as string;
      if (labels.has(name)) throw new ScrapeLimitError(`label ${JSON.stringify(name)} is given twice in one series`);
      labels.set(name, flat[i + 1] as string);
    }
    if (job.honorLabels) honorExposed(labels, targetLabels);
    else renameExposed(labels, targetLabels);
    for (const [name, value] of labels) if (value === '') labels.delete(name);
    if (!relabel(labels)) return false;
    check(job, labels);
    set.setFlat([...labels].flat());
    return true;
  };
}

/** Without rules, limits and names to judge. */
function isPlain(job: ScrapeReadSettings): boolean {
  const limits = job.labelLimit + job.labelNameLengthLimit + job.labelValueLengthLimit;
  return !job.honorLabels && job.metricRelabelConfigs.length === 0 && limits === 0 && job.nameValidation === 'utf8';
}

/** Flat [name, value, ...] as bytes. */
function encoded(labels: readonly string[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (labels[i + 1] !== '') out.push(Buffer.from(labels[i] as string), Buffer.from(labels[i + 1] as string));
  }
  return out;
}

/** False, with the set as it was, where one of the names is there already or the metric has no name. */
function addLabels(set: LabelSet, added: readonly Uint8Array[]): boolean {
  let named = false;
  for (let i = 0; i < set.count; i++) {
    if (set.nameIs(i, NAME_BYTES)) {
      const [, , start, end] = set.offsets(i);
      named = end > start;
    }
    for (let k = 0; k < added.length; k += 2) if (set.nameIs(i, added[k] as Uint8Array)) return false;
  }
  if (!named) return false;
  for (let k = 0; k < added.length; k += 2) {
    const name = added[k] as Uint8Array;
    const value = added[k + 1] as Uint8Array;
    set.addBytes(name, 0, name.length, value, 0, value.length);
  }
  return true;
}

/** honor_labels: what the target says wins; an empty exposed label takes the target's away. */
function honorExposed(labels: LabelMap, targetLabels: readonly string[]): void {
  for (let i = 0; i < targetLabels.length; i += 2) {
    const name = targetLabels[i] as string;
    if (!labels.has(name)) labels.set(name, targetLabels[i + 1] as string);
  }
}

/** The target's labels win; an exposed one of the same name becomes exported_<name>. */
function renameExposed(labels: LabelMap, targetLabels: readonly string[]): void {
  const conflicts: [string, string][] = [];
  for (let i = 0; i < targetLabels.length; i += 2) {
    const name = targetLabels[i] as string;
    const exposed = labels.get(name);
    if (exposed !== undefined && exposed !== '') conflicts.push([name, exposed]);
    labels.set(name, targetLabels[i + 1] as string);
  }
  for (const [name, value] of conflicts) {
    let renamed = `exported_${name}`;
    while (labels.has(renamed)) renamed = `exported_${renamed}`;
    labels.set(renamed, value);
  }
}

function check(job: ScrapeReadSettings, labels: LabelMap): void {
  const metric = labels.get(METRIC_NAME) ?? '';
  if (metric === '') throw new ScrapeLimitError('a series has no metric name after relabelling');
  if (job.labelLimit > 0 && labels.size > job.labelLimit) {
    throw new ScrapeLimitError(
      `label_limit exceeded: ${metric} has ${labels.size} labels, the limit is ${job.labelLimit}`,
    );
  }
  const legacy = job.nameValidation === 'legacy';
  if (legacy && !LEGACY_METRIC.test(metric)) {
    throw new ScrapeLimitError(
      `${JSON.stringify(metric)} is not a valid metric name by metric_name_validation_scheme: legacy`,
    );
  }
  for (const [name, value] of labels) {
    if (legacy && name !== METRIC_NAME && !LEGACY_LABEL.test(name)) {
      throw new ScrapeLimitError(
        `${JSON.stringify(name)} is not a valid label name by metric_name_validation_scheme: legacy`,
      );
    }
    if (job.labelNameLengthLimit > 0 && Buffer.byteLength(name) > job.labelNameLengthLimit) {
      throw new ScrapeLimitError(
        `label_name_length_limit exceeded: ${metric} has a label name longer than ${job.labelNameLengthLimit} bytes`,
      );
    }
    if (job.labelValueLengthLimit > 0 && Buffer.byteLength(value) > job.labelValueLengthLimit) {
      throw new ScrapeLimitError(
        `label_value_length_limit exceeded: ${metric}, label ${name}: longer than ${job.labelValueLengthLimit} bytes`,
      );
    }
  }
}

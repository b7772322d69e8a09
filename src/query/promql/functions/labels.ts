/** label_replace, label_join, natural order of label values, and the labels that absent() can know. */
import { RE2JS } from 're2js';
import { PromqlEvalError } from '../../../contracts/leaf-source.ts';
import { getLabel, type Labels, METRIC_NAME, withLabel } from '../../../model/labels.ts';
import type { Matcher } from '../../../model/matcher.ts';
import type { Row } from '../eval/value.ts';

function checkLabelName(name: string, what: string): void {
  if (name === '' || name.includes('\ufffd')) throw new PromqlEvalError(`invalid ${what}: ${name}`);
}

/** In place. */
export function labelReplace(
  rows: readonly Row[],
  target: string,
  replacement: string,
  source: string,
  pattern: string,
): void {
  let regex: RE2JS;
  try {
    regex = RE2JS.compile(`^(?s:${pattern})$`);
  } catch {
    throw new PromqlEvalError(`invalid regular expression in label_replace(): ${pattern}`);
  }
  checkLabelName(target, 'destination label name in label_replace()');
  for (const row of rows) {
    const matcher = regex.matcher(getLabel(row.labels, source));
    if (!matcher.find()) continue;
    const value = expandTemplate(
      replacement,
      i => (i <= matcher.groupCount() ? (matcher.group(i) ?? '') : ''),
      regex.namedGroups(),
    );
    setLabel(row, target, value);
  }
}

/** In place. */
export function labelJoin(rows: readonly Row[], target: string, separator: string, sources: readonly string[]): void {
  for (const s of sources) checkLabelName(s, 'source label name in label_join()');
  checkLabelName(target, 'destination label name in label_join()');
  for (const row of rows) setLabel(row, target, sources.map(s => getLabel(row.labels, s)).join(separator));
}

function setLabel(row: Row, name: string, value: string): void {
  row.labels = withLabel(row.labels, name, value);
  // A name that was just given is there to stay.
  if (name === METRIC_NAME) row.dropName = false;
}

/** Go's template: `$1`, `$name`, `${name}`, `$$`. The longest run of letters, digits and _ is the name. */
function expandTemplate(
  template: string,
  group: (i: number) => string,
  names: Readonly<Record<string, number>>,
): string {
  let out = '';
  let at = 0;
  for (;;) {
    const dollar = template.indexOf('$', at);
    if (dollar < 0) return out + template.slice(at);
    out += template.slice(at, dollar);
    if (template[dollar + 1] === '$') {
      out += '$';
      at = dollar + 2;
      continue;
    }
    const found = /^\$(?:\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))/u.exec(template.slice(dollar));
    if (found === null) {
      // Malformed: the dollar stands for itself.
      out += '$';
      at = dollar + 1;
      continue;
    }
    const name = (found[1] ?? found[2]) as string;
    if (/^\d+$/.test(name)) out += group(Number(name));
    else if (Object.hasOwn(names, name)) out += group(names[name] as number);
    at = dollar + found[0].length;
  }
}

/** absent() answers with the labels that an equality matcher fixes; a label matched twice is none of them. */
export function labelsOfMatchers(matchers: readonly Matcher[]): Labels {
  let labels: Labels = [];
  const seen = new Set<string>();
  for (const m of matchers) {
    if (m.name === METRIC_NAME) continue;
    if (m.op === '=' && !seen.has(m.name)) {
      labels = withLabel(labels, m.name, m.value);
      seen.add(m.name);
    } else labels = withLabel(labels, m.name, '');
  }
  return labels;
}

/** Natural order: runs of digits compare as numbers. */
export function compareNatural(a: string, b: string): number {
  const x = a.match(/\d+|\D+/g) ?? [];
  const y = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const p = x[i] as string;
    const q = y[i] as string;
    if (p === q) continue;
    if (/^\d/.test(p) && /^\d/.test(q)) {
      const difference = Number(p) - Number(q);
      if (difference !== 0) return difference;
      continue;
    }
    return p < q ? -1 : 1;
  }
  return x.length - y.length;
}

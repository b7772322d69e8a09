/**
 * External labels (`global.external_labels` of a Prometheus file): what this server calls itself towards others. They are on nothing that
 * is stored; remote read and federation put them on what leaves, unless a series has a label of that name.
 */
import { compareStrings, getLabel, type Labels } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';

/** Both sorted by name; the result too. */
export function withExternalLabels(labels: Labels, external: Labels): Labels {
  if (external.length === 0) return labels;
  const out: string[] = [];
  let i = 0;
  for (let k = 0; k < external.length; k += 2) {
    const name = external[k] as string;
    while (i < labels.length && compareStrings(labels[i] as string, name) < 0)
      out.push(labels[i++] as string, labels[i++] as string);
    if (labels[i] !== name) out.push(name, external[k + 1] as string);
  }
  while (i < labels.length) out.push(labels[i++] as string);
  return out;
}

/** Without what asks for this server by its labels: stored series do not have them. */
export function withoutExternalMatchers(matchers: readonly Matcher[], external: Labels): Matcher[] {
  return matchers.filter(m => m.op !== '=' || m.value === '' || getLabel(external, m.name) !== m.value);
}

/**
 * The one form in which a push is kept: families of samples as plain data, so that it can cross threads, lie in the state store and be
 * written out as exposition text at every collection.
 */
import { formatFloatG } from '../../lib/go-float.ts';
import { formatLabels, METRIC_NAME } from '../../model/labels.ts';

export interface PushFamily {
  name: string;
  /** counter, gauge, histogram, gaugehistogram, summary, untyped */
  type: string;
  help: string;
  samples: PushSample[];
}

/** [value, name, label name, label value, ...]: labels sorted, with empty values left out. */
export type PushSample = string[];

export function sampleOf(name: string, value: number, labels: ReadonlyMap<string, string>): PushSample {
  const sample = [formatFloatG(value), name];
  const sorted = [...labels].filter(([, text]) => text !== '').sort((a, b) => (a[0] < b[0] ? -1 : 1));
  for (const [label, text] of sorted) sample.push(label, text);
  return sample;
}

/** Names the series, as exposition text writes it: equal for equal series. */
export function seriesText(sample: PushSample): string {
  return formatLabels([METRIC_NAME, ...sample.slice(1)]);
}

export function familyHead(family: Pick<PushFamily, 'name' | 'type' | 'help'>): string {
  const name = isPlainName(family.name) ? family.name : quoted(family.name);
  const help =
    family.help === '' ? '' : `# HELP ${name} ${family.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`;
  return `${help}# TYPE ${name} ${family.type}\n`;
}

function isPlainName(name: string): boolean {
  return /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

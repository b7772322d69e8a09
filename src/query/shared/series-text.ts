/** A label set as error messages show it: every label between braces, the name among them, values quoted. */
import type { Labels } from '../../model/labels.ts';

export function seriesText(labels: Labels): string {
  const parts: string[] = [];
  for (let i = 0; i < labels.length; i += 2) {
    const name = labels[i] as string;
    const text = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : quote(name);
    parts.push(`${text}=${quote(labels[i + 1] as string)}`);
  }
  return `{${parts.join(', ')}}`;
}

function quote(s: string): string {
  return `"${s.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

/** Reading JSON that another program sent: each gives what is there where it is of its kind, and emptiness where it is not. */

export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** null where there is none: an absent text is not an empty one. */
export function optionalText(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

export function texts(value: unknown): string[] {
  return items(value).filter(item => typeof item === 'string');
}

export function num(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** Entries of a map of texts. */
export function pairs(value: unknown): [string, string][] {
  return Object.entries(record(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}

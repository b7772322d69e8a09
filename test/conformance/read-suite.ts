/** Files of the suites. They are data of other projects: read from where SIGHTLINE_SUITES points, never copied. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export function suiteBytes(suites: string, ...path: string[]): Uint8Array {
  return readFileSync(join(suites, ...path));
}

export function suiteJson<T>(suites: string, ...path: string[]): T {
  return JSON.parse(readFileSync(join(suites, ...path), 'utf8')) as T;
}

/** Numbers as the suites write them: JSON has no NaN and no infinities. */
export function suiteNumber(value: number | string): number {
  return typeof value === 'number' ? value : Number(value.replace('Inf', 'Infinity'));
}

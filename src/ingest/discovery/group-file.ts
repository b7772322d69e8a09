/**
 * Target groups as text: the JSON or YAML that files and HTTP endpoints give, `[{"targets": ["host:port"], "labels": {"a": "b"}}]`.
 * Judged whole, as Prometheus judges it: one bad group refuses all.
 */
import { parseDocument } from 'yaml';
import { parseJson } from './discoverer.ts';
import type { TargetGroup } from './target-group.ts';

/** Throws with a message for people. */
export function parseGroupsJson(body: Uint8Array, sourceOf: (index: number) => string): TargetGroup[] {
  return groupsOf(parseJson(body), sourceOf);
}

export function parseGroupsYaml(text: string, sourceOf: (index: number) => string): TargetGroup[] {
  // All scalars are text, so that a label value 1.10 stays as it stands.
  const doc = parseDocument(text, { schema: 'failsafe', prettyErrors: false, logLevel: 'error' });
  const problem = doc.errors[0];
  if (problem !== undefined) throw new Error(`not valid YAML: ${problem.message}`);
  const value: unknown = doc.toJS({ maxAliasCount: 1000 });
  return groupsOf(value === '' ? null : value, sourceOf);
}

function groupsOf(value: unknown, sourceOf: (index: number) => string): TargetGroup[] {
  // An empty file holds no targets.
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new Error('a list of target groups is wanted');
  return value.map((item, i) => groupOf(item, i, sourceOf(i)));
}

function groupOf(value: unknown, index: number, source: string): TargetGroup {
  if (!isRecord(value)) throw new Error(`target group ${index + 1} is empty or no map`);
  for (const key of Object.keys(value)) {
    if (key !== 'targets' && key !== 'labels') throw new Error(`target group ${index + 1} has an unknown field ${key}`);
  }
  const { targets = [], labels = {} } = value;
  if (targets !== null && !isTexts(targets)) throw new Error(`targets of group ${index + 1} are no list of texts`);
  if (labels !== null && !isRecord(labels)) throw new Error(`labels of group ${index + 1} are no map`);
  const map = new Map<string, string>();
  for (const [name, label] of Object.entries(labels ?? {})) {
    if (name === '' || !name.isWellFormed()) throw new Error(`group ${index + 1} has a label with an invalid name`);
    if (typeof label !== 'string') throw new Error(`label ${name} of group ${index + 1} is no text`);
    map.set(name, label);
  }
  return { source, labels: map, targets: (targets ?? []).map(address => new Map([['__address__', address]])) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string');
}

/**
 * TargetGroup: targets that come from one source (a file's entry, a service, a pod) with the labels they share, as every mechanism
 * gives them; and the small text rules they all use.
 */
import { isIPv6 } from 'node:net';

export interface TargetGroup {
  /** Unique within one mechanism of one configuration; a later group of the same source takes the place of the earlier. */
  source: string;
  /** Of all targets; a target's own labels win. */
  labels: ReadonlyMap<string, string>;
  /** Each with `__address__`. */
  targets: readonly ReadonlyMap<string, string>[];
}

/** Of one target, the group's included. A pod with node, namespace and service attached has some hundred. */
export const LABELS_MAX = 4000;
/** Of one target's labels, names and values, in UTF-16 units. Kubernetes bounds an object's annotations to 256 KiB. */
export const LABEL_CHARS_MAX = 2 << 20;
/** Of one discovery section. */
export const TARGETS_MAX = 100_000;

/** Why a group cannot be taken, or ''. */
export function groupProblem(group: TargetGroup): string {
  const shared = size(group.labels);
  for (const target of group.targets) {
    const own = size(target);
    if (shared.count + own.count > LABELS_MAX) {
      return `${group.source}: a target has ${shared.count + own.count} labels, the limit is ${LABELS_MAX}`;
    }
    if (shared.chars + own.chars > LABEL_CHARS_MAX) {
      return `${group.source}: a target's labels have ${shared.chars + own.chars} characters, the limit is ${LABEL_CHARS_MAX}`;
    }
  }
  return '';
}

function size(labels: ReadonlyMap<string, string>): { count: number; chars: number } {
  let chars = 0;
  for (const [name, value] of labels) chars += name.length + value.length;
  return { count: labels.size, chars };
}

export function equalGroups(a: TargetGroup, b: TargetGroup): boolean {
  if (a === b) return true;
  if (a.targets.length !== b.targets.length || !equalMaps(a.labels, b.labels)) return false;
  return a.targets.every((target, i) => equalMaps(target, b.targets[i] as ReadonlyMap<string, string>));
}

function equalMaps(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a.size !== b.size) return false;
  for (const [name, value] of a) if (b.get(name) !== value) return false;
  return true;
}

/** A name made fit for a label: whatever is not a letter, digit or underscore becomes an underscore. */
export function labelName(text: string): string {
  return text.replace(/[^a-zA-Z0-9_]/g, '_');
}

export function joinHostPort(host: string, port: number | string): string {
  return isIPv6(host) || host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

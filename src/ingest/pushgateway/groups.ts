/**
 * TenantGroups: the push groups of one tenant, with what is asked of all of them at once: does a group fit beside the others, and how does
 * the whole look as exposition text. The text is kept until a group changes; a collection of thousands of groups is then one copy.
 */
import { createHash } from 'node:crypto';
import { familyHead, type PushFamily, type PushSample, sampleOf, seriesText } from './family.ts';

/** As it lies in the state store. */
export interface Group {
  /** Sorted by name; empty values are kept, they are part of the group's name. */
  labels: [string, string][];
  families: HeldFamily[];
  /** 0: never. ms. */
  pushTimeMs: number;
  failureTimeMs: number;
}

export interface HeldFamily extends PushFamily {
  pushTimeMs: number;
}

const TIME_HELP = {
  push_time_seconds: 'Last Unix time when changing this group in the Pushgateway succeeded.',
  push_failure_time_seconds: 'Last Unix time when changing this group in the Pushgateway failed.',
} as const;

/** Short, of any labels. */
export function groupId(labels: readonly [string, string][]): string {
  return createHash('sha256').update(JSON.stringify(labels)).digest('hex').slice(0, 40);
}

/** Stored by another version, perhaps. */
export function isGroupDocument(value: unknown): value is Group {
  const group = value as Partial<Group> | null;
  return (
    typeof group === 'object' &&
    group !== null &&
    Array.isArray(group.labels) &&
    Array.isArray(group.families) &&
    typeof group.pushTimeMs === 'number' &&
    typeof group.failureTimeMs === 'number'
  );
}

export class TenantGroups {
  readonly groups = new Map<string, Group>();
  /** Series text to the group that gives it out. */
  private readonly owners = new Map<string, string>();
  /** Family to its type and how many groups hold it. */
  private readonly types = new Map<string, { type: string; groups: number }>();
  private readonly sizes = new Map<string, number>();
  private text: string | null = null;
  /** Of all groups' exposition. */
  bytes = 0;

  set(id: string, group: Group): void {
    this.delete(id);
    this.groups.set(id, group);
    for (const family of [...group.families, ...timeFamilies(group)]) {
      const known = this.types.get(family.name);
      if (known === undefined) this.types.set(family.name, { type: family.type, groups: 1 });
      else known.groups++;
      for (const sample of family.samples) this.owners.set(seriesText(sample), id);
    }
    const size = sizeOf(group);
    this.sizes.set(id, size);
    this.bytes += size;
    this.text = null;
  }

  delete(id: string): void {
    const group = this.groups.get(id);
    if (group === undefined) return;
    for (const family of [...group.families, ...timeFamilies(group)]) {
      const known = this.types.get(family.name);
      if (known !== undefined && --known.groups === 0) this.types.delete(family.name);
      for (const sample of family.samples) this.owners.delete(seriesText(sample));
    }
    this.groups.delete(id);
    this.bytes -= this.sizes.get(id) ?? 0;
    this.sizes.delete(id);
    this.text = null;
  }

  has(series: string): boolean {
    return this.owners.has(series);
  }

  /** Everything a group gives out, by series text. */
  seriesOf(id: string): Map<string, PushSample> {
    const out = new Map<string, PushSample>();
    const group = this.groups.get(id);
    if (group === undefined) return out;
    for (const family of [...group.families, ...timeFamilies(group)]) {
      for (const sample of family.samples) out.set(seriesText(sample), sample);
    }
    return out;
  }

  bytesWith(id: string, group: Group): number {
    return this.bytes - (this.sizes.get(id) ?? 0) + sizeOf(group);
  }

  /** Why this group cannot stand in the place `id` beside the others, or ''. */
  conflict(id: string, group: Group): string {
    const before = this.groups.get(id);
    for (const family of group.families) {
      const known = this.types.get(family.name);
      const own = before?.families.some(other => other.name === family.name) ? 1 : 0;
      if (known !== undefined && known.type !== family.type && known.groups > own) {
        return `metric ${family.name} is a ${known.type} in another group, not a ${family.type}`;
      }
      for (const sample of family.samples) {
        const text = seriesText(sample);
        const owner = this.owners.get(text);
        if (owner !== undefined && owner !== id) {
          return `collected metric ${text} was collected before with the same name and label values, from another group`;
        }
      }
    }
    return '';
  }

  /** All groups, families of one name together. */
  expose(): string {
    if (this.text === null) {
      const byName = new Map<string, PushFamily[]>();
      for (const group of this.groups.values()) {
        for (const family of [...group.families, ...timeFamilies(group)]) {
          const list = byName.get(family.name);
          if (list === undefined) byName.set(family.name, [family]);
          else list.push(family);
        }
      }
      const names = [...byName.keys()].sort();
      this.text = names.map(name => exposition(byName.get(name) as PushFamily[])).join('');
    }
    return this.text;
  }

  exposeGroup(id: string): string {
    const group = this.groups.get(id);
    return group === undefined ? '' : exposition([...group.families, ...timeFamilies(group)]);
  }
}

function sizeOf(group: Group): number {
  return exposition([...group.families, ...timeFamilies(group)]).length;
}

/** The two series that tell when a group was last pushed to. */
function timeFamilies(group: Group): PushFamily[] {
  const labels = new Map(group.labels);
  return (['push_time_seconds', 'push_failure_time_seconds'] as const).map(name => {
    const ms = name === 'push_time_seconds' ? group.pushTimeMs : group.failureTimeMs;
    return { name, type: 'gauge', help: TIME_HELP[name], samples: [sampleOf(name, ms / 1000, labels)] };
  });
}

function exposition(families: readonly PushFamily[]): string {
  let out = '';
  let head = '';
  for (const family of families) {
    if (family.name !== head) out += familyHead(family);
    head = family.name;
    for (const sample of family.samples) out += `${seriesText(sample)} ${sample[0]}\n`;
  }
  return out;
}

/**
 * StoragePolicies: how long which series are kept and when they are downsampled: by tenant, and within a tenant by the
 * first rule whose selector matches the series.
 *
 * A rule makes a group of series. Upkeep sees to it that blocks hold one group each, so that everything that is
 * decided by block (merges, levels, expiry) is decided by group, and what expires leaves the disk as a whole file. A block's
 * group is not written down but read off its index: what was just flushed, imported, or written under other rules, shows as mixed
 * and is split once. For plans a group of a tenant is a tenant of its own, named by its scope.
 */
import { getLabel, type Labels } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import type { TenantId } from '../../model/tenant.ts';
import { compileMatchers } from './matchers.ts';
import type { CompiledMatcher, Part } from './part.ts';
import { type DownsamplePolicy, RES_1H, RES_1M, type RetentionPolicy } from './plan.ts';

export interface TenantPolicy {
  retention: RetentionPolicy;
  downsample: DownsamplePolicy;
}

export interface PolicyRule {
  /** Null: of every tenant. */
  tenant: TenantId | null;
  /** Names the rule in what is remembered about its blocks. */
  selector: string;
  matchers: readonly Matcher[];
  /** What is not given is as the tenant has it. */
  retention: Partial<RetentionPolicy>;
  downsample: Partial<DownsamplePolicy>;
}

/** The group of a block that holds series of more than one group. */
export const MIXED = -1;

/** What a block has to show to be put into a group. */
export interface GroupedBlock extends Part {
  readonly meta: { readonly tenant: string; readonly resolutionMs: number };
  readonly seriesCount: number;
}

interface Group {
  matchers: readonly CompiledMatcher[];
  scope: string;
}

export class StoragePolicies {
  private readonly defaults: TenantPolicy;
  private readonly tenants: ReadonlyMap<TenantId, TenantPolicy>;
  private readonly rules: readonly PolicyRule[];
  /** By tenant, in the order of the rules. */
  private readonly groups = new Map<TenantId, readonly Group[]>();
  private readonly byScope = new Map<string, TenantPolicy>();
  private readonly groupOf = new WeakMap<GroupedBlock, number>();

  constructor(
    defaults: TenantPolicy,
    tenants: ReadonlyMap<TenantId, TenantPolicy> = new Map(),
    rules: readonly PolicyRule[] = [],
  ) {
    this.defaults = defaults;
    this.tenants = tenants;
    this.rules = rules;
  }

  hasRules(tenant: TenantId): boolean {
    return this.groupsOf(tenant).length > 0;
  }

  /** 0 where no rule matches, else 1 + the place of the first that does. */
  groupOfSeries(tenant: TenantId, labels: Labels): number {
    const groups = this.groupsOf(tenant);
    for (let i = 0; i < groups.length; i++) {
      if ((groups[i] as Group).matchers.every(m => m.matches(getLabel(labels, m.name)))) return i + 1;
    }
    return 0;
  }

  /** MIXED where not all of its series are of one group. Looked up in its index once; throws where that is corrupt. */
  groupOfBlock(block: GroupedBlock): number {
    const { tenant } = block.meta;
    const groups = this.groupsOf(tenant);
    if (groups.length === 0) return 0;
    const known = this.groupOf.get(block);
    if (known !== undefined) return known;
    let group = 0;
    for (let i = 0; i < groups.length && group === 0; i++) {
      const set = block.select(tenant, (groups[i] as Group).matchers, block.minT, block.maxT);
      if (set.count > 0) group = set.count === block.seriesCount ? i + 1 : MIXED;
      set.close();
    }
    this.groupOf.set(block, group);
    return group;
  }

  /** The name under which plans know a group of a tenant; the tenant's own where no rule matches. */
  scope(tenant: TenantId, group: number): string {
    return group <= 0 ? tenant : (this.groupsOf(tenant)[group - 1] as Group).scope;
  }

  /** Of a scope that `scope` has named, or of a tenant. */
  of(scope: string): TenantPolicy {
    const known = this.byScope.get(scope);
    if (known !== undefined) return known;
    // Tenants are as many as senders like: only rules' scopes are remembered.
    return settled(this.tenants.get(scope) ?? this.defaults);
  }

  /** How long a block's resolution is kept. ms. */
  keepMs(block: GroupedBlock): number {
    const { tenant, resolutionMs } = block.meta;
    const { rawMs, minuteMs, hourMs } = this.of(this.scope(tenant, this.groupOfBlock(block))).retention;
    return resolutionMs >= RES_1H ? hourMs : resolutionMs >= RES_1M ? minuteMs : rawMs;
  }

  private groupsOf(tenant: TenantId): readonly Group[] {
    if (this.rules.length === 0) return NONE;
    const known = this.groups.get(tenant);
    if (known !== undefined) return known;
    const base = this.tenants.get(tenant) ?? this.defaults;
    const groups = this.rules
      .filter(rule => rule.tenant === null || rule.tenant === tenant)
      .map((rule): Group => {
        // No tenant has a space in its name.
        const scope = `${tenant} ${JSON.stringify(rule.selector)}`;
        if (!this.byScope.has(scope)) {
          const retention = { ...base.retention, ...rule.retention };
          this.byScope.set(scope, settled({ retention, downsample: { ...base.downsample, ...rule.downsample } }));
        }
        return { matchers: compileMatchers(rule.matchers), scope };
      });
    this.groups.set(tenant, groups);
    return groups;
  }
}

const NONE: readonly Group[] = [];

/**
 * A level that would be over when it is written is not; one whose finer data ends before its age is written when that ends, since
 * the finer data would otherwise have to wait for it.
 */
export function settled({ retention, downsample }: TenantPolicy): TenantPolicy {
  const minute = levelAge(downsample.minuteAfterMs, retention.rawMs, retention.minuteMs);
  const finerMs = minute === null ? retention.rawMs : retention.minuteMs;
  const hour = levelAge(downsample.hourAfterMs, finerMs, retention.hourMs);
  return { retention, downsample: { minuteAfterMs: minute, hourAfterMs: hour } };
}

function levelAge(afterMs: number | null, finerKeepMs: number, keepMs: number): number | null {
  if (afterMs === null) return null;
  const age = Math.min(afterMs, finerKeepMs);
  return keepMs <= age ? null : age;
}

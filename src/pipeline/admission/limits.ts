/**
 * Limits: what each tenant may bring, as plain data that goes to every shard thread and is replaced as a whole on a reload.
 *
 * 0 means no limit. The server's own telemetry (tenant _self) has none: it must go on telling when everything else is refused.
 */
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';

export interface TenantLimits {
  /** Series in the index: those with a sample in the last 24 h. */
  activeSeries: number;
  seriesPerMetric: number;
  /** Float samples and histograms. */
  samplesPerSecond: number;
  /** Samples that may come at once beyond the rate. */
  samplesBurst: number;
  labelsPerSeries: number;
  /** Bytes of UTF-8. */
  labelNameBytes: number;
  labelValueBytes: number;
  /** Label names whose series are refused. */
  blockedLabels: readonly string[];
  exemplarsPerSecond: number;
  /** Exemplars kept, all shards together. */
  exemplarsKept: number;
  /** One exemplar in so many is kept, besides one per series and minute; 1 = all. */
  exemplarsOneIn: number;
  /** Metrics whose type and help are kept. */
  metadataMetrics: number;
}

export interface LimitsConfig {
  defaults: TenantLimits;
  tenants: Readonly<Record<TenantId, Partial<TenantLimits>>>;
}

export const NO_LIMITS: Readonly<TenantLimits> = Object.freeze({
  activeSeries: 0,
  seriesPerMetric: 0,
  samplesPerSecond: 0,
  samplesBurst: 0,
  labelsPerSeries: 0,
  labelNameBytes: 0,
  labelValueBytes: 0,
  blockedLabels: [],
  exemplarsPerSecond: 0,
  exemplarsKept: 0,
  exemplarsOneIn: 1,
  metadataMetrics: 0,
});

/** The limits of every tenant; an object per tenant that asked, kept until the next `replace`. */
export class LimitsTable {
  private config: LimitsConfig;
  private readonly known = new Map<TenantId, TenantLimits>();
  /** Grows with every `replace`. */
  version = 0;

  constructor(config: LimitsConfig = { defaults: NO_LIMITS, tenants: {} }) {
    this.config = config;
  }

  replace(config: LimitsConfig): void {
    this.config = config;
    this.known.clear();
    this.version++;
  }

  of(tenant: TenantId): TenantLimits {
    let limits = this.known.get(tenant);
    if (limits === undefined) {
      const own = Object.hasOwn(this.config.tenants, tenant) ? this.config.tenants[tenant] : undefined;
      limits = tenant === SELF_TENANT ? NO_LIMITS : { ...this.config.defaults, ...own };
      // Tenants are made by whoever writes: the table of them must not be.
      if (this.known.size >= KNOWN_MAX) this.known.clear();
      this.known.set(tenant, limits);
    }
    return limits;
  }
}

const KNOWN_MAX = 10_000;

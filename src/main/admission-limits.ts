/** `limits` between the configuration, which speaks as its file does, and the pipeline. */
import type { Config } from '../config/schema.ts';
import type { LimitsConfig, TenantLimits } from '../pipeline/admission/limits.ts';

type LimitKeys = Omit<Config['limits'], 'memory' | 'tenants'>;

const NAMES: { [key in keyof LimitKeys]: keyof TenantLimits } = {
  active_series: 'activeSeries',
  series_per_metric: 'seriesPerMetric',
  samples_per_second: 'samplesPerSecond',
  samples_burst: 'samplesBurst',
  labels_per_series: 'labelsPerSeries',
  label_name_length: 'labelNameBytes',
  label_value_length: 'labelValueBytes',
  blocked_labels: 'blockedLabels',
  exemplars_per_second: 'exemplarsPerSecond',
  exemplars_kept: 'exemplarsKept',
  exemplars_one_in: 'exemplarsOneIn',
  metadata_metrics: 'metadataMetrics',
};

export function limitsConfig(limits: Config['limits']): LimitsConfig {
  return {
    defaults: renamed(limits) as TenantLimits,
    tenants: Object.fromEntries(Object.entries(limits.tenants).map(([tenant, own]) => [tenant, renamed(own)])),
  };
}

function renamed(limits: { [key in keyof LimitKeys]?: LimitKeys[key] | undefined }): Partial<TenantLimits> {
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(NAMES) as (keyof LimitKeys)[]) {
    if (limits[key] !== undefined) out[NAMES[key]] = limits[key];
  }
  return out as Partial<TenantLimits>;
}

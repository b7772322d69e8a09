/** OtlpSettings of a configuration: our defaults, over them the Prometheus file's `otlp`, over that sightline.yaml's. */
import type { LoadedConfig } from '../config/load.ts';
import type { OtlpTranslation } from '../config/prometheus/model.ts';
import type { OtlpSettings } from '../ingest/otlp/settings.ts';

/** By key of the configuration. */
const KEYS: Readonly<Record<keyof OtlpTranslation, keyof OtlpSettings>> = {
  translation_strategy: 'translationStrategy',
  promote_resource_attributes: 'promoteResourceAttributes',
  promote_all_resource_attributes: 'promoteAllResourceAttributes',
  ignore_resource_attributes: 'ignoreResourceAttributes',
  keep_identifying_resource_attributes: 'keepIdentifyingResourceAttributes',
  convert_histograms_to_nhcb: 'convertHistogramsToNhcb',
  promote_scope_metadata: 'promoteScopeMetadata',
  label_name_underscore_sanitization: 'labelNameUnderscoreSanitization',
  label_name_preserve_multiple_underscores: 'labelNamePreserveMultipleUnderscores',
};

/** JSON, as IngestRequest.settings carries it. */
export function otlpSettingsText({ config, prometheus }: LoadedConfig): string {
  const { otlp } = config;
  const settings: Record<string, unknown> = {
    targetInfo: otlp.target_info,
    lookbackMs: config.query.lookback_delta,
    delta: otlp.delta,
    deltaMaxSeries: otlp.delta_max_series,
    deltaMaxStaleMs: otlp.delta_max_stale,
  };
  for (const [key, name] of Object.entries(KEYS) as [keyof OtlpTranslation, keyof OtlpSettings][]) {
    const value = otlp[key] ?? prometheus.otlp[key];
    if (value !== undefined) settings[name] = value;
  }
  return JSON.stringify(settings);
}

/**
 * OtlpSettings: how OpenTelemetry names, resources and histograms become series. Prometheus' own settings by Prometheus' names in
 * camel case, and what we have beyond them.
 *
 * They travel as JSON text beside each request (IngestRequest.settings), so that a reload reaches every worker with the
 * next request and nobody has to be told.
 */

export type TranslationStrategy =
  | 'UnderscoreEscapingWithSuffixes'
  | 'UnderscoreEscapingWithoutSuffixes'
  | 'NoUTF8EscapingWithSuffixes'
  | 'NoTranslation';

export interface OtlpSettings {
  translationStrategy: TranslationStrategy;
  /** Resource attributes that become labels of every series of the resource. */
  promoteResourceAttributes: readonly string[];
  promoteAllResourceAttributes: boolean;
  /** With `promoteAll...`: all but these. */
  ignoreResourceAttributes: readonly string[];
  /** service.name, service.namespace and service.instance.id stay on target_info, beside job and instance. */
  keepIdentifyingResourceAttributes: boolean;
  /** Explicit histograms become native ones with custom buckets. */
  convertHistogramsToNhcb: boolean;
  /** otel_scope_name, otel_scope_version, otel_scope_schema_url and otel_scope_<attribute>. */
  promoteScopeMetadata: boolean;
  /** Labels that begin with one underscore get `key` in front. */
  labelNameUnderscoreSanitization: boolean;
  labelNamePreserveMultipleUnderscores: boolean;
  targetInfo: boolean;
  /** Half of it is how far apart the target_info samples of one request stand. ms. */
  lookbackMs: number;
  /** What becomes of points with delta temporality. */
  delta: 'convert' | 'refuse';
  /** Sums and histograms being accumulated, per worker thread. */
  deltaMaxSeries: number;
  /** A delta series without points for this long starts anew. ms. */
  deltaMaxStaleMs: number;
}

export const DEFAULT_OTLP_SETTINGS: OtlpSettings = Object.freeze({
  translationStrategy: 'UnderscoreEscapingWithSuffixes',
  promoteResourceAttributes: [],
  promoteAllResourceAttributes: false,
  ignoreResourceAttributes: [],
  keepIdentifyingResourceAttributes: false,
  convertHistogramsToNhcb: false,
  promoteScopeMetadata: false,
  labelNameUnderscoreSanitization: true,
  labelNamePreserveMultipleUnderscores: true,
  targetInfo: true,
  lookbackMs: 300_000,
  delta: 'convert',
  deltaMaxSeries: 100_000,
  deltaMaxStaleMs: 3_600_000,
});

/** Settings as a request carries them; '' = all defaults. */
export function parseOtlpSettings(text: string): OtlpSettings {
  if (text === '') return DEFAULT_OTLP_SETTINGS;
  return { ...DEFAULT_OTLP_SETTINGS, ...(JSON.parse(text) as Partial<OtlpSettings>) };
}

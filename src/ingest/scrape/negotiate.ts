/** Which exposition formats are asked for, and which one an answer is in. */

/** As ScrapeJob names the protocols. The media types are those of the formats' own specifications. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  PrometheusProto: 'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited',
  'OpenMetricsText1.0.0': 'application/openmetrics-text;version=1.0.0',
  'OpenMetricsText0.0.1': 'application/openmetrics-text;version=0.0.1',
  'PrometheusText1.0.0': 'text/plain;version=1.0.0',
  'PrometheusText0.0.4': 'text/plain;version=0.0.4',
};

/** Formats whose version knows how to escape names: the wish for UTF-8 names goes with them. */
const ESCAPES = new Set(['OpenMetricsText1.0.0', 'PrometheusText1.0.0']);

/** What is left for `*` when all protocols have had theirs is still above 0. */
const QUALITY_FIRST = Object.keys(MEDIA_TYPES).length + 1;

export type BodyFormat = 'text' | 'openmetrics' | 'protobuf';

/** The Accept header for protocols in order of preference; `escaping` is what a target shall do with names that are no classic ones. */
export function acceptHeader(protocols: readonly string[], escaping: string): string {
  let quality = QUALITY_FIRST;
  const parts = protocols
    .filter(name => Object.hasOwn(MEDIA_TYPES, name))
    .map(name => `${MEDIA_TYPES[name]}${ESCAPES.has(name) ? `;escaping=${escaping}` : ''};q=0.${quality--}`);
  return [...parts, `*/*;q=0.${quality}`].join(',');
}

/** The format of an answer; throws where it names none we know and the job names no fallback. */
export function formatOf(contentType: string, fallback: string): BodyFormat {
  const media = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (media === 'application/openmetrics-text') return 'openmetrics';
  if (media === 'text/plain') return 'text';
  if (media === 'application/vnd.google.protobuf') return 'protobuf';
  if (fallback.startsWith('OpenMetrics')) return 'openmetrics';
  if (fallback.startsWith('PrometheusText')) return 'text';
  if (fallback === 'PrometheusProto') return 'protobuf';
  if (media === '') {
    throw new Error('the target sends no Content-Type, and the job names no fallback_scrape_protocol');
  }
  throw new Error(
    `the target sends Content-Type ${JSON.stringify(contentType.slice(0, 200))}, which is no format we read, and the job names no usable fallback_scrape_protocol`,
  );
}

/** Which exposition formats are asked for, and which one an answer is in. */
import type { ExpositionFormat } from '../exposition/series-text.ts';

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  'OpenMetricsText1.0.0': 'application/openmetrics-text;version=1.0.0',
  'OpenMetricsText0.0.1': 'application/openmetrics-text;version=0.0.1',
  'PrometheusText1.0.0': 'text/plain;version=1.0.0',
  'PrometheusText0.0.4': 'text/plain;version=0.0.4',
};

/** Formats whose version knows how to escape names: the wish for UTF-8 names goes with them. */
const ESCAPES = new Set(['OpenMetricsText1.0.0', 'PrometheusText1.0.0']);

/** The Accept header for protocols in order of preference; protobuf, which we do not read, is left out. */
export function acceptHeader(protocols: readonly string[], nameValidation: 'utf8' | 'legacy'): string {
  const known = protocols.filter(name => Object.hasOwn(MEDIA_TYPES, name));
  const wanted = known.length > 0 ? known : Object.keys(MEDIA_TYPES);
  let quality = wanted.length + 1;
  const parts = wanted.map(name => {
    const escaping = ESCAPES.has(name) ? `;escaping=${nameValidation === 'utf8' ? 'allow-utf-8' : 'underscores'}` : '';
    return `${MEDIA_TYPES[name]}${escaping};q=0.${quality--}`;
  });
  return [...parts, `*/*;q=0.${quality}`].join(',');
}

/** The format of an answer; throws where it names none we know and the job names no fallback. */
export function formatOf(contentType: string, fallback: string): ExpositionFormat {
  const media = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (media === 'application/openmetrics-text') return 'openmetrics';
  if (media === 'text/plain') return 'text';
  if (fallback.startsWith('OpenMetrics')) return 'openmetrics';
  if (fallback.startsWith('PrometheusText')) return 'text';
  if (media === '') {
    throw new Error('the target sends no Content-Type, and the job names no fallback_scrape_protocol');
  }
  throw new Error(
    `the target sends Content-Type ${JSON.stringify(contentType)}, which is no format we read, and the job names no usable fallback_scrape_protocol`,
  );
}

/**
 * The text formats of /federate and the choice between them: what the client's Accept names first, by quality, that is known here; the
 * Prometheus text format where nothing is.
 */
import { formatFloat } from '../encoding/float.ts';

export interface FederateFormat {
  contentType: string;
  /** Names beyond the classic alphabet stand in quotes; else they are escaped. */
  quoted: boolean;
  /** The type of a metric of which none is known. */
  untyped: string;
  timestamp(ms: number): string;
  /** Behind the last line. */
  end: string;
}

/** Ranges in an Accept that are looked at. */
const RANGES_MAX = 50;

interface Range {
  type: string;
  parameters: ReadonlyMap<string, string>;
  quality: number;
}

export function federateFormat(accept: string): FederateFormat {
  for (const { type, parameters } of rangesOf(accept)) {
    const version = parameters.get('version') ?? '';
    const quoted = parameters.get('escaping') === 'allow-utf-8';
    if (type === 'application/openmetrics-text' && ['', '0.0.1', '1.0.0'].includes(version)) {
      return openMetrics(version === '0.0.1' ? version : '1.0.0', quoted);
    }
    if (type === 'text/plain' && ['', '0.0.4', '1.0.0'].includes(version)) return text(quoted);
  }
  return text(false);
}

/** Best first. */
function rangesOf(accept: string): Range[] {
  const ranges = accept
    .split(',', RANGES_MAX)
    .map((part): Range => {
      const [type = '', ...rest] = part.split(';').map(piece => piece.trim());
      const parameters = new Map(
        rest.map(piece => {
          const [name = '', value = ''] = piece.split('=', 2);
          return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')] as const;
        }),
      );
      const quality = Number(parameters.get('q') ?? 1);
      return { type: type.toLowerCase(), parameters, quality: Number.isFinite(quality) ? quality : 0 };
    })
    .filter(range => range.quality > 0);
  return ranges.sort((a, b) => b.quality - a.quality);
}

function text(quoted: boolean): FederateFormat {
  const version = quoted ? '1.0.0' : '0.0.4';
  return {
    contentType: `text/plain; version=${version}; charset=utf-8; escaping=${quoted ? 'allow-utf-8' : 'underscores'}`,
    quoted,
    untyped: 'untyped',
    timestamp: String,
    end: '',
  };
}

function openMetrics(version: string, quoted: boolean): FederateFormat {
  const escaping = quoted ? 'allow-utf-8' : 'underscores';
  return {
    contentType: `application/openmetrics-text; version=${version}; charset=utf-8; escaping=${escaping}`,
    quoted,
    untyped: 'unknown',
    timestamp: ms => formatFloat(ms / 1000),
    end: '# EOF\n',
  };
}

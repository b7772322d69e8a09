/**
 * Which right a request needs: one table for all doors of the HTTP port, so that what is open can be read off one page.
 *
 * Closed by default: a path that is not named needs `read` to be got and `admin` to be changed.
 */
import type { Right } from '../../contracts/auth.ts';

/** Without sign-in: health for load balancers, and the page's own files, which hold no data. */
const OPEN = new Set(['/-/healthy', '/-/ready', '/', '/favicon.ico']);
const OPEN_PREFIXES = ['/assets/'];

/** Sent to by POST, yet only asking. */
const ASKING =
  /^\/(?:prometheus\/)?api\/v1\/(?:query|query_range|query_exemplars|series|labels|format_query|parse_query|export|read)$/;

const WRITING: readonly RegExp[] = [
  /^\/(?:prometheus\/)?api\/v1\/(?:write|push|import(?:\/.*)?|otlp\/.*)$/,
  // OTLP over HTTP.
  /^\/v1\/(?:metrics|logs|traces)$/,
  // Influx line protocol and what its clients ask first, with and without a prefix.
  /^(?:\/influx)?\/(?:(?:api\/v2\/)?write|ping|query|health)$/,
  /^\/datadog\/.*$/,
  // Pushgateway groups.
  /^(?:\/pushgateway)?\/metrics\/job(?:@base64)?\/.*$/,
];

/** Relabel rules are tried out on what is there; nothing changes. */
const TRYING = /^\/sightline\/api\/v1\/cardinality\/relabel$/;

/** Own queries may be stopped by whoever may ask them. */
const STOPPING = /^\/sightline\/api\/queries\/[^/]+$/;
/** Asking about the server's keepers. */
const KEEPING = /^\/sightline\/api\/(?:tokens|audit)(?:\/.*)?$/;

/** null = open to all. `path` is without prefix and query string. */
export function rightFor(method: string, path: string): Right | null {
  if (method === 'OPTIONS') return null;
  const asks = method === 'GET' || method === 'HEAD';
  if (asks && (OPEN.has(path) || OPEN_PREFIXES.some(p => path.startsWith(p)))) return null;
  if (KEEPING.test(path)) return 'admin';
  // Influx clients ask for a ping and name databases before they write.
  if (WRITING.some(r => r.test(path))) return 'write';
  if (asks || (method === 'POST' && (ASKING.test(path) || TRYING.test(path)))) return 'read';
  if (method === 'DELETE' && STOPPING.test(path)) return 'read';
  return 'admin';
}

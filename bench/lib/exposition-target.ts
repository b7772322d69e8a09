/**
 * A process that plays a fleet of scrape targets: every address of 127.0.0.0/8 on one port is a target of 1,000 series (a web
 * service's counters, buckets and gauges). Run by bench/parts/scrape.ts; prints its port.
 *
 * The texts are made once per interval, for all targets, packed and not, so that the targets cost next to nothing on the machine
 * that is being measured: what differs between targets are the labels that the scraper gives them.
 */
import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';
import { mix, mixUnit } from './random.ts';

const BUCKETS = ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '+Inf'];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'];
const STATUSES = ['200', '400', '404', '500'];
const PATHS = Array.from(
  { length: 10 },
  (_, i) => `/api/v1/${['orders', 'customers', 'payments', 'baskets', 'search'][i % 5]}/${i}`,
);
const GAUGES = [
  'memory_heap_bytes',
  'pool_in_use',
  'queue_depth',
  'cache_hit_ratio',
  'workers_busy',
  'open_files',
  'delay_seconds',
  'threads',
];

type Kind = 'counter' | 'sum' | 'gauge';

/** Series texts of one target, in order, with comment lines between as entries without a kind. */
export function targetLines(): { text: string; kind: Kind | null }[] {
  const out: { text: string; kind: Kind | null }[] = [];
  const family = (name: string, type: string): void => {
    out.push({ text: `# HELP ${name} What the service tells about its ${name}.`, kind: null });
    out.push({ text: `# TYPE ${name} ${type}`, kind: null });
  };
  family('http_requests_total', 'counter');
  for (let i = 0; i < 200; i++) {
    const status = STATUSES[Math.floor(i / 50)];
    const text = `http_requests_total{method="${METHODS[i % 5]}",path="${PATHS[Math.floor(i / 5) % 10]}",status="${status}"}`;
    out.push({ text, kind: 'counter' });
  }
  family('http_request_duration_seconds', 'histogram');
  for (let cell = 0; cell < 40; cell++) {
    const labels = `method="${METHODS[cell % 4]}",path="${PATHS[Math.floor(cell / 4)]}"`;
    for (const le of BUCKETS)
      out.push({ text: `http_request_duration_seconds_bucket{${labels},le="${le}"}`, kind: 'counter' });
    out.push({ text: `http_request_duration_seconds_sum{${labels}}`, kind: 'sum' });
    out.push({ text: `http_request_duration_seconds_count{${labels}}`, kind: 'counter' });
  }
  for (const name of GAUGES) {
    family(name, 'gauge');
    for (let i = 0; i < 30; i++)
      out.push({ text: `${name}{component="request-pipeline",pool="pool-${i}"}`, kind: 'gauge' });
  }
  return out;
}

function serve(intervalMs: number): void {
  const lines = targetLines();
  const values = lines.map((_, i) => Math.floor(mixUnit(i, 1) * 1e6));
  let round = -1;
  let plain = Buffer.alloc(0);
  let packed = Buffer.alloc(0);
  const render = (now: number): void => {
    if (now === round) return;
    round = now;
    const text = lines.map(({ text: series, kind }, i) => {
      if (kind === null) return series;
      const random = mixUnit(i, round);
      if (kind === 'counter') values[i] = (values[i] as number) + (mix(i, 77) % 3 === 0 ? 0 : Math.floor(random * 200));
      else if (kind === 'sum') values[i] = (values[i] as number) + random * 12.5;
      else values[i] = Math.floor(random * 1e6);
      return `${series} ${values[i]}`;
    });
    plain = Buffer.from(`${text.join('\n')}\n`);
    packed = gzipSync(plain);
  };
  const server = createServer((request, response) => {
    render(Math.floor(Date.now() / intervalMs));
    const zip = String(request.headers['accept-encoding'] ?? '').includes('gzip');
    const headers: Record<string, string | number> = {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'content-length': (zip ? packed : plain).length,
    };
    if (zip) headers['content-encoding'] = 'gzip';
    response.writeHead(200, headers).end(zip ? packed : plain);
  });
  server.keepAliveTimeout = 120_000;
  server.listen(0, '0.0.0.0', 4096, () => {
    const address = server.address();
    console.log(`port ${typeof address === 'object' ? address?.port : 0}`);
  });
}

if (process.argv[1] === import.meta.filename) serve(Number(process.argv[2] ?? 15_000));

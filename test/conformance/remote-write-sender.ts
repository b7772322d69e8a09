/**
 * The sender's part of the remote-write compliance suite: all cases at once, each with a target, a scrape job and an endpoint of its own, in
 * one server; judged by what arrived.
 *
 * Of every case that scrapes something, all of it must arrive with its labels, values, types and help texts; every request must be sound by
 * the letter of the protocol. On top comes what the case itself is about.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/programs.ts';
import {
  type PlannedAnswer,
  type ReceivedRequest,
  type ReceivedSeries,
  RemoteReceiver,
} from '../support/remote-receiver.ts';
import { Sightline } from '../support/sightline.ts';
import { suiteJson } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

interface SenderCase {
  group: string;
  name: string;
  scrape_data: string | null;
  setup_codes?: string[];
}

/** What a test of this suite has to say about a case beside the rules for all; '' = passed. */
type Judge = (requests: readonly ReceivedRequest[], series: readonly ReceivedSeries[]) => string;

const STATUS: Record<string, number> = {
  StatusOK: 200,
  StatusNoContent: 204,
  StatusBadRequest: 400,
  StatusUnauthorized: 401,
  StatusNotFound: 404,
  StatusRequestEntityTooLarge: 413,
  StatusTooManyRequests: 429,
  StatusInternalServerError: 500,
  StatusBadGateway: 502,
  StatusServiceUnavailable: 503,
  StatusGatewayTimeout: 504,
};
const TYPES = ['unknown', 'counter', 'gauge', 'histogram', 'gaugehistogram', 'summary', 'info', 'stateset'];
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? (\S+)(?: (-?\d+))?$/;

/** Runs for about half a minute. */
export async function runSender(context: SuiteContext, score: Score): Promise<void> {
  const cases = suiteJson<SenderCase[]>(context.suites, '02-compliance/remotewrite/sender_cases.json');
  const receiver = await RemoteReceiver.start(context);
  receiver.plan = request => {
    const i = indexOf(request.path);
    return answerTo(cases[i] as SenderCase, request, receiver.requests.filter(r => indexOf(r.path) === i).length);
  };
  const target = await serveTargets(context, cases);
  const server = await Sightline.start(context, {
    config: 'prometheus: {file: prometheus.yml}\nhost: {enabled: false}\nlimits: {label_value_length: 0}\n',
    files: { 'prometheus.yml': prometheusFile(cases, target, receiver) },
  });
  await until('requests of every case', async () => {
    const seen = new Set(receiver.requests.map(r => indexOf(r.path)));
    return cases.every((c, i) => seen.has(i) || isUnreachable(c));
  });
  // Time for second scrapes, retries and fallbacks.
  await sleep(8000);
  const alive = (await fetch(`${server.url}/-/healthy`)).ok;
  for (const [i, c] of cases.entries()) {
    const requests = receiver.requests.filter(r => indexOf(r.path) === i);
    score.judge(`${c.group}/${c.name}`, alive ? judge(c, requests, i) : 'the server is not alive');
  }
}

function judge(c: SenderCase, requests: readonly ReceivedRequest[], index: number): string {
  if (isUnreachable(c)) return '';
  if (requests.length === 0) return 'nothing came';
  const series = requests.flatMap(r => r.series);
  for (const request of requests) {
    const problem = requestProblem(request);
    if (problem !== '') return problem;
  }
  // Where nothing is ever taken, the first batch comes again and again, and the rest waits behind it.
  if (requests.some(r => r.status < 300)) {
    const scraped = scrapedProblem(c, index, series, requests[0]?.v2 === true && isNew(c));
    if (scraped !== '') return scraped;
  }
  const own = JUDGES[c.name] ?? GROUP_JUDGES[c.group];
  return own === undefined ? '' : own(requests, series);
}

// --- rules for all requests ---

function requestProblem(r: ReceivedRequest): string {
  const type = r.headers['content-type'] ?? '';
  if (r.method !== 'POST') return `method ${r.method}`;
  if (!type.startsWith('application/x-protobuf')) return `content type ${type}`;
  if (r.headers['content-encoding'] !== 'snappy') return 'content encoding is not snappy';
  const version = r.headers['x-prometheus-remote-write-version'];
  if (version !== (r.v2 ? '2.0.0' : '0.1.0')) return `version ${String(version)} with ${type}`;
  if (!/^Sightline\//.test(r.headers['user-agent'] ?? '')) return 'no user agent';
  if (Buffer.from(r.body.subarray(0, 10)).includes('sNaPpY')) return 'framed snappy';
  if (r.series.length > 10_000) return `${r.series.length} series in a request`;
  if (r.v2) {
    if (r.symbols[0] !== '') return 'the first symbol is not empty';
    if (new Set(r.symbols).size !== r.symbols.length) return 'a symbol stands twice in the table';
  } else if (r.symbols.length > 0) return '1.0 with symbols';
  for (const s of r.series) {
    const problem = seriesProblem(s, r);
    if (problem !== '') return `${JSON.stringify(s.labels)}: ${problem}`;
  }
  return '';
}

function seriesProblem(s: ReceivedSeries, r: ReceivedRequest): string {
  const names = Object.keys(s.labels);
  const name = s.labels.__name__ ?? '';
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) return 'no valid metric name';
  if (names.join() !== [...names].sort().join()) return 'labels are not sorted';
  if (names.some(n => n !== '__name__' && !/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(n))) return 'an odd label name';
  if (names.some(n => n !== '__name__' && n.startsWith('__'))) return 'a reserved label';
  if (s.labels.job === undefined || s.labels.instance === undefined) return 'no job or instance';
  if (s.samples.length > 0 && s.histograms > 0) return 'samples and histograms in one entry';
  if (s.samples.length + s.histograms + s.exemplars.length === 0) return 'an empty entry';
  for (const [i, sample] of s.samples.entries()) {
    if (sample.timestampMs < (s.samples[i - 1]?.timestampMs ?? 0)) return 'samples out of order';
    if (sample.startMs > sample.timestampMs) return 'a start after its sample';
    if (sample.startMs !== 0 && !r.v2) return 'a start timestamp in 1.0';
  }
  if (!r.v2) return '';
  const refs = [...s.labelRefs, ...s.exemplarRefs.flat()];
  if (refs.some(ref => ref >= r.symbols.length)) return 'a reference outside the table';
  if (s.labelRefs.length !== names.length * 2) return 'label references that are no pairs, or a doubled label';
  if (s.exemplarRefs.some(e => e.length % 2 !== 0)) return 'exemplar references that are no pairs';
  if (s.metadata?.help === '?' || s.metadata?.unit === '?') return 'metadata that refers outside the table';
  return s.exemplars.some(e => !(e.timestampMs > 1e11) || Number.isNaN(e.value))
    ? 'an exemplar without time or value'
    : '';
}

/** Whether everything in the exposition has arrived. */
function scrapedProblem(
  c: SenderCase,
  index: number,
  series: readonly ReceivedSeries[],
  withMetadata: boolean,
): string {
  const job = `case-${index}`;
  if (c.name === 'stale_marker') return '';
  const text = exposition(c, index);
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(m => [m[1], m[2]]));
  const helps = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(m => [m[1], m[2]]));
  const wanted = new Map<string, { name: string; value: number; time: string | undefined }>();
  for (const line of text.split('\n')) {
    const match = SAMPLE.exec(line.replace(/ # \{.*$/, ''));
    if (match === null || line.startsWith('#')) continue;
    const [, name = '', inner = '', value = '', time] = match;
    // The same series twice is one: the first of them stays.
    const key = labelKey(name, inner, job);
    if (!wanted.has(key)) wanted.set(key, { name, value: numberIn(value), time });
  }
  const got = new Map(series.filter(s => s.samples.length > 0).map(s => [keyOf(s.labels), s]));
  for (const [key, { name, value, time }] of wanted) {
    const s = got.get(key);
    if (s === undefined) return `${key.slice(0, 300)} has not arrived`;
    const sample = s.samples[0];
    const twice = text.split('\n').filter(l => l.startsWith(`${name}{`)).length > wanted.size;
    if (!twice && !Object.is(sample?.value, value)) return `${key.slice(0, 300)} is ${sample?.value}, not ${value}`;
    const problem = timeProblem(sample?.timestampMs ?? 0, time);
    if (problem !== '') return problem;
    const family = [name, name.replace(/_(bucket|count|sum|total|created)$/, '')].find(n => types.has(n));
    if (!withMetadata || family === undefined) continue;
    const { metadata } = s;
    if (TYPES[metadata?.type ?? -1] !== types.get(family)) return `${name} is of type ${metadata?.type}`;
    const help = (helps.get(family) ?? '').replaceAll('\\\\', '\\').replaceAll('\\n', '\n');
    if (
      !text.includes(`# HELP ${family} ${family}`) &&
      c.name !== 'metadata_help_with_newlines' &&
      metadata?.help !== help
    ) {
      return `${name} has the help ${JSON.stringify(metadata?.help)}, not ${JSON.stringify(help)}`;
    }
  }
  return '';
}

function timeProblem(got: number, given: string | undefined): string {
  if (given !== undefined) return got === Number(given) ? '' : `time ${got} instead of ${given}`;
  return Math.abs(got - Date.now()) < 300_000 ? '' : `time ${got} is not about now`;
}

function labelKey(name: string, inner: string, job: string): string {
  const labels: Record<string, string> = { __name__: name, job };
  for (const [, label = '', value = ''] of inner.matchAll(LABEL)) {
    if (value !== '') labels[label] = value.replaceAll('\\\\', '\\').replaceAll('\\"', '"').replaceAll('\\n', '\n');
  }
  return keyOf(labels);
}

/** Without instance, which is the target's, and in the form in which floats are written. */
function keyOf(labels: Record<string, string>): string {
  const entries = Object.entries(labels).filter(([name]) => name !== 'instance');
  const number = (v: string): string => (/^-?\d+\.?\d*$/.test(v) ? String(Number(v)) : v);
  return JSON.stringify(
    entries
      .map(([n, v]) => (n === 'le' || n === 'quantile' ? [n, number(v)] : [n, v]))
      .sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
}

function numberIn(text: string): number {
  if (/^[+]?Inf$/.test(text)) return Infinity;
  return text === '-Inf' ? -Infinity : Number(text);
}

// --- what single cases are about ---

const count =
  (test: (s: ReceivedSeries) => boolean, least: number, what: string): Judge =>
  (_requests, series) =>
    series.filter(test).length >= least ? '' : `fewer than ${least} ${what}`;

const retries: Judge = requests =>
  gaps(requests).length >= 2 ? '' : `${requests.length} requests: it was not tried again`;
const noRetry: Judge = requests => {
  const bodies = requests.map(r => Buffer.from(r.body).toString('base64'));
  return new Set(bodies).size === bodies.length ? '' : 'a refused request came again';
};
const withExemplar = count(s => s.exemplars.length > 0, 1, 'exemplars');
const sent: Judge = requests => (requests.some(r => r.status < 300) ? '' : 'nothing was taken');
const fellBack: Judge = requests => {
  const first = requests.findIndex(r => !r.v2);
  if (first < 1) return 'it did not go from 2.0 to 1.0';
  return requests.slice(first).every(r => !r.v2) ? '' : 'it went back to 2.0';
};

const JUDGES: Record<string, Judge> = {
  exponential_backoff_on_retries: requests => {
    const g = gaps(requests);
    if (g.length < 3) return `${g.length} retries are too few`;
    // Lower bounds alone: a busy machine makes gaps longer.
    return g.every((gap, i) => gap >= 0.7 * Math.min(5000, 30 * 2 ** i)) ? '' : `gaps ${g.join()}`;
  },
  backoff_required: requests =>
    gaps(requests).length >= 2 && gaps(requests).every(gap => gap >= 15) ? '' : `gaps ${gaps(requests).join()}`,
  backoff_max_delay: requests => (gaps(requests).every(gap => gap < 30_000) ? '' : 'a gap above 30 s'),
  backoff_with_jitter: retries,
  retry_on_500: retries,
  retry_on_502: retries,
  retry_on_503: retries,
  retry_on_504: retries,
  no_retry_on_400: noRetry,
  no_retry_on_401: noRetry,
  no_retry_on_404: noRetry,
  no_retry_on_413: noRetry,
  may_retry_on_429: noRetry,
  handle_partial_write_response: noRetry,
  handle_missing_written_headers: noRetry,
  handle_large_error_response: noRetry,
  handle_large_error_body: noRetry,
  sender_continues_after_errors: sent,
  handle_timeout: retries,
  handle_partial_write: retries,
  handle_malformed_response: retries,
  samples_with_exemplars: withExemplar,
  histogram_with_metadata_and_exemplars: withExemplar,
  exemplar_with_trace_id: count(s => s.exemplars.some(e => e.labels.trace_id !== undefined), 1, 'with trace_id'),
  exemplar_with_span_id: count(s => s.exemplars.some(e => e.labels.span_id !== undefined), 1, 'with span_id'),
  exemplar_custom_labels: count(s => s.exemplars.some(e => e.labels.request_id !== undefined), 1, 'with own labels'),
  multiple_exemplars_per_series: count(s => s.exemplars.length > 0, 2, 'exemplars'),
  multiple_series_per_request: requests => (requests.some(r => r.series.length > 5) ? '' : 'one by one'),
  metadata_batching: requests => (requests.some(r => r.series.length > 1) ? '' : 'one by one'),
  huge_label_values: count(s => Object.values(s.labels).some(v => v.length >= 10_000), 1, 'huge values'),
  very_long_metric_name: count(s => (s.labels.__name__ ?? '').length >= 200, 1, 'long names'),
  metadata_unit: count(s => s.metadata?.unit === 'bytes', 1, 'with a unit'),
  TestNoFallbackOn2xx: requests => (requests.every(r => r.v2) ? '' : '1.0 after 2xx'),
  TestSampleOrdering: (requests, series) => {
    const latest = new Map<string, number>();
    for (const s of series) {
      for (const { timestampMs } of s.samples) {
        if (timestampMs < (latest.get(keyOf(s.labels)) ?? 0)) return 'out of order between requests';
        latest.set(keyOf(s.labels), timestampMs);
      }
    }
    return requests.length > 1 ? '' : 'only one request';
  },
};

const GROUP_JUDGES: Record<string, Judge> = {
  TestFallbackBehavior: fellBack,
  TestRemoteWrite1Compatibility: requests => (requests.every(r => !r.v2) ? '' : '2.0 though 1.0 was asked for'),
  TestExemplarEncoding: withExemplar,
  TestRobustnessUnderLoad: count(() => true, 1000, 'series'),
};

function gaps(requests: readonly ReceivedRequest[]): number[] {
  return requests.slice(1).map((r, i) => Math.round(r.at - (requests[i] as ReceivedRequest).at));
}

// --- the world around the sender ---

function isUnreachable(c: SenderCase): boolean {
  return c.group === 'TestNetworkErrors' || c.name === 'handle_connection_refused';
}

/** Speaks 2.0. */
function isNew(c: SenderCase): boolean {
  return !c.group.startsWith('TestRemoteWrite1Comp');
}

/** `before` requests of the case have come. */
function answerTo(c: SenderCase, request: ReceivedRequest, before: number): PlannedAnswer {
  if (c.group === 'TestFallbackBehavior') return { status: request.v2 ? 415 : 204 };
  switch (c.name) {
    case 'handle_timeout':
      return { status: 599, custom: () => {} };
    case 'handle_partial_write':
      return { status: 599, custom: response => response.socket?.end('HTTP/1.1 200 OK\r\ncontent-le') };
    case 'handle_malformed_response':
      return { status: 599, custom: response => response.socket?.end('this is not HTTP\r\n\r\n') };
    case 'handle_invalid_status_code':
      return { status: 999 };
    case 'sender_continues_after_errors':
      return { status: before < 3 ? 500 : 204 };
    case 'handle_large_error_response':
    case 'handle_large_error_body':
      return { status: 400, body: 'x'.repeat(1 << 20) };
    default: {
      const code = /Status[A-Za-z]+/g.exec((c.setup_codes?.[0] ?? '').replace('StatusCode', ''))?.[0] ?? '';
      return { status: STATUS[code] ?? 204, headers: code === 'StatusTooManyRequests' ? { 'retry-after': '1' } : {} };
    }
  }
}

function indexOf(path: string): number {
  return Number(path.split('/')[1]);
}

function prometheusFile(cases: readonly SenderCase[], target: number, receiver: RemoteReceiver): string {
  const jobs = cases.map(
    (_c, i) =>
      `  - {job_name: case-${i}, metrics_path: /${i}, honor_timestamps: true, static_configs: [{targets: ["127.0.0.1:${target}"]}]}`,
  );
  const endpoints = cases.map((c, i) => {
    const message = isNew(c) ? 'io.prometheus.write.v2.Request' : 'prometheus.WriteRequest';
    return `  - url: ${urlOf(c, i, receiver)}
    name: case-${i}
    protobuf_message: ${message}
    send_exemplars: true
    send_native_histograms: true
    remote_timeout: ${c.name === 'handle_timeout' ? '1s' : '10s'}
    queue_config: {batch_send_deadline: 500ms}
    write_relabel_configs: [{source_labels: [job], regex: case-${i}, action: keep}]`;
  });
  return `global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n${jobs.join('\n')}\nremote_write:\n${endpoints.join('\n')}\n`;
}

function urlOf(c: SenderCase, i: number, receiver: RemoteReceiver): string {
  if (c.name === 'dns_resolution_failure') return 'http://no-such-host.invalid/api/v1/write';
  if (c.name === 'invalid_url_scheme') return 'ftp://127.0.0.1/api/v1/write';
  if (c.name === 'handle_connection_refused') return 'http://127.0.0.1:1/api/v1/write';
  return `http://127.0.0.1:${receiver.port}/${i}/api/v1/write`;
}

async function serveTargets(t: Pick<SuiteContext, 'after'>, cases: readonly SenderCase[]): Promise<number> {
  const texts = cases.map(exposition);
  const server = createServer((request, response) => {
    const text = texts[indexOf(request.url ?? '')] ?? '';
    const open = text.includes(' # {') || text.includes('# UNIT');
    const type = open ? 'application/openmetrics-text; version=1.0.0; charset=utf-8' : 'text/plain; version=0.0.4';
    response.writeHead(200, { 'content-type': type }).end(open ? `${text}# EOF\n` : text);
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** What the case's target shows, under names of its own: metadata belongs to a name, whatever the target. */
function exposition(c: SenderCase, index: number): string {
  return dataOf(c).replace(/^(# (?:HELP|TYPE|UNIT) )?(?=[a-zA-Z_])/gm, `$1c${index}_`);
}

/** Cases that leave it open get what their name asks for. */
function dataOf(c: SenderCase): string {
  const given = c.scrape_data;
  if (given !== null && given !== undefined) return ended(given.replaceAll('\\n"', '"').replace(/\\n$/, '\n'));
  const many = (n: number): string =>
    Array.from({ length: n }, (_, i) => `metric_${i % 10}{i="${i}",shared="yes"} ${i}\n`).join('');
  switch (c.name) {
    case 'huge_label_values':
      return `test_metric{large="${'x'.repeat(10_240)}"} 42\n`;
    case 'very_long_metric_name':
      return `very_${'long_'.repeat(50)}name 42\n`;
    case 'future_timestamp':
      return `test_metric 42 ${FUTURE}\n`;
    case 'TestRobustnessUnderLoad':
    case 'many_timeseries':
    case 'batch_size_reasonable':
      return many(1000);
    default:
      return many(50);
  }
}

const FUTURE = Date.now() + 600_000;

function ended(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

/**
 * Suite 03: texts that a scrape must take or refuse, and what it must read from them. The reference for a scrape is the scrape
 * parser (`textparse`), not the stricter text library and the strict OpenMetrics grammar of the same suite; where those refuse what
 * the scrape parser takes, the case is named below and counted as not judged.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import {
  ENTRY_COMMENT,
  ENTRY_END,
  ENTRY_HELP,
  ENTRY_SERIES,
  ENTRY_TYPE,
  ExpositionError,
  ExpositionParser,
} from '../../src/ingest/exposition/parser.ts';
import type { ExpositionFormat } from '../../src/ingest/exposition/series-text.ts';
import { labelsFromPairs } from '../../src/model/labels.ts';
import type { SampleBatch } from '../../src/model/sample-batch.ts';
import { NOW, type Row, read, readProtobuf, rowsOf } from '../support/exposition.ts';
import { suiteBytes, suiteJson, suiteNumber } from './read-suite.ts';
import type { Score, SuiteContext } from './score.ts';

const FOLDER = '03-exposition';
const STRICTER_LIBRARY = 'the text library refuses it, the scrape parser takes it';
const STRICTER_GRAMMAR = 'the strict OpenMetrics grammar refuses it, the scrape parser takes it';

interface ErrorCase {
  input?: string;
  input_hex?: string;
  error?: string | null;
  error_utf8_scheme?: string | null;
}

/** Messages of the text library for what a scrape takes: no newline at the end, unknown escapes, repeated metadata, counts. */
const LIBRARY_ONLY = [
  'unexpected end of input stream',
  'invalid escape sequence',
  "expected float as value for 'quantile' label",
  "expected float as value for 'le' label",
  'second HELP line',
  'second TYPE line',
  'negative count',
  'negative bucket',
];

/**
 * Cases of the strict grammar that are about values and order, which a scrape does not look into. A Prometheus 2.42 scrapes
 * all but the exemplars of other types and the trailing comma; those the parser of 3.x takes.
 */
const SCRAPE_TAKES = new Set(
  `bad_clashing_names_1 bad_counter_values_0 bad_counter_values_10 bad_counter_values_12 bad_counter_values_14
  bad_counter_values_16 bad_counter_values_18 bad_counter_values_2 bad_counter_values_4 bad_counter_values_6
  bad_counter_values_8 bad_exemplar_complex_chars bad_exemplars_on_unallowed_metric_types_1
  bad_exemplars_on_unallowed_samples_0 bad_exemplars_on_unallowed_samples_2 bad_grouping_or_ordering_0
  bad_grouping_or_ordering_10 bad_grouping_or_ordering_3 bad_grouping_or_ordering_5 bad_grouping_or_ordering_7
  bad_grouping_or_ordering_9 bad_histograms_0 bad_histograms_10 bad_histograms_12 bad_histograms_14 bad_histograms_3
  bad_histograms_7 bad_histograms_9 bad_info_and_stateset_values_1 bad_metadata_in_wrong_place_1
  bad_missing_or_extra_commas_2 bad_missing_or_invalid_labels_for_a_type_1 bad_missing_or_invalid_labels_for_a_type_3
  bad_missing_or_invalid_labels_for_a_type_5 bad_missing_or_invalid_labels_for_a_type_7 bad_repeated_metadata_1
  bad_repeated_metadata_3 bad_stateset_info_values_1 bad_stateset_info_values_3 bad_unit_6`.split(/\s+/),
);

export function runExposition(context: SuiteContext, score: Score): void {
  errors(context.suites, score);
  scrapedEntries(context.suites, score);
  families(context.suites, score);
  openMetricsGrammar(context.suites, score);
  wholeFiles(context.suites, score);
}

/** What is wrong with the text, or null. */
function problem(bytes: Uint8Array | string, format: ExpositionFormat): string | null {
  try {
    read(bytes, format);
    return null;
  } catch (error) {
    if (error instanceof ExpositionError) return error.message;
    throw error;
  }
}

function bytesOf(c: ErrorCase): Uint8Array {
  return c.input_hex !== undefined ? Buffer.from(c.input_hex, 'hex') : Buffer.from(c.input ?? '');
}

function verdict(score: Score, name: string, found: string | null, wanted: string | null): void {
  const same = (found === null) === (wanted === null);
  score.judge(name, same ? '' : `${found ?? 'accepted'} instead of ${wanted ?? 'accepted'}`);
}

function errors(suites: string, score: Score): void {
  for (const [file, format] of [
    ['textparse/prom_errors.json', 'text'],
    ['textparse/prom_null_bytes.json', 'text'],
    ['textparse/om_errors.json', 'openmetrics'],
    ['textparse/om_null_bytes.json', 'openmetrics'],
  ] as const) {
    suiteJson<ErrorCase[]>(suites, FOLDER, file).forEach((c, i) => {
      // "EOF" is how the reference parser says that all went well.
      const wanted = c.error === 'EOF' ? null : (c.error ?? null);
      verdict(score, `${file}[${i}]`, problem(bytesOf(c), format), wanted);
    });
  }
  suiteJson<ErrorCase[]>(suites, FOLDER, 'prom-text/parse_error_cases.json').forEach((c, i) => {
    const found = problem(bytesOf(c), 'text');
    const wanted = c.error_utf8_scheme ?? null;
    const laxer = found === null && LIBRARY_ONLY.some(text => wanted?.includes(text));
    if (laxer) score.leaveOut(STRICTER_LIBRARY);
    else verdict(score, `prom-text/parse_error_cases.json[${i}]`, found, wanted);
  });
}

interface ExpectedEntry {
  kind: 'help' | 'type' | 'unit' | 'comment' | 'series';
  metric?: string;
  help?: string;
  type?: string;
  unit?: string;
  labels?: Record<string, string>;
  value?: number | string;
  timestamp_ms?: number;
  start_timestamp_ms?: number;
  exemplars?: { labels: Record<string, string>; value: number; timestamp_ms?: number }[];
}

const canonical = (labels: Record<string, string>): string => JSON.stringify(labelsFromPairs(Object.entries(labels)));

function scrapedEntries(suites: string, score: Score): void {
  for (const [file, format] of [
    ['promparse', 'text'],
    ['promparse_utf8', 'text'],
    ['omparse', 'openmetrics'],
    ['omparse_utf8', 'openmetrics'],
  ] as const) {
    interface Facts {
      input: string;
      entries: ExpectedEntry[];
    }
    const { input, entries } = suiteJson<Facts>(suites, FOLDER, 'textparse', `${file}.json`);
    const batch = read(input, format);
    const rows = rowsOf(batch);
    const exemplars = batch.exemplars?.map(e => `${JSON.stringify(e.labels)} ${e.value}`) ?? [];
    const times = batch.exemplars?.map(e => e.timestampMs) ?? [];
    let exemplar = 0;
    const series = entries.filter(e => e.kind === 'series');
    series.forEach((e, i) => {
      const problems = rowProblems(rows[i], e, file);
      for (const x of e.exemplars ?? []) {
        if (exemplars[exemplar] !== `${canonical(x.labels)} ${x.value}`) problems.push('exemplar');
        if (x.timestamp_ms !== undefined && times[exemplar] !== x.timestamp_ms) problems.push('exemplar time');
        exemplar++;
      }
      const text = problems.length === 0 ? '' : `${problems}: ${JSON.stringify(rows[i])}`;
      score.judge(`textparse/${file}.json series ${i}`, text);
    });
    if (rows.length > series.length) score.judge(`textparse/${file}.json`, `${rows.length - series.length} too many`);
    const metadata = metadataOf(input, format);
    entries
      .filter(e => e.kind !== 'series' && e.kind !== 'comment')
      .forEach((e, i) => {
        const wanted = `${e.kind} ${e.metric} ${e.help ?? e.type ?? e.unit ?? ''}`;
        score.judge(
          `textparse/${file}.json metadata ${i}`,
          metadata[i] === wanted ? '' : `${metadata[i]} instead of ${wanted}`,
        );
      });
  }
}

function rowProblems(row: Row | undefined, e: ExpectedEntry, file: string): string[] {
  if (row === undefined) return ['missing'];
  const problems: string[] = [];
  if (canonical(row.labels) !== canonical(e.labels ?? {})) problems.push('labels');
  if (!Object.is(row.value, suiteNumber(e.value ?? 0))) problems.push('value');
  if (row.timestamp !== (e.timestamp_ms ?? NOW)) problems.push('timestamp');
  // The reference finds a created line only while no other family's samples come between; we always do.
  const scattered = file === 'omparse_utf8' && e.labels?.__name__ === 'go.gc_duration_seconds_sum';
  if (!scattered && row.start !== (e.start_timestamp_ms ?? 0)) problems.push('start timestamp');
  return problems;
}

/** TYPE, HELP and UNIT lines in order. */
function metadataOf(input: string, format: ExpositionFormat): string[] {
  const parser = new ExpositionParser(format);
  parser.reset(Buffer.from(input));
  const found: string[] = [];
  for (let kind = parser.next(); kind !== ENTRY_END; kind = parser.next()) {
    if (kind === ENTRY_SERIES || kind === ENTRY_COMMENT) continue;
    const name = kind === ENTRY_HELP ? 'help' : kind === ENTRY_TYPE ? 'type' : 'unit';
    found.push(`${name} ${parser.metric} ${parser.text}`);
  }
  return found;
}

interface Family {
  Name: string;
  Metric: {
    Label?: { Name: string; Value: string }[];
    TimestampMs?: number;
    [kind: string]: unknown;
  }[];
}

interface ValidCase {
  input: string;
  families: Family[];
}

function families(suites: string, score: Score): void {
  suiteJson<ValidCase[]>(suites, FOLDER, 'prom-text/parse_valid_cases.json').forEach((c, i) => {
    const rows = rowsOf(read(c.input));
    for (const family of c.families) {
      for (const metric of family.Metric) {
        const plain = (metric.Counter ?? metric.Gauge ?? metric.Untyped) as { Value: number | string } | undefined;
        if (plain === undefined) {
          score.leaveOut('the text library puts families together, a scrape stores their series');
          continue;
        }
        if ((metric.TimestampMs ?? 0) < 0) {
          score.leaveOut('samples before 1970 are not stored');
          continue;
        }
        const pairs = (metric.Label ?? []).map((l): [string, string] => [l.Name, l.Value]);
        const labels = JSON.stringify(labelsFromPairs([...pairs, ['__name__', family.Name]]));
        const value = suiteNumber(plain.Value ?? 0);
        const time = metric.TimestampMs ?? NOW;
        const found = rows.some(
          r => canonical(r.labels) === labels && Object.is(r.value, value) && r.timestamp === time,
        );
        score.judge(`prom-text/parse_valid_cases.json[${i}] ${labels}`, found ? '' : `no sample ${value} at ${time}`);
      }
    }
  });
}

function openMetricsGrammar(suites: string, score: Score): void {
  const parsers = join(suites, FOLDER, 'openmetrics', 'parsers');
  for (const name of readdirSync(parsers).sort()) {
    const { shouldParse } = suiteJson<{ shouldParse: boolean }>(parsers, name, 'test.json');
    const found = problem(suiteBytes(parsers, name, 'metrics'), 'openmetrics');
    if (!shouldParse && found === null && SCRAPE_TAKES.has(name)) score.leaveOut(STRICTER_GRAMMAR);
    else verdict(score, `openmetrics/parsers/${name}`, found, shouldParse ? null : 'refused');
  }
}

/** Large realistic expositions, the raw texts of the text library's own tests, and the same families as protobuf. */
function wholeFiles(suites: string, score: Score): void {
  const files = join(suites, FOLDER, 'textparse', 'files');
  for (const name of readdirSync(files).sort()) {
    const format = name.includes('.om.') ? 'openmetrics' : 'text';
    verdict(score, `textparse/files/${name}`, problem(suiteBytes(files, name), format), null);
  }
  const corpus = join(suites, FOLDER, 'prom-text', 'fuzz-corpus');
  for (const name of readdirSync(corpus).sort()) {
    if (name.includes('error')) score.leaveOut('a text of parse_error_cases.json once more');
    else verdict(score, `prom-text/fuzz-corpus/${name}`, problem(suiteBytes(corpus, name), 'text'), null);
  }
  const data = join(suites, FOLDER, 'prom-text', 'expfmt-testdata');
  const texts = sampleTexts(read(suiteBytes(data, 'text')));
  for (const [name, bytes] of [
    ['protobuf', suiteBytes(data, 'protobuf')],
    ['protobuf.gz', gunzipSync(suiteBytes(data, 'protobuf.gz'))],
  ] as const) {
    const same = JSON.stringify(sampleTexts(readProtobuf(bytes))) === JSON.stringify(texts);
    score.judge(`prom-text/expfmt-testdata/${name}`, same ? '' : 'its samples are not those of text');
  }
}

function sampleTexts(batch: SampleBatch): string[] {
  return rowsOf(batch)
    .map(row => `${canonical(row.labels)} ${row.value}`)
    .sort();
}

/**
 * Datadog's payloads -> one form of series. What is wrong with one series stands in its `problem`, so that the others can be kept; what
 * is wrong with the payload throws.
 *
 * Protobuf of v2 (MetricPayload): 1 = series { 1 resources { 1 type, 2 name }, 2 metric, 3 tags, 4 points { 1 value, 2 timestamp },
 * 5 type, 6 unit, 7 source_type_name, 8 interval }.
 */
import { ProtobufError, ProtobufReader } from '../../lib/protobuf.ts';

export interface DatadogSeries {
  metric: string;
  host: string;
  device: string;
  sourceTypeName: string;
  tags: readonly string[];
  /** Flat [type, name, ...]. */
  resources: readonly string[];
  /** Seconds since the epoch; 0 where none was given. */
  times: readonly number[];
  values: readonly number[];
  /** Why it cannot be kept, or ''. */
  problem: string;
}

export class DatadogFormatError extends Error {
  override name = 'DatadogFormatError';
}

const SERIES_MAX = 1_000_000;
const POINTS_MAX = 100_000;
const LIST_MAX = 1000;
const NAME_CHARS_MAX = 1000;

type Json = Record<string, unknown>;

export function* readJsonV1(bytes: Uint8Array): Generator<DatadogSeries> {
  for (const item of seriesArray(bytes)) {
    yield fromJson(item, json => {
      const times: number[] = [];
      const values: number[] = [];
      for (const point of list(json, 'points', POINTS_MAX)) {
        if (!Array.isArray(point) || point.length < 2) throw new DatadogFormatError('a point is not [time, value]');
        times.push(numberIn(point[0], 'a time'));
        values.push(numberIn(point[1], 'a value'));
      }
      return { times, values, resources: [] };
    });
  }
}

export function* readJsonV2(bytes: Uint8Array): Generator<DatadogSeries> {
  for (const item of seriesArray(bytes)) {
    yield fromJson(item, json => {
      const times: number[] = [];
      const values: number[] = [];
      for (const point of list(json, 'points', POINTS_MAX)) {
        const { timestamp, value } = objectIn(point, 'a point');
        times.push(numberIn(timestamp ?? 0, 'a timestamp'));
        values.push(numberIn(value ?? 0, 'a value'));
      }
      const resources: string[] = [];
      for (const resource of list(json, 'resources', LIST_MAX)) {
        const { type, name } = objectIn(resource, 'a resource');
        resources.push(textIn(type ?? '', 'a resource type'), textIn(name ?? '', 'a resource name'));
      }
      return { times, values, resources };
    });
  }
}

function seriesArray(bytes: Uint8Array): unknown[] {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new DatadogFormatError(`the body is not JSON: ${(error as Error).message.slice(0, 300)}`);
  }
  const series = objectIn(root, 'the body').series;
  if (!Array.isArray(series)) throw new DatadogFormatError('the body has no array "series"');
  if (series.length > SERIES_MAX) throw new DatadogFormatError(`more than ${SERIES_MAX} series in one payload`);
  return series;
}

function fromJson(
  item: unknown,
  readPoints: (json: Json) => { times: number[]; values: number[]; resources: string[] },
): DatadogSeries {
  const series = emptySeries();
  try {
    const json = objectIn(item, 'it');
    series.metric = metricName(textIn(json.metric, '"metric"'));
    series.host = textIn(json.host ?? '', '"host"');
    series.device = textIn(json.device ?? '', '"device"');
    series.sourceTypeName = textIn(json.source_type_name ?? '', '"source_type_name"');
    series.tags = list(json, 'tags', LIST_MAX).map(tag => textIn(tag, 'a tag'));
    Object.assign(series, readPoints(json));
  } catch (error) {
    if (!(error instanceof DatadogFormatError)) throw error;
    series.problem = error.message;
  }
  return series;
}

export function* readProtobufV2(bytes: Uint8Array): Generator<DatadogSeries> {
  const reader = new ProtobufReader(bytes);
  try {
    for (let count = 0; reader.more(); ) {
      if (reader.field() !== 1) {
        reader.skip();
        continue;
      }
      if (++count > SERIES_MAX) throw new DatadogFormatError(`more than ${SERIES_MAX} series in one payload`);
      yield readSeriesMessage(reader);
    }
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new DatadogFormatError(`the body is not a metric payload: ${error.message} (byte ${error.offset})`);
  }
}

function readSeriesMessage(r: ProtobufReader): DatadogSeries {
  const series = emptySeries();
  const tags: string[] = [];
  const resources: string[] = [];
  const times: number[] = [];
  const values: number[] = [];
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        readResource(r, resources);
        break;
      case 2:
        series.metric = text(r);
        break;
      case 3:
        tags.push(text(r));
        break;
      case 4:
        readPoint(r, times, values);
        break;
      case 7:
        series.sourceTypeName = text(r);
        break;
      default:
        r.skip();
    }
    if (times.length > POINTS_MAX || tags.length > LIST_MAX || resources.length > 2 * LIST_MAX) {
      throw new DatadogFormatError('a series has too many points, tags or resources');
    }
  }
  r.leave(outer);
  try {
    series.metric = metricName(series.metric);
  } catch (error) {
    series.problem = (error as Error).message;
  }
  return Object.assign(series, { tags, resources, times, values });
}

function readResource(r: ProtobufReader, out: string[]): void {
  let type = '';
  let name = '';
  const outer = r.enter();
  while (r.more()) {
    const field = r.field();
    if (field === 1) type = text(r);
    else if (field === 2) name = text(r);
    else r.skip();
  }
  r.leave(outer);
  out.push(type, name);
}

function readPoint(r: ProtobufReader, times: number[], values: number[]): void {
  let value = 0;
  let time = 0;
  const outer = r.enter();
  while (r.more()) {
    const field = r.field();
    if (field === 1) value = r.double();
    else if (field === 2) time = r.signed();
    else r.skip();
  }
  r.leave(outer);
  times.push(time);
  values.push(value);
}

const utf8 = new TextDecoder('utf-8');

function text(r: ProtobufReader): string {
  const start = r.span();
  return utf8.decode(r.bytes.subarray(start, r.at));
}

function emptySeries(): DatadogSeries {
  return {
    metric: '',
    host: '',
    device: '',
    sourceTypeName: '',
    tags: [],
    resources: [],
    times: [],
    values: [],
    problem: '',
  };
}

/**
 * Datadog's own rule for names: letters, digits, underscores and dots, everything else an underscore, none of those doubled or beside a
 * dot, a letter first.
 */
function metricName(name: string): string {
  if (name.length > NAME_CHARS_MAX)
    throw new DatadogFormatError(`the name is longer than ${NAME_CHARS_MAX} characters`);
  const clean = name
    .replace(/[^a-zA-Z0-9_.]+/g, '_')
    .replace(/__+/g, '_')
    .replace(/_?\._?/g, '.')
    .replace(/^[^a-zA-Z]+/, '');
  if (clean === '') throw new DatadogFormatError('it has no metric name');
  return clean;
}

function objectIn(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DatadogFormatError(`${what} is not an object`);
  }
  return value as Json;
}

function list(json: Json, key: string, max: number): unknown[] {
  const value = json[key] ?? [];
  if (!Array.isArray(value)) throw new DatadogFormatError(`"${key}" is not an array`);
  if (value.length > max) throw new DatadogFormatError(`"${key}" has more than ${max} entries`);
  return value;
}

function textIn(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new DatadogFormatError(`${what} is not a text`);
  if (!value.isWellFormed()) throw new DatadogFormatError(`${what} holds half a surrogate pair`);
  return value;
}

function numberIn(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new DatadogFormatError(`${what} is not a number`);
  return value;
}

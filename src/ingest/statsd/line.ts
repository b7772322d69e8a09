/**
 * StatsD lines -> events, in the dialects that clients speak:
 *
 *     name:value|type[|@rate][|#tag:value,tag]          DogStatsD tags; also value:value:value|type, and |c: |T |e: sections
 *     name,tag=value:value|type                          Influx tags
 *     name#tag=value:value|type                          Librato tags
 *     name[tag=value]:value|type                         SignalFx tags
 *     name:value|type[|@rate]:value|type ...             several samples of one name
 *
 * Types: c counter, g gauge (a sign makes it a change), ms timer, h histogram, d distribution, s set. Events and service checks have no
 * place among metrics: they are dropped by a reason of their own.
 */

export type StatsdType = 'c' | 'g' | 'ms' | 'h' | 'd' | 's';

export interface StatsdSample {
  type: StatsdType;
  /** Of a set: what is counted once. */
  text: string;
  value: number;
  /** Of a gauge: add to what is there. */
  relative: boolean;
  /** 0 < rate <= 1. */
  rate: number;
}

export interface StatsdLine {
  name: string;
  /** Flat [name, value, ...], in the order given. */
  tags: string[];
  samples: StatsdSample[];
}

/** A line, or a part of it, that is dropped: `reason` is a label of a metric. */
export class StatsdLineError extends Error {
  override name = 'StatsdLineError';
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

const NAME_CHARS_MAX = 1000;
const TAGS_MAX = 64;
const SAMPLES_MAX = 1000;
const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;
const TYPES: ReadonlySet<string> = new Set(['c', 'g', 'ms', 'h', 'd', 's']);

/** Throws a StatsdLineError. `line` has no line end. */
export function readStatsdLine(line: string): StatsdLine {
  if (line.startsWith('_e{')) throw new StatsdLineError('event', 'an event');
  if (line.startsWith('_sc|')) throw new StatsdLineError('service_check', 'a service check');
  const colon = nameEnd(line);
  if (colon <= 0) throw malformed(line);
  const head = line.slice(0, colon);
  if (head.length > NAME_CHARS_MAX) throw new StatsdLineError('name_too_long', `a name of ${head.length} characters`);
  const tags: string[] = [];
  const name = readName(head, tags);
  if (name === '') throw malformed(line);
  const rest = line.slice(colon + 1);
  const dogAt = rest.indexOf('|#');
  if (dogAt >= 0 && tags.length > 0) {
    throw new StatsdLineError('mixed_tag_styles', `tags in two styles: ${line.slice(0, 100)}`);
  }
  const samples: StatsdSample[] = [];
  const bar = rest.indexOf('|');
  if (bar < 0) throw malformed(line);
  const values = rest.slice(0, bar);
  if (values.includes(':')) {
    const tail = rest.slice(bar);
    // All have the same tail: its tags count once.
    for (const value of bounded(values.split(':'))) {
      readSample(value + tail, samples.length === 0 ? tags : [], samples, line);
    }
  } else if (dogAt >= 0 || !rest.includes(':') || hasSections(rest)) readSample(rest, tags, samples, line);
  else for (const part of bounded(rest.split(':'))) readSample(part, tags, samples, line);
  if (tags.length > 2 * TAGS_MAX) throw new StatsdLineError('too_many_tags', `more than ${TAGS_MAX} tags`);
  return { name, tags, samples };
}

/** The colon behind the name; SignalFx tags may hold others. */
function nameEnd(line: string): number {
  const colon = line.indexOf(':');
  const open = line.indexOf('[');
  if (open < 0 || open > colon) return colon;
  const close = line.indexOf(']', open);
  return close < 0 ? colon : line.indexOf(':', close);
}

/** Container ids and such are `|c:id`: their colon parts no samples. */
function hasSections(rest: string): boolean {
  return /\|(?:c|e|card):/.test(rest);
}

function readName(head: string, tags: string[]): string {
  const open = head.indexOf('[');
  if (open >= 0) {
    const close = head.indexOf(']', open);
    if (close < 0) throw new StatsdLineError('malformed_tags', `no ] in ${head.slice(0, 100)}`);
    readTags(head.slice(open + 1, close), '=', tags);
    return head.slice(0, open) + head.slice(close + 1);
  }
  const hash = head.indexOf('#');
  const comma = head.indexOf(',');
  const at = hash >= 0 ? hash : comma;
  if (at < 0) return head;
  readTags(head.slice(at + 1), '=', tags);
  return head.slice(0, at);
}

function readTags(text: string, separator: string, tags: string[]): void {
  if (text === '') return;
  for (const tag of text.split(',')) {
    if (tag === '') continue;
    const at = tag.indexOf(separator);
    if (at === 0) throw new StatsdLineError('malformed_tags', `a tag without a name: ${tag.slice(0, 100)}`);
    // DogStatsD has tags without a value.
    tags.push(at < 0 ? tag : tag.slice(0, at), at < 0 ? 'true' : tag.slice(at + 1));
  }
}

function readSample(text: string, tags: string[], samples: StatsdSample[], line: string): void {
  const parts = text.split('|');
  const [value = '', type = ''] = parts;
  if (parts.length < 2 || value === '') throw malformed(line);
  if (!TYPES.has(type)) throw new StatsdLineError('unknown_type', `type ${JSON.stringify(type.slice(0, 20))}`);
  const sample: StatsdSample = { type: type as StatsdType, text: value, value: 0, relative: false, rate: 1 };
  if (type !== 's') {
    if (!NUMBER.test(value)) throw new StatsdLineError('bad_value', `the value ${JSON.stringify(value.slice(0, 100))}`);
    sample.value = Number(value);
    if (!Number.isFinite(sample.value)) throw new StatsdLineError('bad_value', `the value ${value.slice(0, 100)}`);
    sample.relative = type === 'g' && (value.startsWith('+') || value.startsWith('-'));
  }
  for (let i = 2; i < parts.length; i++) {
    const part = parts[i] as string;
    if (part.startsWith('@')) sample.rate = rateOf(part.slice(1));
    else if (part.startsWith('#')) readTags(part.slice(1), ':', tags);
  }
  samples.push(sample);
}

function rateOf(text: string): number {
  const rate = NUMBER.test(text) ? Number(text) : Number.NaN;
  if (!(rate > 0 && rate <= 1))
    throw new StatsdLineError('bad_sampling_rate', `the sampling rate ${text.slice(0, 100)}`);
  return rate;
}

function bounded(parts: string[]): string[] {
  if (parts.length > SAMPLES_MAX) throw new StatsdLineError('too_many_samples', `${parts.length} samples in one line`);
  return parts;
}

function malformed(line: string): StatsdLineError {
  return new StatsdLineError('malformed_line', `${JSON.stringify(line.slice(0, 100))} is not name:value|type`);
}

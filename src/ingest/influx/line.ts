/**
 * Influx line protocol, one line:
 *
 *     measurement[,tag=value ...] field=value[,field=value ...] [timestamp]
 *
 * Each numeric field becomes a series `<measurement>_<field>` with the tags as labels. Booleans are 1 and 0, integers may end in i or u, a string that holds a
 * number is that number; other strings are no samples and are left out.
 *
 * A backslash escapes comma, equals sign and blank in names and tags, and quote and backslash in strings. Lines are UTF-16 text here:
 * no object is made per tag or field, only the texts themselves.
 */
import type { BatchBuilder } from '../batch-builder.ts';
import type { LabelSet } from '../label-set.ts';
import { BadLineError } from '../text-lines.ts';

export interface InfluxLineOptions {
  /** Between measurement and field. */
  separator: string;
  precision: InfluxPrecision;
  /** For lines without a timestamp. ms. */
  nowMs: number;
  /** Label for the database or bucket that was written to; '' adds none. A tag of that name wins. */
  dbLabel: string;
  db: string;
  /** Completes the labels (extra labels, say); false drops the series. */
  finishLabels: ((labels: LabelSet) => boolean) | null;
}

export interface InfluxPrecision {
  /** Decimal digits between the unit and a millisecond where the unit is finer. */
  cut: number;
  /** ms per unit where the unit is a millisecond or coarser. */
  factorMs: number;
}

const PRECISIONS: Readonly<Record<string, InfluxPrecision>> = {
  n: { cut: 6, factorMs: 1 },
  ns: { cut: 6, factorMs: 1 },
  u: { cut: 3, factorMs: 1 },
  us: { cut: 3, factorMs: 1 },
  µ: { cut: 3, factorMs: 1 },
  ms: { cut: 0, factorMs: 1 },
  s: { cut: 0, factorMs: 1000 },
  m: { cut: 0, factorMs: 60_000 },
  h: { cut: 0, factorMs: 3_600_000 },
};

/** '' is nanoseconds; null where the name means nothing. */
export function precisionOf(name: string): InfluxPrecision | null {
  return PRECISIONS[name === '' ? 'ns' : name] ?? null;
}

/** Fields of one line; tags are bounded by LabelSet. */
const FIELDS_MAX = 4096;

const COMMA = 0x2c;
const EQUALS = 0x3d;
const BLANK = 0x20;
const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const HASH = 0x23;

export class InfluxLineReader {
  private readonly builder: BatchBuilder;
  private readonly labels: LabelSet;
  private readonly options: InfluxLineOptions;
  private text = '';
  private at = 0;
  private readonly tagNames: string[] = [];
  private readonly tagValues: string[] = [];
  private readonly fieldNames: string[] = [];
  private readonly fieldValues: number[] = [];

  constructor(builder: BatchBuilder, labels: LabelSet, options: InfluxLineOptions) {
    this.builder = builder;
    this.labels = labels;
    this.options = options;
  }

  /** Throws a BadLineError where the line is wrong, before anything of it is in the batch. */
  read(line: string): void {
    this.text = line;
    this.at = 0;
    this.skipBlanks();
    if (this.at === line.length || line.charCodeAt(this.at) === HASH) return;
    const measurement = this.name(true, 'measurement');
    this.readTags();
    this.skipBlanks();
    if (this.at === line.length) throw new BadLineError('the fields are missing');
    this.readFields();
    const timestampMs = this.readTimestamp();
    this.emit(measurement, timestampMs);
  }

  private readTags(): void {
    this.tagNames.length = 0;
    this.tagValues.length = 0;
    while (this.text.charCodeAt(this.at) === COMMA) {
      this.at++;
      const name = this.name(false, 'tag');
      if (this.text.charCodeAt(this.at) !== EQUALS) throw new BadLineError(`tag ${JSON.stringify(name)} has no value`);
      this.at++;
      const value = this.until(false);
      if (this.text.charCodeAt(this.at) === EQUALS) {
        throw new BadLineError(`the value of tag ${JSON.stringify(name)} holds an equals sign without a backslash`);
      }
      // Telegraf writes none; others do: an empty value is no label.
      if (value === '') continue;
      this.tagNames.push(name);
      this.tagValues.push(value);
    }
  }

  private readFields(): void {
    this.fieldNames.length = 0;
    this.fieldValues.length = 0;
    for (let count = 0; ; count++) {
      if (count === FIELDS_MAX) throw new BadLineError(`it has more than ${FIELDS_MAX} fields`);
      const name = this.name(false, 'field');
      if (this.text.charCodeAt(this.at) !== EQUALS)
        throw new BadLineError(`field ${JSON.stringify(name)} has no value`);
      this.at++;
      const value = this.fieldValue(name);
      if (value !== null) {
        this.fieldNames.push(name);
        this.fieldValues.push(value);
      }
      if (this.text.charCodeAt(this.at) !== COMMA) return;
      this.at++;
    }
  }

  /** null for a string that is no number. */
  private fieldValue(name: string): number | null {
    if (this.text.charCodeAt(this.at) === QUOTE) {
      const text = this.quoted(name);
      const value = numberOf(text.trim());
      return value === undefined ? null : value;
    }
    const start = this.at;
    let p = start;
    for (; p < this.text.length; p++) {
      const c = this.text.charCodeAt(p);
      if (c === COMMA || c === BLANK) break;
    }
    this.at = p;
    const text = this.text.slice(start, p);
    const value = plainValue(text);
    if (value === undefined) {
      throw new BadLineError(
        `the value of field ${JSON.stringify(name)} is ${JSON.stringify(text.slice(0, 100))}: a number, a boolean or a quoted string belongs there`,
      );
    }
    return value;
  }

  private quoted(name: string): string {
    let out = '';
    let p = this.at + 1;
    let from = p;
    for (; p < this.text.length; p++) {
      const c = this.text.charCodeAt(p);
      if (c === QUOTE) {
        out += this.text.slice(from, p);
        this.at = p + 1;
        return out;
      }
      if (c === BACKSLASH) {
        const next = this.text.charCodeAt(p + 1);
        if (next !== QUOTE && next !== BACKSLASH) continue;
        out += this.text.slice(from, p);
        from = p + 1;
        p++;
      }
    }
    throw new BadLineError(`the string of field ${JSON.stringify(name)} has no closing quote`);
  }

  private readTimestamp(): number {
    this.skipBlanks();
    const text = this.text.slice(this.at).trimEnd();
    if (text === '') return this.options.nowMs;
    if (!/^-?\d{1,19}$/.test(text)) {
      throw new BadLineError(
        `${JSON.stringify(text.slice(0, 100))} stands where a timestamp in whole numbers or the line's end belongs`,
      );
    }
    const { cut, factorMs } = this.options.precision;
    // Cutting digits, not dividing: nanoseconds are beyond what a double holds exactly.
    const ms = Number(cut === 0 ? text : text.length > cut ? text.slice(0, -cut) : '0') * factorMs;
    if (!(ms >= 0 && Number.isSafeInteger(ms)) || text.startsWith('-')) {
      throw new BadLineError(`the timestamp ${text} is not between 1970 and year 285,000`, 'invalid_timestamp');
    }
    return ms;
  }

  private emit(measurement: string, timestampMs: number): void {
    const { separator, dbLabel, db, finishLabels } = this.options;
    const set = this.labels;
    for (let f = 0; f < this.fieldNames.length; f++) {
      set.clear();
      const field = this.fieldNames[f] as string;
      set.addStrings('__name__', measurement === '' ? field : measurement + separator + field);
      let hasDb = false;
      for (let i = 0; i < this.tagNames.length; i++) {
        const name = this.tagNames[i] as string;
        if (name === dbLabel) hasDb = true;
        set.addStrings(name, this.tagValues[i] as string);
      }
      if (!hasDb && dbLabel !== '' && db !== '') set.addStrings(dbLabel, db);
      if (finishLabels !== null && !finishLabels(set)) continue;
      if (set.tooLarge) throw new BadLineError('the series has too many or too long labels', 'invalid_labels');
      const duplicate = set.sort();
      if (duplicate >= 0) {
        throw new BadLineError(`tag ${JSON.stringify(set.nameText(duplicate))} is given twice`, 'invalid_labels');
      }
      this.builder.addSeriesSet(set);
      this.builder.addSample(timestampMs, this.fieldValues[f] as number);
    }
  }

  private name(isMeasurement: boolean, what: string): string {
    const name = this.until(isMeasurement);
    if (name === '') throw new BadLineError(`a ${what} has no name`);
    return name;
  }

  /** Up to the next comma, blank or (except in a measurement) equals sign that no backslash escapes. */
  private until(isMeasurement: boolean): string {
    const text = this.text;
    let out = '';
    let from = this.at;
    let p = from;
    for (; p < text.length; p++) {
      const c = text.charCodeAt(p);
      if (c === BACKSLASH) {
        const next = text.charCodeAt(p + 1);
        if (next === COMMA || next === BLANK || (next === EQUALS && !isMeasurement) || next === BACKSLASH) {
          out += text.slice(from, p);
          from = p + 1;
          p++;
        }
      } else if (c === COMMA || c === BLANK || (c === EQUALS && !isMeasurement)) break;
    }
    this.at = p;
    return from === p ? out : out + text.slice(from, p);
  }

  private skipBlanks(): void {
    while (this.text.charCodeAt(this.at) === BLANK) this.at++;
  }
}

/** undefined where the text is neither a number nor a boolean. */
function plainValue(text: string): number | undefined {
  switch (text) {
    case 't':
    case 'T':
    case 'true':
    case 'True':
    case 'TRUE':
      return 1;
    case 'f':
    case 'F':
    case 'false':
    case 'False':
    case 'FALSE':
      return 0;
    default: {
      const last = text.charCodeAt(text.length - 1);
      if (last === 0x69 || last === 0x75) return /^[-+]?\d+[iu]$/.test(text) ? Number(text.slice(0, -1)) : undefined;
      return numberOf(text);
    }
  }
}

const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;

function numberOf(text: string): number | undefined {
  if (!NUMBER.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

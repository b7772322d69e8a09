/**
 * Graphite plaintext, one line: `path[;tag=value ...] value [timestamp]`.
 *
 * The path is the metric's name, tags are labels. The timestamp is in seconds, fractions allowed; without one, or with -1 or N, it is now.
 * Carbon's own rule for tags holds: none is empty. Several blanks or tabs may separate the parts.
 */
import type { PushNaming } from '../../contracts/ingest-service.ts';
import type { BatchBuilder } from '../batch-builder.ts';
import type { LabelSet } from '../label-set.ts';
import { BadLineError } from '../text-lines.ts';

export interface GraphiteLineOptions {
  /** For lines without a timestamp. ms. */
  nowMs: number;
  dots: PushNaming['dots'];
  finishLabels: ((labels: LabelSet) => boolean) | null;
}

const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;

export class GraphiteLineReader {
  private readonly builder: BatchBuilder;
  private readonly labels: LabelSet;
  private readonly options: GraphiteLineOptions;

  constructor(builder: BatchBuilder, labels: LabelSet, options: GraphiteLineOptions) {
    this.builder = builder;
    this.labels = labels;
    this.options = options;
  }

  /** Throws a BadLineError and adds nothing where the line is wrong. */
  read(line: string): void {
    const parts = line.split(/[ \t]+/, 5).filter(part => part !== '');
    if (parts.length === 0) return;
    if (parts.length < 2 || parts.length > 3) {
      throw new BadLineError(`${JSON.stringify(line.slice(0, 100))} is not "path value [timestamp]"`);
    }
    const [path, valueText, timeText] = parts as [string, string, string | undefined];
    const value = sampleValue(valueText);
    const timestampMs = this.timeOf(timeText);
    this.readPath(path);
    const { finishLabels } = this.options;
    if (finishLabels !== null && !finishLabels(this.labels)) return;
    if (this.labels.tooLarge) throw new BadLineError('it has too many or too long tags', 'invalid_labels');
    const duplicate = this.labels.sort();
    if (duplicate >= 0) {
      throw new BadLineError(`tag ${JSON.stringify(this.labels.nameText(duplicate))} is given twice`, 'invalid_labels');
    }
    this.builder.addSeriesSet(this.labels);
    this.builder.addSample(timestampMs, value);
  }

  private readPath(path: string): void {
    const [name = '', ...tags] = path.split(';');
    if (name === '') throw new BadLineError('the path is empty');
    this.labels.clear();
    this.labels.addStrings('__name__', dotted(name, this.options.dots));
    for (const tag of tags) {
      const at = tag.indexOf('=');
      if (at < 1 || at === tag.length - 1) {
        throw new BadLineError(`tag ${JSON.stringify(tag.slice(0, 100))} is not name=value`, 'invalid_labels');
      }
      this.labels.addStrings(tag.slice(0, at), tag.slice(at + 1));
    }
  }

  private timeOf(text: string | undefined): number {
    if (text === undefined || text === '-1' || text === 'N') return this.options.nowMs;
    const ms = NUMBER.test(text) ? Math.round(Number(text) * 1000) : Number.NaN;
    if (!(ms >= 0 && Number.isSafeInteger(ms))) {
      throw new BadLineError(
        `${JSON.stringify(text.slice(0, 100))} is no timestamp in seconds since 1970`,
        'invalid_timestamp',
      );
    }
    return ms;
  }
}

function sampleValue(text: string): number {
  const value = NUMBER.test(text) ? Number(text) : /^nan$/i.test(text) ? Number.NaN : undefined;
  if (value === undefined || Math.abs(value) === Number.POSITIVE_INFINITY) {
    throw new BadLineError(`the value ${JSON.stringify(text.slice(0, 100))} is not a number`);
  }
  return value;
}

/** `servers.a-b.load` as it is, or `servers_a_b_load`, which needs no quotes in PromQL. */
export function dotted(name: string, dots: PushNaming['dots']): string {
  if (dots === 'keep') return name;
  const plain = name.replace(/[^a-zA-Z0-9_:]/g, '_');
  return /^\d/.test(plain) ? `_${plain}` : plain;
}

/**
 * StartTimes: the `_created` lines of an OpenMetrics exposition, read ahead of the samples that they belong to.
 *
 * A family's created line may stand before, among or after its samples, so they are collected in a pass of their own, and
 * only if the text has any. Keyed by family and labels; for histograms `le` and for summaries `quantile` do not count.
 */
import { LabelSet } from '../label-set.ts';
import { ENTRY_END, ENTRY_SERIES, ENTRY_TYPE, ExpositionError, ExpositionParser } from './parser.ts';
import { readSeries, TextError } from './series-text.ts';

const CREATED = Buffer.from('_created');
/** Beyond this many, further series simply have no start. */
const MAX_LINES = 1 << 20;

export class StartTimes {
  private readonly times = new Map<string, number>();
  private readonly labels = new LabelSet();

  /** null if the text has no created lines. A malformed text is left to the main pass to report. */
  static collect(bytes: Uint8Array): StartTimes | null {
    if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(CREATED) < 0) return null;
    const starts = new StartTimes();
    starts.readAll(bytes);
    return starts.times.size > 0 ? starts : null;
  }

  appliesTo(familyType: string): boolean {
    return familyType === 'counter' || familyType === 'histogram' || familyType === 'summary';
  }

  /** Whether the parser's current series is a created line of this family. */
  isCreatedLine(parser: ExpositionParser, family: string): boolean {
    readSeries(parser.bytes, parser.seriesStart, parser.seriesEnd, 'openmetrics', this.labels);
    return this.labels.valueOf('__name__') === `${family}_created`;
  }

  /** The start of the parser's current series in ms, 0 if unknown. Follows `isCreatedLine`, whose labels it uses. */
  find(family: string, familyType: string): number {
    const name = this.labels.valueOf('__name__');
    if (name !== family && !name.startsWith(`${family}_`)) return 0;
    return this.times.get(this.key(family, familyType)) ?? 0;
  }

  private readAll(bytes: Uint8Array): void {
    const parser = new ExpositionParser('openmetrics');
    parser.reset(bytes);
    let family = '';
    let familyType = '';
    try {
      for (let kind = parser.next(); kind !== ENTRY_END; kind = parser.next()) {
        if (kind === ENTRY_TYPE) {
          family = parser.metric;
          familyType = parser.text;
        } else if (kind === ENTRY_SERIES && this.appliesTo(familyType) && this.isCreatedLine(parser, family)) {
          const ms = Math.trunc((parser.values[0] as number) * 1000);
          if (ms > 0 && ms <= Number.MAX_SAFE_INTEGER && this.times.size < MAX_LINES) {
            this.times.set(this.key(family, familyType), ms);
          }
        }
      }
    } catch (error) {
      if (!(error instanceof ExpositionError || error instanceof TextError)) throw error;
    }
  }

  private key(family: string, familyType: string): string {
    this.labels.sort();
    const skipped = familyType === 'histogram' ? 'le' : familyType === 'summary' ? 'quantile' : '';
    let key = family;
    for (let i = 0; i < this.labels.count; i++) {
      const name = this.labels.nameText(i);
      if (name !== '__name__' && name !== skipped) key += `\0${name}\0${this.labels.valueText(i)}`;
    }
    return key;
  }
}

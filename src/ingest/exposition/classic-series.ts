/**
 * ClassicSeries: finds the lines of classic histograms in an exposition's text and turns each group of them (the lines of one family
 * with equal labels but for `le`, one after the other) into one native histogram with custom buckets.
 */
import { LabelSet } from '../label-set.ts';
import { ClassicHistogram } from './classic-histogram.ts';
import { parseFloatBytes } from './float.ts';
import type { ExpositionParser } from './parser.ts';
import { readSeries } from './series-text.ts';

export interface FinishedGroup {
  /** The histogram's name and labels, sorted. Equal groups have equal keys. */
  labels: LabelSet;
  key: Uint8Array;
  histogram: ReturnType<ClassicHistogram['toNative']>;
  timestampMs: number;
}

export class ClassicSeries {
  private readonly histogram = new ClassicHistogram();
  private readonly lineLabels = new LabelSet();
  private readonly groupLabels = new LabelSet();
  private readonly scratch = new Float64Array(1);
  private group = '';
  private timestampMs = 0;

  /**
   * Whether the parser's series is part of a classic histogram of this family. Where it begins a new group, `flush` is called
   * first with the group before it in place.
   */
  take(parser: ExpositionParser, family: string, timestampMs: number, flush: () => void): boolean {
    const set = this.lineLabels;
    readSeries(parser.bytes, parser.seriesStart, parser.seriesEnd, parser.format, set);
    const name = set.valueOf('__name__');
    const part = name.startsWith(family) ? name.slice(family.length) : '';
    if (part !== '_bucket' && part !== '_count' && part !== '_sum') return false;
    let le = -1;
    let key = family;
    set.sort();
    for (let i = 0; i < set.count; i++) {
      const label = set.nameText(i);
      if (part === '_bucket' && label === 'le') le = i;
      else if (label !== '__name__') key += `\0${label}\0${set.valueText(i)}`;
    }
    if (part === '_bucket' && le < 0) return false;
    if (key !== this.group) {
      flush();
      this.begin(key, family);
    }
    this.timestampMs = timestampMs;
    const value = parser.values[0] as number;
    if (part === '_count') this.histogram.setCount(value);
    else if (part === '_sum') this.histogram.setSum(value);
    else {
      const [, , start, end] = set.offsets(le);
      const upper = parseFloatBytes(set.bytes, start, end, this.scratch) ? (this.scratch[0] as number) : Number.NaN;
      this.histogram.addBucket(upper, value);
    }
    return true;
  }

  /** The group so far, or null if there is none; begins anew. */
  finish(): FinishedGroup | null {
    if (this.group === '') return null;
    const key = Buffer.from(`histogram\0${this.group}`);
    this.group = '';
    if (this.histogram.empty) return null;
    return { labels: this.groupLabels, key, histogram: this.histogram.toNative(), timestampMs: this.timestampMs };
  }

  private begin(key: string, family: string): void {
    this.group = key;
    this.histogram.reset();
    const set = this.groupLabels;
    set.clear();
    set.addStrings('__name__', family);
    for (let i = 0; i < this.lineLabels.count; i++) {
      const name = this.lineLabels.nameText(i);
      if (name !== '__name__' && name !== 'le') set.addStrings(name, this.lineLabels.valueText(i));
    }
    set.sort();
  }
}

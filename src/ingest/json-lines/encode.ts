/**
 * Series -> JSON lines (the format is in decode.ts), piece by piece so that a long series never stands in memory as one text.
 *
 * NaN becomes null, infinities become texts, as VictoriaMetrics has them. Staleness markers have no place in that format:
 * they are left out, unless `keepStale` asks for a text that only our own import understands.
 */
import type { Labels } from '../../model/labels.ts';
import { labelsToRecord } from '../../model/labels.ts';
import { isStale } from '../../model/stale.ts';

export interface JsonLinesEncodeOptions {
  /** Samples on one line; longer series continue on further lines. */
  maxSamplesPerLine?: number;
  keepStale?: boolean;
}

const DEFAULT_SAMPLES_PER_LINE = 10_000;

/** The lines of one series, samples [0, count), each with its newline. A series without samples gives none. */
export function* encodeJsonLines(
  labels: Labels,
  timestamps: Float64Array,
  values: Float64Array,
  count: number,
  options: JsonLinesEncodeOptions = {},
): Generator<string> {
  const perLine = options.maxSamplesPerLine ?? DEFAULT_SAMPLES_PER_LINE;
  const keepStale = options.keepStale ?? false;
  const head = `{"metric":${JSON.stringify(labelsToRecord(labels))},"values":[`;
  for (let from = 0; from < count; ) {
    let valueTexts = '';
    let timeTexts = '';
    let onLine = 0;
    let i = from;
    for (; i < count && onLine < perLine; i++) {
      const stale = isStale(values, i);
      if (stale && !keepStale) continue;
      const comma = onLine === 0 ? '' : ',';
      valueTexts += comma + (stale ? '"StaleNaN"' : valueText(values[i] as number));
      timeTexts += comma + String(timestamps[i]);
      onLine++;
    }
    if (onLine > 0) yield `${head}${valueTexts}],"timestamps":[${timeTexts}]}\n`;
    from = i;
  }
}

function valueText(v: number): string {
  if (v !== v) return 'null';
  if (v === Number.POSITIVE_INFINITY) return '"Infinity"';
  if (v === Number.NEGATIVE_INFINITY) return '"-Infinity"';
  return Object.is(v, -0) ? '-0' : String(v);
}

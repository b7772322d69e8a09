/** What a job wants of histograms, and bringing native ones within its limits by coarser buckets. */
import { CUSTOM_BUCKETS_SCHEMA, type FloatHistogram } from '../../model/histogram.ts';
import { HistogramWork } from '../../model/histogram-math.ts';

export interface HistogramOptions {
  /** Native ones are taken; otherwise only the classic series of a histogram. */
  native: boolean;
  /** Classic series are kept beside the native histogram that says the same. */
  keepClassic: boolean;
  /** Classic ones become native ones with custom buckets. */
  convertClassic: boolean;
  /** Of both signs together; 0 = no limit. */
  bucketsMax: number;
  /** The finest schema to be stored, -4 ... 8. */
  schemaMax: number;
}

export const CLASSIC_ONLY: HistogramOptions = Object.freeze({
  native: false,
  keepClassic: false,
  convertClassic: false,
  bucketsMax: 0,
  schemaMax: 8,
});

const SCHEMA_MIN = -4;
const SCHEMA_MAX = 8;
/** What clients take where they are told 1 or less. */
const FACTOR_MIN = 1.00271;

/** The finest schema whose buckets grow by at least this factor, as client libraries choose it. */
export function schemaOfFactor(factor: number): number {
  const floor = Math.floor(-Math.log2(Math.log2(factor <= 1 ? FACTOR_MIN : factor))) + 0;
  return Math.min(SCHEMA_MAX, Math.max(SCHEMA_MIN, floor));
}

/** The histogram with coarser buckets where it must be, or null where no resolution fits the limit. */
export function limited(h: FloatHistogram, options: HistogramOptions): FloatHistogram | null {
  const over = (positive: readonly number[], negative: readonly number[]): boolean =>
    options.bucketsMax > 0 && positive.length + negative.length > options.bucketsMax;
  if (h.schema === CUSTOM_BUCKETS_SCHEMA) return over(h.positiveBuckets, h.negativeBuckets) ? null : h;
  if (h.schema <= options.schemaMax && !over(h.positiveBuckets, h.negativeBuckets)) return h;
  const work = new HistogramWork(h);
  if (work.schema > options.schemaMax) work.reduceTo(options.schemaMax);
  while (over(work.positive.index, work.negative.index)) {
    if (work.schema === SCHEMA_MIN) return null;
    work.reduceTo(work.schema - 1);
  }
  return { ...work.finish(), integer: h.integer };
}

/**
 * Loads families of series over a span of time: window by window from old to new, every series of a window before the
 * next, so that a store that refuses samples older than its newest block takes them all.
 */
import type { Family } from '../datasets/query-series.ts';
import { Corpus } from '../lib/corpus.ts';
import { WriteRequestEncoder } from '../lib/write-request.ts';

const SAMPLES_PER_REQUEST = 2000;
/** Windows are this many scrapes of the fastest family that is active in them. */
const SCRAPES_PER_WINDOW = 20;
/** Prometheus takes samples up to an hour older than its newest; half of that leaves room. */
const EPOCH_MS = 1_800_000;

/** All samples of the families up to `endMs`, in phase "load". */
export function familyCorpus(path: string, families: Family[], endMs: number): Corpus {
  const corpus = new Corpus(path);
  const encoders = new Map<number, WriteRequestEncoder>();
  const times = new Float64Array(4096);
  const values = new Float64Array(4096);
  const flush = (lane: number, encoder: WriteRequestEncoder): void => {
    const { samples } = encoder;
    if (samples > 0) corpus.add('load', lane, encoder.finish(), samples, epoch);
  };
  let epoch = 0;
  let startMs = Math.min(...families.map(family => family.startMs));
  while (startMs < endMs) {
    const stopMs = Math.min(endMs, windowEnd(families, startMs));
    epoch = Math.floor(startMs / EPOCH_MS);
    families.forEach((family, familyIndex) => {
      for (let i = 0; i < family.count; i++) {
        const count = gridTimes(family, i, startMs, stopMs, times);
        if (count === 0) continue;
        family.fill(i, times, values, count);
        // A lane holds the same series in every window.
        const lane = family.count < 1000 ? 0 : familyIndex * 3 + Math.floor(i / 100);
        let encoder = encoders.get(lane);
        if (!encoder) {
          encoder = new WriteRequestEncoder();
          encoders.set(lane, encoder);
        }
        encoder.add(family.labels.get(i), values, times, 0, count);
        if (encoder.samples >= SAMPLES_PER_REQUEST) flush(lane, encoder);
      }
    });
    for (const [lane, encoder] of encoders) flush(lane, encoder);
    startMs = stopMs;
  }
  return corpus;
}

/** The window that begins at `startMs`: short while fast families are active, and never across a family's start. */
function windowEnd(families: Family[], startMs: number): number {
  const active = families.filter(family => family.startMs <= startMs);
  const later = families.filter(family => family.startMs > startMs);
  const fastest = Math.min(...active.map(family => family.stepMs));
  return Math.min(startMs + fastest * SCRAPES_PER_WINDOW, ...later.map(family => family.startMs));
}

/** Scrape times of a series in [startMs, stopMs), into `times`; their number. */
function gridTimes(family: Family, index: number, startMs: number, stopMs: number, times: Float64Array): number {
  if (startMs < family.startMs) return 0;
  let count = 0;
  let time = Math.ceil(startMs / family.stepMs) * family.stepMs + family.offsetMs(index);
  if (time - family.stepMs >= startMs) time -= family.stepMs;
  for (; time < stopMs; time += family.stepMs) times[count++] = time;
  return count;
}

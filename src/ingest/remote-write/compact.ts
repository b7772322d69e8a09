/**
 * Taking rows out of a batch in place: whole series that were refused, and samples whose timestamps cannot be kept.
 * Rare, so it is simple: columns are shifted down over the gaps. Values move as bits, so that NaN payloads survive.
 */
import type { SampleBatch } from '../../model/sample-batch.ts';
import type { Rejections } from './rejections.ts';

/** `dropped[i]` is 1 for series to be left out (already counted); odd timestamps are found and counted here. */
export function compactBatch(batch: SampleBatch, dropped: Uint8Array | null, rejections: Rejections): void {
  const valueWords = new Uint32Array(batch.values.buffer, batch.values.byteOffset, batch.values.length * 2);
  const newIndex = new Int32Array(batch.seriesCount);
  let kept = 0;
  let samples = 0;
  let from = batch.sampleStart[0] as number;
  for (let i = 0; i < batch.seriesCount; i++) {
    const to = batch.sampleStart[i + 1] as number;
    if (dropped !== null && dropped[i] === 1) {
      newIndex[i] = -1;
      from = to;
      continue;
    }
    newIndex[i] = kept;
    batch.labelStart[kept] = batch.labelStart[i] as number;
    batch.labelEnd[kept] = batch.labelEnd[i] as number;
    batch.hashes.copyWithin(kept * 4, i * 4, i * 4 + 4);
    batch.sampleStart[kept] = samples;
    for (let row = from; row < to; row++) {
      const t = batch.timestamps[row] as number;
      if (!(t >= 0 && t <= Number.MAX_SAFE_INTEGER)) {
        rejections.add('invalid_timestamp', 1, () => `series ${i}: sample at ${t} ms; timestamps are 0 to 2^53 - 1`);
        continue;
      }
      batch.timestamps[samples] = t;
      valueWords[2 * samples] = valueWords[2 * row] as number;
      valueWords[2 * samples + 1] = valueWords[2 * row + 1] as number;
      samples++;
    }
    from = to;
    kept++;
  }
  batch.sampleStart[kept] = samples;
  batch.seriesCount = kept;
  batch.histograms = renumber(batch.histograms, newIndex);
  batch.exemplars = renumber(batch.exemplars, newIndex);
}

function renumber<T extends { series: number }>(rows: readonly T[] | null, newIndex: Int32Array): T[] | null {
  if (rows === null) return null;
  const out: T[] = [];
  for (const row of rows) {
    const series = newIndex[row.series] as number;
    if (series >= 0) out.push({ ...row, series });
  }
  return out.length > 0 ? out : null;
}

/**
 * De-duplication of replicas: where two scrapers feed one series (their replica label taken off at the door), keeps one
 * sample per interval: the last in (k * interval - interval, k * interval].
 *
 * A pure function of the samples, so head, blocks and merges agree whatever arrived first; the same rule as VictoriaMetrics'
 * -dedup.minScrapeInterval. The interval should be the scrape interval: then one replica's samples stay, and when
 * it fails the other's fill in without a gap.
 */
import type { SampleBuffer } from '../../contracts/sample-source.ts';

/** Thins both columns of the buffer out, in place. */
export function dedupInterval(buffer: SampleBuffer, intervalMs: number): void {
  const { timestamps, values, startTimestamps } = buffer;
  let kept = 0;
  for (let i = 0; i < buffer.length; i++) {
    const end = Math.ceil((timestamps[i] as number) / intervalMs) * intervalMs;
    // Not the last of its interval.
    if (i + 1 < buffer.length && (timestamps[i + 1] as number) <= end) continue;
    if (kept < i) {
      timestamps[kept] = timestamps[i] as number;
      // As bytes: the value may be a staleness marker.
      values.copyWithin(kept, i, i + 1);
      if (startTimestamps !== null) startTimestamps[kept] = startTimestamps[i] as number;
    }
    kept++;
  }
  buffer.length = kept;
  dedupHistograms(buffer, intervalMs);
}

function dedupHistograms(buffer: SampleBuffer, intervalMs: number): void {
  const { histogramTimestamps, histograms, histogramStartTimestamps } = buffer;
  let kept = 0;
  for (let i = 0; i < buffer.histogramLength; i++) {
    const end = Math.ceil((histogramTimestamps[i] as number) / intervalMs) * intervalMs;
    if (i + 1 < buffer.histogramLength && (histogramTimestamps[i + 1] as number) <= end) continue;
    histogramTimestamps[kept] = histogramTimestamps[i] as number;
    histograms[kept] = histograms[i] as (typeof histograms)[number];
    if (histogramStartTimestamps !== null) histogramStartTimestamps[kept] = histogramStartTimestamps[i] as number;
    kept++;
  }
  buffer.histogramLength = kept;
}

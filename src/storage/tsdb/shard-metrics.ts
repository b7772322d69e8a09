/** Own metrics of a shard: what was appended, what is kept, what the upkeep does. Summed over shards by whoever reads them. */
import type { Counter, MetricsRegistry } from '../../lib/metrics.ts';
import type { AppendCounts } from './head/appender.ts';
import type { TsdbShard } from './shard.ts';

export interface ShardMetrics {
  upkeepFailures: Counter;
  count(counts: AppendCounts, exemplars: number): void;
}

export function shardMetrics(registry: MetricsRegistry, shard: TsdbShard): ShardMetrics {
  const samples = registry.counter('sightline_tsdb_samples_appended_total', 'Samples stored, histograms included.');
  const outOfOrder = registry.counter(
    'sightline_tsdb_out_of_order_samples_total',
    'Samples stored that came late or were a second value for their time.',
  );
  const duplicates = registry.counter('sightline_tsdb_duplicate_samples_total', 'Samples that were there already.');
  const created = registry.counter('sightline_tsdb_series_created_total', 'Series made in the head.');
  const rejected = registry.counter('sightline_tsdb_rejected_samples_total', 'Samples refused, by reason.', ['reason']);
  const exemplarsStored = registry.counter('sightline_tsdb_exemplars_appended_total', 'Exemplars stored.');
  const exemplarsLeftOut = registry.counter(
    'sightline_tsdb_exemplars_left_out_total',
    'Exemplars not kept: by sampling, or because they came too fast.',
    ['reason'],
  );
  const sampled = exemplarsLeftOut.labels('sampled');
  const rate = exemplarsLeftOut.labels('rate');
  let [sampledBefore, rateBefore] = [0, 0];
  const metadataLeftOut = registry.gauge('sightline_tsdb_metadata_left_out', 'Metric texts over the limit of metrics.');
  const series = registry.gauge('sightline_tsdb_head_series', 'Series in the head.');
  const memory = registry.gauge('sightline_tsdb_head_memory_bytes', 'Memory of the head by kind.', ['kind']);
  const wal = registry.gauge('sightline_tsdb_wal_bytes', 'Bytes in the write-ahead log.');
  const chunkFiles = registry.gauge('sightline_tsdb_chunk_file_bytes', 'Bytes of sealed chunks of the head on disk.');
  const blockCount = registry.gauge('sightline_tsdb_blocks', 'Blocks on disk.');
  const blockBytes = registry.gauge('sightline_tsdb_block_bytes', 'Bytes of blocks on disk.');
  const damaged = registry.gauge('sightline_tsdb_quarantined_files', 'Damaged files moved aside since the start.');
  const forwarded = registry.counter(
    'sightline_remote_storage_queue_written_total',
    'Rows written to the outgoing queue of remote write.',
  );
  const missed = registry.counter(
    'sightline_remote_storage_queue_missed_total',
    'Rows that the outgoing queue of remote write missed: unwritable.',
  );
  const overrun = registry.counter(
    'sightline_remote_storage_queue_overrun_segments_total',
    'Segments of the outgoing queue that were removed because nobody read it.',
  );
  const invalid = rejected.labels('invalid');
  registry.onCollect(() => {
    const stats = shard.head.stats();
    const { thinned, limited } = shard.exemplarStore;
    sampled.inc(thinned - sampledBefore);
    rate.inc(limited - rateBefore);
    [sampledBefore, rateBefore] = [thinned, limited];
    metadataLeftOut.set(shard.metadataStore.dropped);
    series.set(stats.series);
    for (const [kind, bytes] of Object.entries(stats.memory)) memory.labels(kind).set(bytes);
    wal.set(stats.walBytes);
    chunkFiles.set(stats.chunkFileBytes);
    blockCount.set(shard.blocks.all().length);
    blockBytes.set(shard.blocks.bytes);
    damaged.set(shard.blocks.quarantined.length + shard.head.report.damage.length + stats.damagedPages);
    const queue = shard.forwardCounts;
    forwarded.mirror(queue.written);
    missed.mirror(queue.missed);
    overrun.mirror(queue.overrun);
  });
  return {
    upkeepFailures: registry.counter('sightline_tsdb_upkeep_failures_total', 'Rounds of upkeep that failed.'),
    count(counts, exemplars) {
      samples.inc(counts.samples + counts.histograms);
      if (counts.outOfOrder > 0) outOfOrder.inc(counts.outOfOrder);
      if (counts.duplicates > 0) duplicates.inc(counts.duplicates);
      if (counts.newSeries > 0) created.inc(counts.newSeries);
      for (const { reason, count } of counts.refused ?? []) rejected.labels(reason).inc(count);
      if (counts.invalid > 0) invalid.inc(counts.invalid);
      if (exemplars > 0) exemplarsStored.inc(exemplars);
    },
  };
}

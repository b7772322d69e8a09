/** /proc/diskstats: what whole disks did. Columns: kernel's Documentation/admin-guide/iostats. */
import type { HostFiles } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

const SECTOR_BYTES = 512;

/** Column (after major, minor, name), type, name, help, factor. */
const COLUMNS = [
  ['counter', 'node_disk_reads_completed_total', 'The total number of reads completed successfully.', 1],
  ['counter', 'node_disk_reads_merged_total', 'The total number of reads merged.', 1],
  ['counter', 'node_disk_read_bytes_total', 'The total number of bytes read successfully.', SECTOR_BYTES],
  ['counter', 'node_disk_read_time_seconds_total', 'The total number of seconds spent by all reads.', 1e-3],
  ['counter', 'node_disk_writes_completed_total', 'The total number of writes completed successfully.', 1],
  ['counter', 'node_disk_writes_merged_total', 'The number of writes merged.', 1],
  ['counter', 'node_disk_written_bytes_total', 'The total number of bytes written successfully.', SECTOR_BYTES],
  ['counter', 'node_disk_write_time_seconds_total', 'This is the total number of seconds spent by all writes.', 1e-3],
  ['gauge', 'node_disk_io_now', 'The number of I/Os currently in progress.', 1],
  ['counter', 'node_disk_io_time_seconds_total', 'Total seconds spent doing I/Os.', 1e-3],
  ['counter', 'node_disk_io_time_weighted_seconds_total', 'The weighted # of seconds spent doing I/Os.', 1e-3],
  ['counter', 'node_disk_discards_completed_total', 'The total number of discards completed successfully.', 1],
  ['counter', 'node_disk_discards_merged_total', 'The total number of discards merged.', 1],
  ['counter', 'node_disk_discarded_sectors_total', 'The total number of sectors discarded successfully.', 1],
  [
    'counter',
    'node_disk_discard_time_seconds_total',
    'This is the total number of seconds spent by all discards.',
    1e-3,
  ],
  ['counter', 'node_disk_flush_requests_total', 'The total number of flush requests completed successfully', 1],
  [
    'counter',
    'node_disk_flush_requests_time_seconds_total',
    'This is the total number of seconds spent by all flush requests.',
    1e-3,
  ],
] as const;

export class DiskCollector {
  private readonly excluded: (device: string) => boolean;

  constructor(excluded: (device: string) => boolean) {
    this.excluded = excluded;
  }

  collect(files: HostFiles, out: HostSamples): void {
    for (const line of files.read('proc/diskstats').split('\n')) {
      const [major, minor, device, ...columns] = line.trim().split(/\s+/);
      if (device === undefined || major === undefined || minor === undefined || this.excluded(device)) continue;
      const labels = ['device', device];
      out.gauge('node_disk_info', 'Info of /sys/block/<block_device>.', 1, [
        'device',
        device,
        'major',
        major,
        'minor',
        minor,
      ]);
      for (let i = 0; i < COLUMNS.length && i < columns.length; i++) {
        const [type, name, help, factor] = COLUMNS[i] as (typeof COLUMNS)[number];
        // Thousandths by division: 0.001 has no exact float.
        const raw = Number(columns[i]);
        out[type](name, help, factor < 1 ? raw / 1000 : raw * factor, labels);
      }
    }
  }
}

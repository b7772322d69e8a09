/** Where the shards of a data folder lie. Unlike DataDir.folder, nothing is made. */
import { join } from 'node:path';
import type { DataDir } from '../../storage/data-dir.ts';

export function shardPaths(dataDir: DataDir): string[] {
  return Array.from({ length: dataDir.shards }, (_, i) =>
    join(dataDir.path, 'tsdb', `shard-${String(i).padStart(3, '0')}`),
  );
}

/**
 * `sightline tsdb verify`: reads every file of the metrics storage and says what is damaged, where. Changes nothing.
 *
 * Blocks with all their checksums and contents (block/verify.ts), tombstones, and the logs of the head, of exemplars and of
 * metadata.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tombstonesPathOf } from '../../storage/tsdb/block/reader.ts';
import { Tombstones } from '../../storage/tsdb/block/tombstones.ts';
import { verifyBlock } from '../../storage/tsdb/block/verify.ts';
import type { TsdbToolContext } from '../commands/tsdb.ts';
import { type LogKind, listBlocks, listLogs, readLog } from './shard-files.ts';
import { shardPaths } from './shard-paths.ts';

export interface DamagedFile {
  shardDir: string;
  kind: 'block' | 'tombstones' | LogKind;
  path: string;
  /** Each names file, section and offset. */
  findings: string[];
}

export async function verify(context: TsdbToolContext): Promise<number> {
  const { print } = context;
  const damaged = await findDamage(context, file => {
    for (const finding of file.findings) print(finding);
  });
  return damaged.length;
}

/** Checks everything; tells each damaged file as it is found. */
export async function findDamage(
  { dataDir, print }: TsdbToolContext,
  found: (file: DamagedFile) => void,
): Promise<DamagedFile[]> {
  const damaged: DamagedFile[] = [];
  const tell = (file: DamagedFile): void => {
    damaged.push(file);
    found(file);
  };
  for (const shardDir of shardPaths(dataDir)) {
    let blocks = 0;
    let samples = 0;
    let logs = 0;
    for (const { path } of listBlocks(shardDir)) {
      const result = await checkBlock(shardDir, path, tell);
      if (result === null) continue;
      blocks++;
      samples += result;
    }
    for (const log of listLogs(shardDir)) {
      const facts = readLog(log);
      if (facts === null) continue;
      logs++;
      if (facts.damage.length > 0) tell({ shardDir, kind: log.kind, path: log.path, findings: facts.damage });
      else if (facts.tornBytes > 0) {
        print(
          `${log.path}: ${facts.tornBytes} bytes of an unfinished write at the end: what a crash leaves, no damage`,
        );
      }
    }
    print(`${shardDir}: ${blocks} blocks with ${samples} samples and ${logs} logs read`);
  }
  return damaged;
}

/** Samples of the block; null where it is gone meanwhile. */
async function checkBlock(shardDir: string, path: string, tell: (file: DamagedFile) => void): Promise<number | null> {
  const tombstones = tombstonesPathOf(path);
  try {
    Tombstones.load(tombstones);
  } catch (error) {
    if ((error as Error).name !== 'CorruptBlockError') throw error;
    tell({ shardDir, kind: 'tombstones', path: tombstones, findings: [(error as Error).message] });
    return 0;
  }
  const report = await verifyBlock(path);
  if (report.findings.length > 0) {
    if (!existsSync(path)) return null;
    tell({ shardDir, kind: 'block', path, findings: report.findings });
  }
  return report.samples;
}

/** For messages about where something went. */
export function quarantineOf(shardDir: string): string {
  return join(shardDir, 'quarantine');
}

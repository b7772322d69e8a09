/**
 * `sightline tsdb quarantine`: moves what `verify` finds damaged aside, so that the rest serves, and nothing is thrown away.
 *
 * - A block goes with its tombstones, and so does one whose tombstones are damaged: alone it would show what was deleted.
 * - Logs of the head are mended by the head itself, as at any start: the damaged file is kept, a copy without the bad
 *   stretches takes its place.
 * - Logs of exemplars and metadata are mended here, in the same way.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { tombstonesPathOf } from '../../storage/tsdb/block/reader.ts';
import { syncFolder } from '../../storage/tsdb/block/writer.ts';
import { Head } from '../../storage/tsdb/head/head.ts';
import { nodeFiles } from '../../storage/tsdb/wal/files.ts';
import { FILE_HEADER_BYTES, FrameReader } from '../../storage/tsdb/wal/frame.ts';
import type { TsdbToolContext } from '../commands/tsdb.ts';
import { sizeOf } from './shard-files.ts';
import { type DamagedFile, findDamage, quarantineOf } from './verify.ts';

const HEAD_LOGS = ['series log', 'chunk file', 'WAL segment'];

export async function quarantine(context: TsdbToolContext): Promise<number> {
  const { print } = context;
  const damaged = await findDamage({ ...context, print: () => {} }, file => {
    for (const finding of file.findings) print(finding);
  });
  for (const file of damaged) {
    if (HEAD_LOGS.includes(file.kind)) continue;
    const kept = file.kind === 'block' || file.kind === 'tombstones' ? await moveBlock(file) : await mendLog(file);
    print(`moved to ${kept}`);
  }
  for (const shardDir of new Set(damaged.filter(f => HEAD_LOGS.includes(f.kind)).map(f => f.shardDir))) {
    const head = new Head({ dir: join(shardDir, 'head') });
    for (const { file, what } of head.report.damage) print(`${file}: ${what}`);
    await head.close();
  }
  return damaged.length;
}

async function moveBlock(file: DamagedFile): Promise<string> {
  const block = file.kind === 'block' ? file.path : file.path.replace(/\.tombstones$/, '.block');
  const folder = quarantineOf(file.shardDir);
  mkdirSync(folder, { recursive: true });
  // First the block: without it tombstones hide nothing, without them it would show what is deleted.
  for (const path of [block, tombstonesPathOf(block)]) {
    if (sizeOf(path) > 0) renameSync(path, join(folder, basename(path)));
  }
  await syncFolder(dirname(block));
  await syncFolder(folder);
  return join(folder, basename(block));
}

/** Replaces a log by its good frames. */
async function mendLog(file: DamagedFile): Promise<string> {
  const folder = quarantineOf(file.shardDir);
  mkdirSync(folder, { recursive: true });
  const kept = join(folder, basename(file.path));
  const mended = `${file.path}.mended`;
  const good = writeGoodFrames(file.path, mended);
  renameSync(file.path, kept);
  if (good) renameSync(mended, file.path);
  else nodeFiles.remove(mended);
  await syncFolder(dirname(file.path));
  await syncFolder(folder);
  return kept;
}

/** False where not even the header is good. */
function writeGoodFrames(path: string, to: string): boolean {
  const from = nodeFiles.open(path, 'read');
  const out = openSync(to, 'w', 0o640);
  try {
    const header = new Uint8Array(FILE_HEADER_BYTES);
    nodeFiles.read(from, header, 0, FILE_HEADER_BYTES, 0);
    const magic = new TextDecoder().decode(header.subarray(0, 8));
    const reader = new FrameReader(nodeFiles, from);
    if (reader.checkHeader(magic) !== '') return false;
    writeSync(out, header);
    for (;;) {
      if (reader.next()) writeSync(out, reader.frame());
      else if (reader.position >= reader.size || !reader.resync()) break;
    }
    fsyncSync(out);
    return true;
  } finally {
    nodeFiles.close(from);
    closeSync(out);
  }
}

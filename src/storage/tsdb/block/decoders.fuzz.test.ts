import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { seeded } from '../chunk/shapes.ts';
import { newAggregateBuffer } from './aggregate-chunk.ts';
import { aggregateSamples } from './downsample.ts';
import { FAST, FrameWriter } from './frames.ts';
import { CorruptBlockError, SECTION, type Section } from './layout.ts';
import { BlockReader } from './reader.ts';
import { bufferOf, caches, contents, type Row, series, tempDir, testHistogram, writeBlock } from './testing.ts';
import { verifyBlock } from './verify.ts';
import { BlockWriter } from './writer.ts';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true }));
const T0 = 1_763_769_600_000;

/** Writes the block again with one byte of one frame changed and every checksum right: only the decoders can notice. */
function damage(source: BlockReader, r: () => number, path: string): string {
  const sections = Object.values(SECTION).filter(s => source.file.count(s) > 0);
  const victim = sections[Math.floor(r() * sections.length)] as Section;
  const frame = Math.floor(r() * source.file.count(victim));
  const writer = new FrameWriter(path);
  let what = '';
  for (const section of sections) {
    for (let i = 0; i < source.file.count(section); i++) {
      const bytes = source.file.read(section, i);
      if (section === victim && i === frame) {
        const at = Math.floor(r() * bytes.length);
        const cut = r() < 0.2;
        what = `section ${section}, frame ${i}, byte ${at}${cut ? ', cut there' : ''}`;
        bytes[at] = r() * 256;
        writer.append(section, cut ? bytes.subarray(0, at) : bytes, null);
      } else writer.append(section, bytes, FAST);
    }
  }
  writer.end();
  writer.close();
  return what;
}

async function fuzz(path: string, seed: number, rounds: number): Promise<void> {
  const source = new BlockReader(path, caches());
  const r = seeded(seed);
  const victim = join(dir, `victim${seed}.block`);
  let noticed = 0;
  for (let round = 0; round < rounds; round++) {
    rmSync(victim, { force: true });
    const what = `${damage(source, r, victim)}, round ${round}, seed ${seed}`;
    const report = await verifyBlock(victim);
    if (report.findings.length > 0) noticed++;
    try {
      const block = new BlockReader(victim, caches());
      try {
        contents(block);
        contents(block, 'counter');
        block.labelValues(block.meta.tenant, 'i', [], 0, 1e15);
      } finally {
        block.close();
      }
    } catch (error) {
      assert.ok(error instanceof CorruptBlockError, `${what}: ${(error as Error).stack}`);
    }
  }
  assert.ok(noticed > rounds / 4, `${noticed} of ${rounds} noticed`);
  source.close();
}

test('decoders of a raw block survive any byte under a right checksum', async () => {
  const r = seeded(51);
  const all = Array.from({ length: 40 }, (_, s) => {
    const rows: Row[] = [];
    let c = 0;
    for (let i = 0; i < 60; i++) {
      c += Math.floor(r() * 50);
      rows.push([T0 + i * 15_000 + Math.floor(r() * 9), s % 8 === 0 ? testHistogram(c) : s % 3 === 0 ? r() : c]);
    }
    return series({ __name__: `m${s % 3}`, i: `${s}`, job: 'x' }, rows);
  });
  await fuzz(await writeBlock(dir, 'RAW', all), 52, 400);
});

test('decoders of a downsampled block survive any byte under a right checksum', async () => {
  const r = seeded(53);
  const writer = new BlockWriter(dir, {
    ulid: 'AGG',
    tenant: 'acme',
    createdAtMs: 0,
    arrivedMs: 0,
    resolutionMs: 60_000,
  });
  for (let s = 0; s < 20; s++) {
    const rows: Row[] = Array.from({ length: 400 }, (_, i) => [
      T0 + i * 15_000,
      r() < 0.02 ? 'stale' : Math.floor(r() * 100),
    ]);
    const into = newAggregateBuffer();
    aggregateSamples(bufferOf(rows), 60_000, into);
    writer.addAggregates(new Uint32Array([s, 0, 0, 0]), ['__name__', 'm', 'i', `${s}`], into, null);
  }
  await writer.finish();
  await fuzz(writer.path, 54, 300);
});

/**
 * Flushing the head: everything up to a time, of all tenants, into level-1 blocks along aligned windows.
 *
 * Samples leave the head only when the blocks that hold them are on disk and visible; a crash before that leaves blocks whose
 * samples the head still has, which is harmless: equal samples settle to one.
 */
import { newSampleBuffer } from '../../contracts/sample-source.ts';
import { newUlid } from '../../lib/ulid.ts';
import { TimeSlice } from '../../lib/yield.ts';
import { FAST, THOROUGH } from './block/frames.ts';
import { removeBlock } from './block/reader.ts';
import { BlockWriter } from './block/writer.ts';
import type { BlockStore } from './block-store.ts';
import { dedupInterval } from './dedup.ts';
import type { FlushSlice, FlushTenant, HeadFlush } from './head/flush.ts';
import type { Head } from './head/head.ts';
import { DAY_MS, flushWindowMs, windowStart } from './plan.ts';

export interface FlushResult {
  blocks: number;
  samples: number;
  bytes: number;
}

interface Window {
  start: number;
  end: number;
}

/** Flushes what the head has up to maxT (inclusive). Nothing is lost if it fails: the head keeps all of it. */
export async function flushHead(
  head: Head,
  blocks: BlockStore,
  maxT: number,
  nowMs: number,
  dedupMs: number,
): Promise<FlushResult> {
  const flush = head.beginFlush(maxT);
  const paths: string[] = [];
  const result: FlushResult = { blocks: 0, samples: 0, bytes: 0 };
  try {
    await writeBlocks(flush, blocks, nowMs, dedupMs, paths, result);
  } catch (error) {
    for (const path of paths) removeBlock(path);
    throw error;
  }
  const added = blocks.replace([], paths);
  head.commitFlush(flush);
  result.blocks = added.length;
  result.bytes = added.reduce((sum, b) => sum + b.bytes, 0);
  return result;
}

async function writeBlocks(
  flush: HeadFlush,
  blocks: BlockStore,
  nowMs: number,
  dedupMs: number,
  paths: string[],
  result: FlushResult,
): Promise<void> {
  const slice = new TimeSlice();
  for (const tenant of flush.tenants()) {
    for (const window of mergeWindows(tenant, nowMs)) {
      const writer = new BlockWriter(blocks.tenantDir(tenant.tenant), {
        ulid: newUlid(nowMs),
        tenant: tenant.tenant,
        createdAtMs: nowMs,
        arrivedMs: nowMs,
        // Wide windows are for old data, which no merge writes again.
        compression: window.end - window.start >= DAY_MS ? THOROUGH : FAST,
      });
      try {
        for (const part of flush.series(tenant.tenant, window.start, window.end)) {
          await writeSlice(part, writer, dedupMs, slice);
        }
      } catch (error) {
        writer.abort();
        throw error;
      }
      const meta = await writer.finish();
      if (meta === null) continue;
      paths.push(writer.path);
      result.samples += meta.floatSamples + meta.histogramSamples;
    }
  }
}

async function writeSlice(part: FlushSlice, writer: BlockWriter, dedupMs: number, slice: TimeSlice): Promise<void> {
  const hash = new Uint32Array(4);
  const buffer = newSampleBuffer(256);
  for (let i = 0; i < part.count; i++) {
    buffer.length = 0;
    buffer.histogramLength = 0;
    buffer.startTimestamps = null;
    buffer.histogramStartTimestamps = null;
    part.read(i, buffer);
    if (dedupMs > 0) dedupInterval(buffer, dedupMs);
    if (buffer.length > 0 || buffer.histogramLength > 0) {
      part.hash(i, hash, 0);
      writer.addSeries(hash, part.labels(i), buffer);
    }
    if (slice.due()) await slice.pause();
  }
  if (slice.due()) await slice.pause();
}

/** The tenant's 2 h windows, joined to larger ones where they are old. Ascending. */
function mergeWindows(tenant: FlushTenant, nowMs: number): Window[] {
  const windows: Window[] = [];
  for (const t of tenant.windows) {
    const size = flushWindowMs(t, nowMs);
    const start = windowStart(t, size);
    if (windows.at(-1)?.start !== start) windows.push({ start, end: start + size - 1 });
  }
  return windows;
}

/**
 * Flushing the head: everything up to a time, of all tenants, into level-1 blocks along aligned windows.
 *
 * Samples leave the head only when the blocks that hold them are on disk and visible; a crash before that leaves blocks whose
 * samples the head still has, which is harmless: equal samples settle to one.
 */
import { newSampleBuffer, type SampleBuffer } from '../../contracts/sample-source.ts';
import { newUlid } from '../../lib/ulid.ts';
import { TimeSlice } from '../../lib/yield.ts';
import type { Labels } from '../../model/labels.ts';
import { FAST, THOROUGH } from './block/frames.ts';
import { type BlockReader, removeBlock } from './block/reader.ts';
import { BlockWriter } from './block/writer.ts';
import type { BlockStore } from './block-store.ts';
import { dedupInterval } from './dedup.ts';
import type { FlushSlice, HeadFlush } from './head/flush.ts';
import type { Head } from './head/head.ts';
import { type FlushWindow, flushWindows } from './plan.ts';

export interface FlushResult {
  blocks: number;
  samples: number;
  bytes: number;
}

/** The group of a series: each group gets blocks of its own (policies.ts). */
export type GroupOf = (tenant: string, labels: Labels) => number;

export interface FlushOptions {
  nowMs: number;
  /** One sample per this interval is kept; 0 = all. */
  dedupMs: number;
  groupOf: GroupOf;
  /** How long a tenant's raw samples are kept: windows that are long against that are left to merges. */
  rawKeepMs(tenant: string): number;
}

/** Flushes what the head has up to maxT (inclusive). Nothing is lost if it fails: the head keeps all of it. */
export async function flushHead(
  head: Head,
  blocks: BlockStore,
  maxT: number,
  options: FlushOptions,
): Promise<FlushResult> {
  const flush = head.beginFlush(maxT);
  const made = new BlocksInTheMaking(blocks, options);
  try {
    await writeBlocks(flush, made, options);
  } catch (error) {
    made.abort();
    throw error;
  }
  // In one step: from here on the samples are found in the blocks and not in the head.
  blocks.add(made.blocks);
  head.commitFlush(flush);
  const result: FlushResult = { blocks: made.blocks.length, samples: 0, bytes: 0 };
  for (const { meta, bytes } of made.blocks) {
    result.samples += meta.floatSamples + meta.histogramSamples;
    result.bytes += bytes;
  }
  return result;
}

async function writeBlocks(flush: HeadFlush, made: BlocksInTheMaking, options: FlushOptions): Promise<void> {
  const slice = new TimeSlice();
  const windowsOf = new Map<string, FlushWindow[]>();
  for (const { tenant, windows } of await flush.tenants(slice)) {
    windowsOf.set(tenant, flushWindows(windows, flush.maxT, options.nowMs, options.rawKeepMs(tenant)));
  }
  const cuts = [...windowsOf].map(([tenant, windows]) => ({ tenant, windows }));
  for await (const part of flush.slices(cuts, slice)) {
    const window = windowsOf.get(part.tenant)?.find(w => w.start === part.minT) as FlushWindow;
    await made.begin(part.tenant, window);
    await writeSlice(part, made, options.dedupMs, slice);
  }
  await made.finish();
}

async function writeSlice(part: FlushSlice, made: BlocksInTheMaking, dedupMs: number, slice: TimeSlice): Promise<void> {
  const hash = new Uint32Array(4);
  const buffer = newSampleBuffer(256);
  for (let i = 0; i < part.count; i++) {
    clear(buffer);
    part.read(i, buffer);
    if (dedupMs > 0) dedupInterval(buffer, dedupMs);
    if (buffer.length > 0 || buffer.histogramLength > 0) {
      part.hash(i, hash, 0);
      const labels = part.labels(i);
      made.writerFor(labels).addSeries(hash, labels, buffer);
    }
    if (slice.due()) await slice.pause();
  }
}

function clear(buffer: SampleBuffer): void {
  buffer.length = 0;
  buffer.histogramLength = 0;
  buffer.startTimestamps = null;
  buffer.histogramStartTimestamps = null;
}

/** The blocks of one flush: those of a window are being written, those before are whole and open, but seen by nobody yet. */
class BlocksInTheMaking {
  readonly blocks: BlockReader[] = [];
  private readonly store: BlockStore;
  private readonly options: FlushOptions;
  private tenant = '';
  private window: FlushWindow | null = null;
  /** By group. */
  private readonly writers = new Map<number, BlockWriter>();

  constructor(store: BlockStore, options: FlushOptions) {
    this.store = store;
    this.options = options;
  }

  /** What is added from now on is of this window; windows come one after the other. */
  async begin(tenant: string, window: FlushWindow): Promise<void> {
    if (tenant === this.tenant && window === this.window) return;
    await this.finish();
    this.tenant = tenant;
    this.window = window;
  }

  /** Where a series of the window goes. */
  writerFor(labels: Labels): BlockWriter {
    const { groupOf, nowMs } = this.options;
    const group = groupOf(this.tenant, labels);
    let writer = this.writers.get(group);
    if (writer === undefined) {
      writer = new BlockWriter(this.store.tenantDir(this.tenant), {
        ulid: newUlid(nowMs),
        tenant: this.tenant,
        createdAtMs: nowMs,
        arrivedMs: nowMs,
        compression: this.window?.stays ? THOROUGH : FAST,
      });
      this.writers.set(group, writer);
    }
    return writer;
  }

  async finish(): Promise<void> {
    for (const [group, writer] of this.writers) {
      const meta = await writer.finish();
      this.writers.delete(group);
      if (meta !== null) this.blocks.push(this.store.open(writer.path));
    }
  }

  abort(): void {
    for (const writer of this.writers.values()) writer.abort();
    for (const block of this.blocks) {
      block.close();
      removeBlock(block.path);
    }
  }
}

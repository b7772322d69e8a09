/**
 * Takes replica labels off incoming series, so that several scrapers of the same targets feed the same series (the
 * samples are then thinned out by storage/tsdb/dedup.ts).
 *
 * A label is cut out of the canonical encoding, which stays canonical; the series is hashed anew. Only series that carry
 * such a label cost anything beyond a scan of their label names.
 */
import type { SampleSink } from '../contracts/sample-sink.ts';
import type { IdentityHasher, TenantSeed } from '../lib/identity-hash.ts';
import type { SampleBatch } from '../model/sample-batch.ts';

export function withoutReplicaLabels(sink: SampleSink, hasher: IdentityHasher, labels: readonly string[]): SampleSink {
  if (labels.length === 0) return sink;
  const names = labels.map(name => new TextEncoder().encode(name));
  return {
    append(tenant, batch, again) {
      const stripped = strip(batch, names, hasher, hasher.tenantSeed(tenant));
      // What was stripped owns its memory but for the columns, which must be made again.
      const redo = again === undefined ? undefined : () => strip(again(), names, hasher, hasher.tenantSeed(tenant));
      return sink.append(tenant, stripped, redo);
    },
  };
}

function strip(
  batch: SampleBatch,
  names: readonly Uint8Array[],
  hasher: IdentityHasher,
  seed: TenantSeed,
): SampleBatch {
  let out: SampleBatch | null = null;
  for (let i = 0; i < batch.seriesCount; i++) {
    const start = batch.labelStart[i] as number;
    const end = batch.labelEnd[i] as number;
    if (!hasAny(batch.labelBytes, start, end, names)) continue;
    out ??= {
      ...batch,
      labelBytes: batch.labelBytes.slice(),
      labelEnd: batch.labelEnd.slice(0, batch.seriesCount),
      hashes: batch.hashes.slice(0, batch.seriesCount * 4),
    };
    const newEnd = cut(out.labelBytes, start, end, names);
    out.labelEnd[i] = newEnd;
    hasher.hash(seed, out.labelBytes, start, newEnd, out.hashes, i * 4);
  }
  return out ?? batch;
}

function hasAny(bytes: Uint8Array, start: number, end: number, names: readonly Uint8Array[]): boolean {
  for (let p = start; p < end; ) {
    const label = readLabel(bytes, p);
    if (isOneOf(bytes, label.nameStart, label.nameEnd, names)) return true;
    p = label.end;
  }
  return false;
}

/** Moves the labels to keep together, in place; returns the new end. */
function cut(bytes: Uint8Array, start: number, end: number, names: readonly Uint8Array[]): number {
  let to = start;
  for (let p = start; p < end; ) {
    const label = readLabel(bytes, p);
    if (!isOneOf(bytes, label.nameStart, label.nameEnd, names)) {
      bytes.copyWithin(to, p, label.end);
      to += label.end - p;
    }
    p = label.end;
  }
  return to;
}

interface LabelPlace {
  nameStart: number;
  nameEnd: number;
  end: number;
}

/** The label at p of a canonical encoding (model/labels.ts), which decoders have checked. */
function readLabel(bytes: Uint8Array, p: number): LabelPlace {
  const [inner, body] = varint(bytes, p + 1);
  const [nameLength, nameStart] = varint(bytes, body + 1);
  return { nameStart, nameEnd: nameStart + nameLength, end: body + inner };
}

function varint(bytes: Uint8Array, at: number): [value: number, next: number] {
  let p = at;
  let value = 0;
  let shift = 0;
  for (;;) {
    const b = bytes[p++] as number;
    value |= (b & 0x7f) << shift;
    if (b < 0x80) return [value, p];
    shift += 7;
  }
}

function isOneOf(bytes: Uint8Array, start: number, end: number, names: readonly Uint8Array[]): boolean {
  return names.some(name => name.length === end - start && name.every((b, i) => bytes[start + i] === b));
}

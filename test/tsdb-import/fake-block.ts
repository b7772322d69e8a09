/** Makes blocks and logs as Prometheus writes them, small, for tests that need no Prometheus. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32c } from '../../src/lib/crc32c.ts';
import { snappyCompress } from '../../src/lib/snappy.ts';

/** Grows; big-endian and varints. */
export class Bytes {
  private readonly parts: number[] = [];

  get length(): number {
    return this.parts.length;
  }

  u8(...values: number[]): this {
    for (const v of values) this.parts.push(v & 0xff);
    return this;
  }

  be32(v: number): this {
    return this.u8(v >>> 24, v >>> 16, v >>> 8, v);
  }

  be64(v: number): this {
    return this.be32(Math.floor(v / 0x100000000)).be32(v >>> 0);
  }

  float(v: number): this {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, v);
    return this.be32(view.getUint32(0)).be32(view.getUint32(4));
  }

  uvarint(v: number): this {
    let rest = v;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    return this.u8(rest);
  }

  varint(v: number): this {
    return this.uvarint(v < 0 ? -2 * v - 1 : 2 * v);
  }

  text(s: string): this {
    const bytes = new TextEncoder().encode(s);
    return this.uvarint(bytes.length).raw(bytes);
  }

  raw(bytes: ArrayLike<number>): this {
    for (let i = 0; i < bytes.length; i++) this.parts.push(bytes[i] as number);
    return this;
  }

  crc(from: number): this {
    return this.be32(crc32c(this.done(), from));
  }

  done(): Uint8Array {
    return Uint8Array.from(this.parts);
  }
}

export interface FakeChunk {
  encoding: number;
  minT: number;
  maxT: number;
  data: Uint8Array;
}

export interface FakeSeries {
  /** Sorted by name. */
  labels: string[];
  chunks: FakeChunk[];
  /** [minT, maxT, ...] */
  deleted?: number[];
}

const ULID = '01HF0000000000000000000000';

/** Writes a block folder into `parent`; series are sorted by labels. Returns its path. */
export function writeFakeBlock(parent: string, series: readonly FakeSeries[], version: 1 | 2, name = ULID): string {
  const dir = join(parent, name);
  mkdirSync(join(dir, 'chunks'), { recursive: true });
  const segment = new Bytes().be32(0x85bd40dd).u8(1, 0, 0, 0);
  const refs = series.map(s => s.chunks.map(chunk => putChunk(segment, chunk)));
  writeFileSync(join(dir, 'chunks', '000001'), segment.done());
  const { bytes, ids } = fakeIndex(series, refs, version);
  writeFileSync(join(dir, 'index'), bytes);
  const stones = new Bytes().be32(0x0130ba30).u8(1);
  series.forEach((s, i) => {
    const d = s.deleted ?? [];
    for (let k = 0; k < d.length; k += 2) {
      stones
        .uvarint(ids[i] as number)
        .varint(d[k] as number)
        .varint(d[k + 1] as number);
    }
  });
  writeFileSync(join(dir, 'tombstones'), stones.crc(5).done());
  const all = series.flatMap(s => s.chunks);
  const meta = {
    ulid: name,
    minTime: Math.min(...all.map(c => c.minT)),
    maxTime: Math.max(...all.map(c => c.maxT)) + 1,
    stats: { numSeries: series.length },
    compaction: { level: 1, sources: [name] },
    version: 1,
  };
  writeFileSync(join(dir, 'meta.json'), JSON.stringify(meta));
  return dir;
}

function putChunk(segment: Bytes, chunk: FakeChunk): number {
  const ref = segment.length;
  segment.uvarint(chunk.data.length);
  const from = segment.length;
  segment.u8(chunk.encoding).raw(chunk.data).crc(from);
  return ref;
}

function fakeIndex(
  series: readonly FakeSeries[],
  refs: readonly number[][],
  version: 1 | 2,
): { bytes: Uint8Array; ids: number[] } {
  const out = new Bytes().be32(0xbaaad700).u8(version);
  const symbols = [...new Set(series.flatMap(s => s.labels))].sort();
  const symbolsAt = out.length;
  const body = new Bytes().be32(symbols.length);
  const placeOf = new Map<string, number>();
  symbols.forEach((symbol, i) => {
    placeOf.set(symbol, version === 1 ? symbolsAt + 4 + body.length : i);
    body.text(symbol);
  });
  out.be32(body.length);
  const bodyAt = out.length;
  out.raw(body.done()).crc(bodyAt);
  const pad = (): void => {
    while (out.length % 16 !== 0) out.u8(0);
  };
  if (version === 2) pad();
  const seriesAt = out.length;
  const ids: number[] = [];
  series.forEach((s, i) => {
    if (version === 2) pad();
    ids.push(version === 1 ? out.length : out.length / 16);
    const entry = new Bytes().uvarint(s.labels.length / 2);
    for (const label of s.labels) entry.uvarint(placeOf.get(label) as number);
    entry.uvarint(s.chunks.length);
    let t = 0;
    let ref = 0;
    s.chunks.forEach((chunk, c) => {
      if (c === 0) entry.varint(chunk.minT);
      else entry.uvarint(chunk.minT - t);
      entry.uvarint(chunk.maxT - chunk.minT);
      t = chunk.maxT;
      const own = (refs[i] as number[])[c] as number;
      if (c === 0) entry.uvarint(own);
      else entry.varint(own - ref);
      ref = own;
    });
    out.uvarint(entry.length);
    const entryAt = out.length;
    out.raw(entry.done()).crc(entryAt);
  });
  const end = out.length;
  out
    .be32(4)
    .be32(0)
    .crc(end + 4);
  const toc = out.length;
  out.be64(symbolsAt).be64(seriesAt).be64(0).be64(0).be64(end).be64(end).crc(toc);
  return { bytes: out.done(), ids };
}

const PAGE = 32 * 1024;

/** One log segment of the records, each cut at page borders and compressed by turns. */
export function fakeWalSegment(records: readonly Uint8Array[]): Uint8Array {
  const out = new Bytes();
  records.forEach((record, n) => {
    const packed = n % 2 === 0;
    let rest = packed ? snappyCompress(record) : record;
    for (let first = true; first || rest.length > 0; first = false) {
      let room = PAGE - (out.length % PAGE);
      if (room <= 7) {
        out.raw(new Uint8Array(room));
        room = PAGE;
      }
      const part = rest.subarray(0, room - 7);
      rest = rest.subarray(part.length);
      const type = first ? (rest.length === 0 ? 1 : 2) : rest.length === 0 ? 4 : 3;
      out
        .u8(type | (packed ? 8 : 0), part.length >>> 8, part.length)
        .be32(crc32c(part))
        .raw(part);
    }
  });
  return out.done();
}

/**
 * IngestKernel: request bytes -> columns, in one memory that is reused from request to request.
 *
 * Usage: one of `loadSnappy` / `loadPlain`, then `scan(seed)`. The result's arrays are views on the kernel's memory and
 * hold until the next `load*`. No call allocates natively per request: measured, native snappy buffers piled up to
 * gigabytes in a loop that never yielded, and cost four times the Wasm decompression (docs/decisions/0003-wasm-kernel.md).
 *
 * Column capacities are guesses that stick: when a scan runs out of room it is repeated with more, up to the limits.
 */
import type { TenantSeed } from '../identity-hash.ts';
import { JsBackend } from './js-backend.ts';
import { CODE, CODE_TEXT, EXTRA_WORDS, type KernelBackend, PARAM, PARAM_BYTES, SLACK } from './layout.ts';
import { createWasmBackend } from './wasm-backend.ts';

export interface KernelLimits {
  /** Bytes of a request body as received, and of the message in it after decompression. */
  bodyBytes: number;
  messageBytes: number;
  /** Per message. */
  series: number;
  samples: number;
  /** Exemplars, histograms, metadata entries and rows with odd labels. */
  extras: number;
}

export const DEFAULT_KERNEL_LIMITS: Readonly<KernelLimits> = Object.freeze({
  // Prometheus refuses messages above 32 MiB; senders stay far below.
  bodyBytes: 32 << 20,
  messageBytes: 64 << 20,
  series: 1 << 20,
  samples: 1 << 22,
  extras: 1 << 20,
});

/** A backend that has grown beyond this is replaced once requests have been small again for a while. */
const KEEP_BYTES = 32 << 20;
const SMALL_REQUESTS_BEFORE_RENEWAL = 64;

/** Why a request cannot be decoded, and where. */
export class KernelError extends Error {
  override name = 'KernelError';
  readonly code: number;
  /** Byte offset in the body for snappy errors, in the decompressed message for all others. */
  readonly offset: number;
  /** Index of the series in the message, -1 if the error is in none. */
  readonly series: number;

  constructor(code: number, offset: number, series: number, detail: string) {
    super(detail);
    this.code = code;
    this.offset = offset;
    this.series = series;
  }
}

export interface ScanResult {
  seriesCount: number;
  sampleCount: number;
  extraCount: number;
  /** The whole memory: label offsets and extras point into it. */
  bytes: Uint8Array;
  messageStart: number;
  messageEnd: number;
  /** A row whose labels need the slow path has labelEnd = labelStart and no hash. */
  labelStart: Uint32Array;
  labelEnd: Uint32Array;
  hashes: Uint32Array;
  sampleStart: Uint32Array;
  timestamps: Float64Array;
  values: Float64Array;
  /** EXTRA_WORDS words each (layout.ts), in message order. */
  extras: Uint32Array;
  /** Whether a timestamp is negative or 2^53 and above. */
  oddTimes: boolean;
}

export class IngestKernel {
  private backend: KernelBackend;
  private readonly create: () => KernelBackend;
  private readonly limits: KernelLimits;
  private messageStart = 0;
  private messageEnd = 0;
  private seriesCapacity = 4096;
  private sampleCapacity = 8192;
  private extraCapacity = 1024;
  private smallRequests = 0;
  private hashesAt = 0;
  private bytes: Uint8Array = new Uint8Array(0);
  private words: Uint32Array = new Uint32Array(0);

  constructor(create: () => KernelBackend, limits: Partial<KernelLimits> = {}) {
    this.create = create;
    this.limits = { ...DEFAULT_KERNEL_LIMITS, ...limits };
    this.backend = create();
    this.view();
  }

  get backendName(): 'wasm' | 'js' {
    return this.backend.name;
  }

  /** Bytes held by the kernel's memory. */
  get memoryBytes(): number {
    return this.backend.buffer.byteLength;
  }

  /** Takes a message that is not compressed, or was decompressed elsewhere. */
  loadPlain(message: Uint8Array): void {
    this.checkSize(message.length, this.limits.messageBytes, 'message');
    this.begin(message.length + SLACK);
    this.place(PARAM_BYTES, message.length);
    this.bytes.set(message, PARAM_BYTES);
  }

  /** Takes a snappy block and decompresses it. Throws a KernelError if it is corrupt or too large. */
  loadSnappy(body: Uint8Array): void {
    this.checkSize(body.length, this.limits.bodyBytes, 'body');
    const header = readSnappyHeader(body);
    this.checkSize(header.size, this.limits.messageBytes, 'message');
    const messageStart = align8(PARAM_BYTES + body.length + SLACK);
    this.begin(messageStart + header.size + SLACK);
    this.bytes.set(body, PARAM_BYTES);
    this.place(messageStart, header.size);
    const bodyEnd = PARAM_BYTES + body.length;
    const code = this.backend.snappy(PARAM_BYTES + header.length, bodyEnd, messageStart, this.messageEnd);
    if (code !== CODE.ok) {
      const at = (this.words[PARAM.errorAt] as number) - PARAM_BYTES;
      throw new KernelError(
        code,
        at,
        -1,
        `cannot decompress snappy: ${CODE_TEXT[code]} (byte ${at} of ${body.length})`,
      );
    }
  }

  /** Where the message begins in the memory. */
  get messageOffset(): number {
    return this.messageStart;
  }

  /** The message as loaded; valid until the next `load*` or `scan`. */
  message(): Uint8Array {
    return this.bytes.subarray(this.messageStart, this.messageEnd);
  }

  /** Scans the loaded message as a remote-write 1.0 WriteRequest. */
  scan(seed: TenantSeed): ScanResult {
    for (;;) {
      const at = this.layOutColumns(seed);
      const code = this.backend.scan();
      if (code === CODE.ok) return this.result(at);
      if (!this.makeRoom(code)) throw this.scanError(code);
    }
  }

  /** Hashes [start, end) of the memory with the seed of the last `scan` and puts the hash into its row. */
  hashRow(start: number, end: number, series: number): void {
    this.backend.hash(start, end, this.hashesAt + series * 16);
  }

  private result(at: ColumnAddresses): ScanResult {
    const words = this.words;
    const seriesCount = words[PARAM.seriesCount] as number;
    const sampleCount = words[PARAM.sampleCount] as number;
    const extraCount = words[PARAM.extraCount] as number;
    const buffer = this.backend.buffer;
    return {
      seriesCount,
      sampleCount,
      extraCount,
      bytes: this.bytes,
      messageStart: this.messageStart,
      messageEnd: this.messageEnd,
      labelStart: new Uint32Array(buffer, at.labelStart, seriesCount),
      labelEnd: new Uint32Array(buffer, at.labelEnd, seriesCount),
      hashes: new Uint32Array(buffer, at.hashes, seriesCount * 4),
      sampleStart: new Uint32Array(buffer, at.sampleStart, seriesCount + 1),
      timestamps: new Float64Array(buffer, at.timestamps, sampleCount),
      values: new Float64Array(buffer, at.values, sampleCount),
      extras: new Uint32Array(buffer, at.extras, extraCount * EXTRA_WORDS),
      oddTimes: words[PARAM.oddTimes] !== 0,
    };
  }

  private layOutColumns(seed: TenantSeed): ColumnAddresses {
    const timestamps = align8(this.messageEnd + SLACK);
    const values = timestamps + this.sampleCapacity * 8;
    const hashes = values + this.sampleCapacity * 8;
    const labelStart = hashes + this.seriesCapacity * 16;
    const labelEnd = labelStart + this.seriesCapacity * 4;
    const sampleStart = labelEnd + this.seriesCapacity * 4;
    const extras = sampleStart + (this.seriesCapacity + 1) * 4;
    this.reserve(extras + this.extraCapacity * EXTRA_WORDS * 4 + SLACK);
    // What a reader finds past the end must not depend on earlier requests: a cut-off varint ends at a zero.
    this.bytes.fill(0, this.messageEnd, this.messageEnd + SLACK);
    const words = this.words;
    words.set(seed, PARAM.seed);
    words[PARAM.messageStart] = this.messageStart;
    words[PARAM.messageEnd] = this.messageEnd;
    words[PARAM.seriesCapacity] = this.seriesCapacity;
    words[PARAM.sampleCapacity] = this.sampleCapacity;
    words[PARAM.extraCapacity] = this.extraCapacity;
    words[PARAM.labelStart] = labelStart;
    words[PARAM.labelEnd] = labelEnd;
    words[PARAM.hashes] = hashes;
    words[PARAM.sampleStart] = sampleStart;
    words[PARAM.timestamps] = timestamps;
    words[PARAM.values] = values;
    words[PARAM.extras] = extras;
    this.hashesAt = hashes;
    return { timestamps, values, hashes, labelStart, labelEnd, sampleStart, extras };
  }

  /** After a `*Room` code: enlarges that column, unless it stands at its limit. */
  private makeRoom(code: number): boolean {
    const limits = this.limits;
    if (code === CODE.seriesRoom && this.seriesCapacity < limits.series) {
      this.seriesCapacity = Math.min(limits.series, this.seriesCapacity * 4);
    } else if (code === CODE.sampleRoom && this.sampleCapacity < limits.samples) {
      this.sampleCapacity = Math.min(limits.samples, this.sampleCapacity * 4);
    } else if (code === CODE.extraRoom && this.extraCapacity < limits.extras) {
      this.extraCapacity = Math.min(limits.extras, this.extraCapacity * 4);
    } else return false;
    return true;
  }

  private scanError(code: number): KernelError {
    const at = (this.words[PARAM.errorAt] as number) - this.messageStart;
    const series = this.words[PARAM.seriesCount] as number;
    const size = this.messageEnd - this.messageStart;
    return new KernelError(code, at, series, `${CODE_TEXT[code]} (series ${series}, byte ${at} of ${size})`);
  }

  private place(start: number, size: number): void {
    this.messageStart = start;
    this.messageEnd = start + size;
  }

  private begin(bytes: number): void {
    if (this.backend.buffer.byteLength > KEEP_BYTES) {
      const small = bytes * 2 < KEEP_BYTES;
      this.smallRequests = small ? this.smallRequests + 1 : 0;
      if (this.smallRequests > SMALL_REQUESTS_BEFORE_RENEWAL) this.renew();
    }
    this.reserve(bytes);
  }

  private renew(): void {
    this.smallRequests = 0;
    this.seriesCapacity = 4096;
    this.sampleCapacity = 8192;
    this.extraCapacity = 1024;
    this.backend = this.create();
    this.view();
  }

  private reserve(bytes: number): void {
    if (bytes <= this.bytes.length) return;
    // A quarter more, so that slowly growing requests do not regrow it each time.
    this.backend.grow(bytes + (bytes >>> 2));
    this.view();
  }

  private view(): void {
    this.bytes = new Uint8Array(this.backend.buffer);
    this.words = new Uint32Array(this.backend.buffer, 0, PARAM_BYTES / 4);
  }

  private checkSize(size: number, limit: number, what: string): void {
    if (size > limit) {
      throw new KernelError(CODE.tooLarge, 0, -1, `the ${what} has ${size} bytes; at most ${limit} are accepted`);
    }
  }
}

interface ColumnAddresses {
  timestamps: number;
  values: number;
  hashes: number;
  labelStart: number;
  labelEnd: number;
  sampleStart: number;
  extras: number;
}

/** The Wasm kernel, or the JavaScript one where WebAssembly is not to be had. */
export function createKernel(limits: Partial<KernelLimits> = {}): IngestKernel {
  try {
    return new IngestKernel(createWasmBackend, limits);
  } catch {
    return createJsKernel(limits);
  }
}

export function createJsKernel(limits: Partial<KernelLimits> = {}): IngestKernel {
  return new IngestKernel(() => new JsBackend(), limits);
}

/** The varint length at the head of a snappy block, and how many bytes it takes. */
export function readSnappyHeader(body: Uint8Array): { size: number; length: number } {
  let size = 0;
  for (let i = 0; i < 5 && i < body.length; i++) {
    const b = body[i] as number;
    size += (b & 0x7f) * 2 ** (7 * i);
    if (b < 0x80) {
      if (size > 0xffffffff) break;
      return { size, length: i + 1 };
    }
  }
  throw new KernelError(CODE.snappyHeader, 0, -1, `cannot decompress snappy: ${CODE_TEXT[CODE.snappyHeader]}`);
}

function align8(n: number): number {
  return (n + 7) & ~7;
}

/** CorruptChunkError: encoded bytes that cannot be what an encoder of ours wrote. Messages carry the numbers. */

export class CorruptChunkError extends Error {
  override name = 'CorruptChunkError';
  /** Offset of the first byte that made no sense, in the array that was being decoded. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(`${message} (at byte ${offset})`);
    this.offset = offset;
  }
}

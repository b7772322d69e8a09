/** CRC-32C (Castagnoli), which frames of streamed remote read carry; zlib's crc32 is another polynomial. */
const POLYNOMIAL = 0x82f63b78;
const TABLE = new Uint32Array(256).map((_, i) => {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1;
  return c >>> 0;
});

export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = (c >>> 8) ^ (TABLE[(c ^ (bytes[i] as number)) & 0xff] as number);
  return (c ^ 0xffffffff) >>> 0;
}

/** The `tombstones` of a Prometheus block: what was deleted from it, by series. */
import { readFileSync, statSync } from 'node:fs';
import { crc32c } from '../../lib/crc32c.ts';
import { ByteReader, CorruptPrometheusError } from './byte-reader.ts';

const MAGIC = 0x0130ba30;
const VERSION = 1;
const BYTES_MAX = 1 << 30;

/** Series id -> flat [minT, maxT, ...], inclusive, in no order. */
export type PrometheusTombstones = Map<number, number[]>;

/** No file is as good as an empty one. Throws CorruptPrometheusError. */
export function readTombstoneFile(path: string): PrometheusTombstones {
  const stones: PrometheusTombstones = new Map();
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return stones;
  if (size > BYTES_MAX) throw new CorruptPrometheusError(path, 0, `${size} bytes are too many`);
  const bytes = readFileSync(path);
  if (bytes.length < 9) throw new CorruptPrometheusError(path, 0, `${bytes.length} bytes are too few`);
  const end = bytes.length - 4;
  const r = new ByteReader().reset(bytes, 0, end, path, 0);
  if (r.be32() !== MAGIC) throw new CorruptPrometheusError(path, 0, 'this is not a tombstones file');
  // Of what follows the version.
  if (crc32c(bytes, 5, end) !== bytes.readUInt32BE(end)) {
    throw new CorruptPrometheusError(path, end, 'the checksum is not the one noted');
  }
  const version = r.u8();
  if (version !== VERSION) throw new CorruptPrometheusError(path, 4, `version ${version}; version ${VERSION} is read`);
  while (r.more()) {
    const id = r.exactUvarint('a series reference');
    // Bounds may be the whole range of 64 bits.
    const minT = r.varint();
    const maxT = r.varint();
    const list = stones.get(id);
    if (list === undefined) stones.set(id, [minT, maxT]);
    else list.push(minT, maxT);
  }
  return stones;
}

/**
 * Identity hash: 128 bits that stand for one series of one tenant, in every index, chunk and shard decision.
 *
 * Series are joined by this hash and never by comparing label strings, so two label sets with one hash would silently
 * become one series. Labels come from outside; therefore the hash must be keyed: who does not know the folder's secret
 * must not be able to make a colliding pair. (FNV, xxHash, MurmurHash and wyhash fail here: collisions for them can be
 * computed for every seed at once.)
 *
 * Construction: SipHash-1-3 with 128-bit output over the canonical label bytes. Its key is the first 16 bytes of
 * HMAC-SHA256(secret, context + tenant): tenants get independent functions, and a secret of any length from 16 bytes
 * on is used whole. SipHash is a pseudo-random function with a 256-bit inner state; no published differential of the
 * one-round compression comes near a probability of 2^-128, so a chosen pair collides no more often than a random one.
 * Among n series the chance is about n^2 / 2^129: 10^9 series, 1.5e-21. The 1-3 rounds are what hash tables in Rust
 * and Python rely on against chosen keys; the hash authenticates nothing, so the 2-4 rounds of a MAC are not needed.
 *
 * Why not a multiplicative hash: 64 x 64 -> 128 bit products are missing in Wasm and very dear in JavaScript. SipHash
 * is adds, rotations and xors of 64-bit words: native in Wasm (the kernel in lib/kernel does the same function) and pairs
 * of 32-bit words here. Both give the same result; a differential test holds them together.
 *
 * Hashes are on disk (index, exemplars): the construction and the context string are part of the folder format.
 */
import { createHmac } from 'node:crypto';

const CONTEXT = 'sightline series identity 1\0';

/** The four key words of one tenant, little-endian: k0 low, k0 high, k1 low, k1 high. Never written anywhere. */
export type TenantSeed = Uint32Array;

/** Words per hash. */
export const HASH_WORDS = 4;

export class IdentityHasher {
  private readonly secret: Uint8Array;
  private readonly seeds = new Map<string, TenantSeed>();

  /** `secret` is made once per data folder: 16 to 32 random bytes. */
  constructor(secret: Uint8Array) {
    if (secret.length < 16 || secret.length > 32) {
      throw new RangeError(`the identity secret must have 16 to 32 bytes, not ${secret.length}`);
    }
    this.secret = secret.slice();
  }

  /** The tenant's key; cached, so that asking per request is cheap. */
  tenantSeed(tenant: string): TenantSeed {
    let seed = this.seeds.get(tenant);
    if (seed === undefined) {
      seed = deriveSeed(this.secret, tenant);
      // Bounded: tenants can be made up by clients where sign-in is off.
      if (this.seeds.size >= 4096) this.seeds.clear();
      this.seeds.set(tenant, seed);
    }
    return seed;
  }

  /** Writes the hash of bytes[start, end) to out[at .. at + 3]. */
  hash(seed: TenantSeed, bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): void {
    sipHash128(seed, bytes, start, end, out, at);
  }
}

function deriveSeed(secret: Uint8Array, tenant: string): TenantSeed {
  const digest = createHmac('sha256', secret).update(CONTEXT).update(tenant, 'utf8').digest();
  const seed = new Uint32Array(4);
  for (let i = 0; i < 4; i++) seed[i] = digest.readUInt32LE(i * 4);
  return seed;
}

/**
 * SipHash-1-3-128 on 32-bit halves (xl, xh). One loop serves message words and finalisation: the rounds after the last
 * word see a message word of 0, which changes nothing.
 */
export function sipHash128(
  key: Uint32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint32Array,
  at: number,
): void {
  if (!(start >= 0 && start <= end && end <= bytes.length)) {
    throw new RangeError(`cannot hash bytes [${start}, ${end}) of ${bytes.length}`);
  }
  const k0l = key[0] as number;
  const k0h = key[1] as number;
  const k1l = key[2] as number;
  const k1h = key[3] as number;
  let v0l = k0l ^ 0x70736575;
  let v0h = k0h ^ 0x736f6d65;
  let v1l = k1l ^ 0x6e646f6d ^ 0xee;
  let v1h = k1h ^ 0x646f7261;
  let v2l = k0l ^ 0x6e657261;
  let v2h = k0h ^ 0x6c796765;
  let v3l = k1l ^ 0x79746573;
  let v3h = k1h ^ 0x74656462;

  const whole = (end - start) >>> 3;
  let p = start;
  for (let i = 0; ; i++) {
    let ml = 0;
    let mh = 0;
    if (i < whole) {
      ml =
        (bytes[p] as number) |
        ((bytes[p + 1] as number) << 8) |
        ((bytes[p + 2] as number) << 16) |
        ((bytes[p + 3] as number) << 24);
      mh =
        (bytes[p + 4] as number) |
        ((bytes[p + 5] as number) << 8) |
        ((bytes[p + 6] as number) << 16) |
        ((bytes[p + 7] as number) << 24);
      p += 8;
    } else if (i === whole) {
      // The last word: what is left, and the length in the top byte.
      mh = (end - start) << 24;
      for (let shift = 0; p < end; shift += 8) {
        if (shift < 32) ml |= (bytes[p++] as number) << shift;
        else mh |= (bytes[p++] as number) << (shift - 32);
      }
    }
    v3l ^= ml;
    v3h ^= mh;

    // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
    let sum = (v0l + v1l) | 0;
    let high = (v0h + v1h + (sum >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
    let turned = (v1l << 13) | (v1h >>> 19);
    v1h = ((v1h << 13) | (v1l >>> 19)) ^ high;
    v1l = turned ^ sum;
    v0l = high;
    v0h = sum;
    // v2 += v3; v3 = rotl(v3, 16) ^ v2
    sum = (v2l + v3l) | 0;
    high = (v2h + v3h + (sum >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
    turned = (v3l << 16) | (v3h >>> 16);
    v3h = ((v3h << 16) | (v3l >>> 16)) ^ high;
    v3l = turned ^ sum;
    v2l = sum;
    v2h = high;
    // v0 += v3; v3 = rotl(v3, 21) ^ v0
    sum = (v0l + v3l) | 0;
    high = (v0h + v3h + (sum >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
    turned = (v3l << 21) | (v3h >>> 11);
    v3h = ((v3h << 21) | (v3l >>> 11)) ^ high;
    v3l = turned ^ sum;
    v0l = sum;
    v0h = high;
    // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
    sum = (v2l + v1l) | 0;
    high = (v2h + v1h + (sum >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
    turned = (v1l << 17) | (v1h >>> 15);
    v1h = ((v1h << 17) | (v1l >>> 15)) ^ high;
    v1l = turned ^ sum;
    v2l = high;
    v2h = sum;

    v0l ^= ml;
    v0h ^= mh;
    if (i < whole) continue;
    if (i === whole) {
      v2l ^= 0xee;
    } else if (i === whole + 3) {
      out[at] = v0l ^ v1l ^ v2l ^ v3l;
      out[at + 1] = v0h ^ v1h ^ v2h ^ v3h;
      v1l ^= 0xdd;
    } else if (i === whole + 6) {
      out[at + 2] = v0l ^ v1l ^ v2l ^ v3l;
      out[at + 3] = v0h ^ v1h ^ v2h ^ v3h;
      return;
    }
  }
}

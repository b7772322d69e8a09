import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdentityHasher, sipHash128 } from './identity-hash.ts';

/** SipHash-c-d-128 as its paper writes it, on BigInts: the obvious form that the fast one is held to. */
function model(key: Uint8Array, data: Uint8Array, c: number, d: number): Uint8Array {
  const mask = (1n << 64n) - 1n;
  const load = (b: Uint8Array, at: number, n = 8): bigint => {
    let x = 0n;
    for (let i = 0; i < n; i++) x |= BigInt(b[at + i] as number) << BigInt(8 * i);
    return x;
  };
  const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & mask;
  const k0 = load(key, 0);
  const k1 = load(key, 8);
  const v = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ] as [bigint, bigint, bigint, bigint];
  const rounds = (n: number): void => {
    for (let i = 0; i < n; i++) {
      v[0] = (v[0] + v[1]) & mask;
      v[1] = rotl(v[1], 13n) ^ v[0];
      v[0] = rotl(v[0], 32n);
      v[2] = (v[2] + v[3]) & mask;
      v[3] = rotl(v[3], 16n) ^ v[2];
      v[0] = (v[0] + v[3]) & mask;
      v[3] = rotl(v[3], 21n) ^ v[0];
      v[2] = (v[2] + v[1]) & mask;
      v[1] = rotl(v[1], 17n) ^ v[2];
      v[2] = rotl(v[2], 32n);
    }
  };
  const words: bigint[] = [];
  let at = 0;
  for (; at + 8 <= data.length; at += 8) words.push(load(data, at));
  words.push(load(data, at, data.length - at) | (BigInt(data.length & 0xff) << 56n));
  for (const m of words) {
    v[3] ^= m;
    rounds(c);
    v[0] ^= m;
  }
  v[2] ^= 0xeen;
  rounds(d);
  const first = v[0] ^ v[1] ^ v[2] ^ v[3];
  v[1] ^= 0xddn;
  rounds(d);
  const second = v[0] ^ v[1] ^ v[2] ^ v[3];
  const out = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    out[i] = Number((first >> BigInt(8 * i)) & 0xffn);
    out[8 + i] = Number((second >> BigInt(8 * i)) & 0xffn);
  }
  return out;
}

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const counting = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i);

function hashHex(key: Uint8Array, data: Uint8Array, start = 0, end = data.length): string {
  const out = new Uint32Array(6);
  const words = new Uint32Array(4);
  new Uint8Array(words.buffer).set(key);
  sipHash128(words, data, start, end, out, 1);
  assert.equal(out[0], 0);
  assert.equal(out[5], 0);
  return hex(new Uint8Array(out.buffer, 4, 16));
}

test('the model gives the published SipHash-2-4-128 vectors', () => {
  const key = counting(16);
  assert.equal(hex(model(key, counting(0), 2, 4)), 'a3817f04ba25a8e66df67214c7550293');
  assert.equal(hex(model(key, counting(1), 2, 4)), 'da87c1d86b99af44347659119b22fc45');
});

test('the hash equals the model with 1-3 rounds at every length and alignment', () => {
  const data = new Uint8Array(700);
  let x = 12345;
  for (let i = 0; i < data.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    data[i] = x >>> 16;
  }
  const key = data.slice(600, 616);
  for (let n = 0; n < 300; n++) {
    const start = n % 9;
    assert.equal(hashHex(key, data, start, start + n), hex(model(key, data.slice(start, start + n), 1, 3)), `n=${n}`);
  }
});

test('tenants and secrets give different hashes, and the same ones give the same', () => {
  const bytes = counting(50);
  const of = (secret: Uint8Array, tenant: string): string => {
    const hasher = new IdentityHasher(secret);
    const out = new Uint32Array(4);
    hasher.hash(hasher.tenantSeed(tenant), bytes, 0, bytes.length, out, 0);
    return out.join();
  };
  assert.equal(of(counting(32), 'a'), of(counting(32), 'a'));
  assert.notEqual(of(counting(32), 'a'), of(counting(32), 'b'));
  assert.notEqual(of(counting(32), 'a'), of(counting(31), 'a'));
  // The folder format depends on these words.
  assert.equal(of(counting(32), 'default'), PINNED);
});
const PINNED = '4275077156,809464969,2028562696,922592383';

test('bad arguments are refused', () => {
  assert.throws(() => new IdentityHasher(counting(15)), /16 to 32 bytes/);
  assert.throws(() => hashHex(counting(16), counting(8), 4, 9), /cannot hash bytes/);
});

/** Published test values of xxHash64 with seed 0. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxHash64 } from './xxhash64.ts';

test('known hashes', () => {
  const cases: [string, bigint][] = [
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['abc', 0x44bc2cf5ad770999n],
    ['Nobody inspects the spammish repetition', 0xfbcea83c8a378bf1n],
  ];
  for (const [text, hash] of cases) assert.equal(xxHash64(new TextEncoder().encode(text)), hash, text);
});

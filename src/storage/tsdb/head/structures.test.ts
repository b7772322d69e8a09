/** The slab structures against plain ones: postings, id table, symbols, slabs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdTable } from './id-table.ts';
import { Postings } from './postings.ts';
import { ByteSlab, WordSlab } from './slab.ts';
import { SymbolTable } from './symbols.ts';

test('postings hold what arrays hold, through compactions', () => {
  const step = fc.record({
    list: fc.integer({ min: 0, max: 5 }),
    n: fc.integer({ min: 0, max: 3000 }),
    keep: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), steps => {
      const postings = new Postings();
      const model: number[][] = [[], [], [], [], [], []];
      for (let i = 0; i < model.length; i++) postings.open(i);
      let ref = 0;
      for (const { list, n, keep } of steps) {
        for (let i = 0; i < n; i++) {
          postings.push(list, ref);
          model[list]!.push(ref++);
        }
        if (keep > 1) {
          postings.compact(list, r => r % keep === 0);
          model[list] = model[list]!.filter(r => r % keep === 0);
        }
      }
      for (let i = 0; i < model.length; i++) {
        const out = new Uint32Array(postings.count(i));
        assert.equal(postings.copy(i, out, 0), out.length);
        assert.deepEqual([...out], model[i]);
      }
    }),
    { seed: 3, numRuns: 200 },
  );
});

test('an id table with colliding hashes finds what is in it and nothing else', () => {
  const step = fc.record({ id: fc.integer({ min: 0, max: 400 }), add: fc.boolean() });
  // Few hashes: long probe runs that wrap around.
  const hashOf = (id: number) => ((id % 7) * 0x3ffffff + (id % 3)) >>> 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 500, size: 'max' }), steps => {
      const table = new IdTable(hashOf);
      const model = new Set<number>();
      for (const { id, add } of steps) {
        if (add && !model.has(id)) {
          table.add(hashOf(id), id);
          model.add(id);
        } else if (!add) {
          table.remove(hashOf(id), id);
          model.delete(id);
        }
      }
      for (let id = 0; id <= 400; id++) {
        assert.equal(
          table.find(hashOf(id), other => other === id),
          model.has(id) ? id : -1,
        );
      }
    }),
    { seed: 4, numRuns: 200 },
  );
});

test('symbols are found by their bytes, shared, and go with their last use', () => {
  const symbols = new SymbolTable();
  const text = (i: number) => (i % 50 === 0 ? 'x'.repeat(70_000 + i) : `välue-${i}`);
  const encoder = new TextEncoder();
  const ids = new Map<number, number>();
  for (let i = 0; i < 3000; i++) {
    const bytes = encoder.encode(text(i));
    ids.set(i, symbols.acquire(bytes, 0, bytes.length));
    if (i % 2 === 0) assert.equal(symbols.acquire(bytes, 0, bytes.length), ids.get(i));
  }
  for (let i = 0; i < 3000; i++) assert.equal(symbols.string(ids.get(i) as number), text(i));
  for (let i = 0; i < 3000; i++) symbols.release(ids.get(i) as number);
  for (let i = 0; i < 3000; i++) assert.equal(symbols.findString(text(i)), i % 2 === 0 ? ids.get(i) : -1);
  for (let i = 0; i < 3000; i += 2) symbols.release(ids.get(i) as number);
  const used = symbols.bytes;
  for (let i = 3000; i < 6000; i++) {
    const bytes = encoder.encode(`other-${i}`);
    assert.equal(symbols.string(symbols.acquire(bytes, 0, bytes.length)), `other-${i}`);
  }
  assert.ok(symbols.bytes <= used + 70_000, 'freed memory is used again');
  assert.equal(symbols.findString('absent'), -1);
});

test('slabs never hand out overlapping runs', () => {
  const words = new WordSlab();
  const bytes = new ByteSlab();
  const runs: { a: number; size: number; mark: number }[] = [];
  const spans: { a: number; size: number; mark: number }[] = [];
  let state = 1;
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  for (let i = 1; i < 20_000; i++) {
    if (runs.length > 500) {
      const [run] = runs.splice(random(runs.length), 1);
      for (let k = 0; k < run!.size; k++) assert.equal(words.get(run!.a + k), run!.mark);
      words.release(run!.a, run!.size);
      const [span] = spans.splice(random(spans.length), 1);
      const at = bytes.offset(span!.a);
      for (let k = 0; k < span!.size; k++) assert.equal(bytes.page(span!.a)[at + k], span!.mark & 255);
      bytes.release(span!.a, span!.size);
    }
    const size = 1 + random(40);
    const a = words.alloc(size);
    assert.notEqual(a, 0);
    for (let k = 0; k < size; k++) words.set(a + k, i);
    runs.push({ a, size, mark: i });
    const length = random(300) === 0 ? 65_000 + random(3000) : random(100);
    const b = bytes.alloc(length);
    assert.notEqual(b, 0);
    bytes.page(b).fill(i & 255, bytes.offset(b), bytes.offset(b) + length);
    spans.push({ a: b, size: length, mark: i });
  }
});

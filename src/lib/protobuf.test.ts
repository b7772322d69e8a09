import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProtobufError, ProtobufReader, ProtobufWriter } from './protobuf.ts';

test('numbers come back as they were written', () => {
  const whole = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constantFrom(0, -1, 2 ** 31, -(2 ** 31), 2 ** 53 - 1));
  fc.assert(
    fc.property(whole, fc.double(), fc.array(whole, { maxLength: 5 }), fc.string(), (n, d, list, text) => {
      const w = new ProtobufWriter(1);
      w.varint(1, n);
      w.zigzag(2, n);
      w.double(3, d);
      w.packedZigzags(4, list);
      const message = w.begin(5);
      w.string(1, text);
      w.close(message);
      w.packedDoubles(6, [d, d]);
      const r = new ProtobufReader(w.finish());
      const zigzags: number[] = [];
      const doubles: number[] = [];
      let seen = 0;
      while (r.more()) {
        const field = r.field();
        seen++;
        if (field === 1) assert.equal(r.signed(), n);
        else if (field === 2) assert.ok(r.zigzag() === n);
        else if (field === 3) assert.ok(Object.is(r.double(), d));
        else if (field === 4) r.zigzagsInto(zigzags, 10);
        else if (field === 5) {
          const outer = r.enter();
          assert.equal(r.field(), 1);
          const start = r.span();
          assert.equal(Buffer.from(r.bytes.subarray(start, r.at)).toString(), text.toWellFormed());
          r.leave(outer);
        } else r.doublesInto(doubles, 10);
      }
      assert.deepEqual(
        zigzags.map(v => v + 0),
        list.map(v => v + 0),
      );
      assert.deepEqual(doubles, [d, d]);
      assert.equal(seen, list.length > 0 ? 6 : 5);
    }),
    { seed: 17, numRuns: 1000 },
  );
});

test('sizes at which lengths take another byte', () => {
  for (const size of [0, 127, 128, 16383, 16384, 2097151, 2097152]) {
    const w = new ProtobufWriter();
    const m = w.begin(1);
    w.raw(new Uint8Array(size).fill(7));
    w.close(m);
    const r = new ProtobufReader(w.finish());
    r.field();
    const start = r.span();
    assert.equal(r.at - start, size);
    assert.equal(r.more(), false);
  }
});

test('what is not protobuf is refused with its place', () => {
  const cases: [number[], RegExp, number][] = [
    [[0x08], /runs past the end/, 1],
    [[0x0a, 0x05, 1, 2], /a length runs past/, 0],
    [[0x09, 1, 2], /a value runs past/, 0],
    [[0x00], /field number/, 0],
    [[0x0b], /wrong wire type/, 0],
    [[0x08, ...new Array<number>(11).fill(0xff)], /longer than ten bytes/, 1],
  ];
  for (const [bytes, message, offset] of cases) {
    const r = new ProtobufReader(Uint8Array.from(bytes));
    assert.throws(
      () => {
        while (r.more()) {
          r.field();
          r.skip();
        }
      },
      (error: unknown) => {
        assert.ok(error instanceof ProtobufError);
        assert.match(error.message, message);
        assert.equal(error.offset, offset);
        return true;
      },
    );
  }
  const r = new ProtobufReader(Uint8Array.of(0x0a, 3, 1, 1, 1));
  r.field();
  assert.throws(() => r.unsignedsInto([], 2), /more than 2 entries/);
});

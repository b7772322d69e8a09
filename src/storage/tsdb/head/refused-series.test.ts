import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusedSeries } from './refused-series.ts';

/** Words of a series' identity that spread as a hash does. */
function identity(i: number, words: Uint32Array): Uint32Array {
  words[0] = Math.imul(i + 1, 0x9e3779b1) >>> 0;
  words[1] = Math.imul(i + 1, 0x85ebca6b) >>> 0;
  return words;
}

test('what was refused is found with its reason, through growth; a new epoch forgets; a full table starts anew', () => {
  const refused = new RefusedSeries();
  const words = new Uint32Array(4);
  refused.at(1);
  for (let i = 0; i < 100_000; i++) {
    refused.add(identity(i, words), 0, i % 2 === 0 ? 'too_many_series' : 'label_blocked', `text ${i}`);
  }
  for (let i = 0; i < 100_000; i += 7) {
    assert.equal(refused.find(identity(i, words), 0), i % 2 === 0 ? 'too_many_series' : 'label_blocked');
    assert.equal(refused.text, i < 1024 ? `text ${i}` : '');
  }
  for (let i = 100_000; i < 101_000; i++) assert.equal(refused.find(identity(i, words), 0), null);
  assert.equal(refused.hasRoomForText, false);
  refused.at(1);
  assert.notEqual(refused.find(identity(3, words), 0), null);
  refused.at(2);
  assert.equal(refused.find(identity(3, words), 0), null);
  for (let i = 0; i < 1_000_000; i++) refused.add(identity(i, words), 0, 'memory_pressure', '');
  assert.equal(refused.find(identity(999_999, words), 0), 'memory_pressure');
  let known = 0;
  for (let i = 0; i < 1_000_000; i++) if (refused.find(identity(i, words), 0) !== null) known++;
  assert.ok(known > 0 && known <= 2 ** 19 * 0.7 + 1, `${known}`);
  words.fill(0);
  refused.add(words, 0, 'label_blocked', '');
  assert.equal(refused.find(words, 0), null, 'an identity of zeros is asked about each time');
});

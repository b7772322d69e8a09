/**
 * Choosing series by matchers: set operations over sorted series numbers.
 *
 * As in Prometheus, a matcher that also accepts the empty string selects series without the label too, so it is applied by taking away
 * the series whose value it refuses; the others by keeping the series whose value they accept.
 */
import type { CompiledMatcher } from '../part.ts';
import type { BlockIndex, NameEntry } from './index-reader.ts';

/** Series numbers that match all, ascending. */
export function selectSeries(index: BlockIndex, matchers: readonly CompiledMatcher[]): Uint32Array {
  let chosen: Uint32Array | null = null;
  for (const matcher of matchers) {
    if (matcher.matches('')) continue;
    const entry = index.name(matcher.name);
    if (entry === null) return new Uint32Array(0);
    const has = unionOf(index, acceptedPairs(index, entry, matcher));
    chosen = chosen === null ? has : intersect(chosen, has);
    if (chosen.length === 0) return chosen;
  }
  let left: Uint32Array = chosen ?? allSeries(index.seriesCount);
  for (const matcher of matchers) {
    if (!matcher.matches('')) continue;
    const entry = index.name(matcher.name);
    if (entry === null) continue;
    left = subtract(left, unionOf(index, refusedPairs(index, entry, matcher)));
    if (left.length === 0) return left;
  }
  return left;
}

function allSeries(count: number): Uint32Array {
  const all = new Uint32Array(count);
  for (let i = 0; i < count; i++) all[i] = i;
  return all;
}

function acceptedPairs(index: BlockIndex, entry: NameEntry, matcher: CompiledMatcher): number[] {
  const pairs: number[] = [];
  if (matcher.set !== null) {
    for (const value of matcher.set) {
      const pair = index.findPair(entry, value);
      if (pair >= 0) pairs.push(pair);
    }
    return pairs.sort((a, b) => a - b);
  }
  const { prefix } = matcher;
  for (let pair = prefix === '' ? entry.from : index.lowerPair(entry, prefix); pair < entry.to; pair++) {
    const value = index.value(pair);
    if (prefix !== '' && !value.startsWith(prefix)) break;
    if (matcher.matches(value)) pairs.push(pair);
  }
  return pairs;
}

function refusedPairs(index: BlockIndex, entry: NameEntry, matcher: CompiledMatcher): number[] {
  if (matcher.op === '!=') {
    const pair = index.findPair(entry, matcher.value);
    return pair >= 0 ? [pair] : [];
  }
  const pairs: number[] = [];
  for (let pair = entry.from; pair < entry.to; pair++) if (!matcher.matches(index.value(pair))) pairs.push(pair);
  return pairs;
}

/** A series has one value per name, so the lists of one matcher are disjoint. */
function unionOf(index: BlockIndex, pairs: readonly number[]): Uint32Array {
  if (pairs.length === 0) return new Uint32Array(0);
  if (pairs.length === 1) return index.postings(pairs[0] as number);
  const lists: Uint32Array[] = [];
  let total = 0;
  for (const pair of pairs) {
    const list = index.postings(pair);
    lists.push(list);
    total += list.length;
  }
  // Few: sort. Many: mark and collect.
  if (total * 16 < index.seriesCount) {
    const out = new Uint32Array(total);
    let at = 0;
    for (const list of lists) {
      out.set(list, at);
      at += list.length;
    }
    return out.sort();
  }
  const marks = new Uint8Array(index.seriesCount);
  for (const list of lists) for (let i = 0; i < list.length; i++) marks[list[i] as number] = 1;
  const out = new Uint32Array(total);
  let at = 0;
  for (let i = 0; i < marks.length; i++) if (marks[i] === 1) out[at++] = i;
  return out.subarray(0, at);
}

function intersect(a: Uint32Array, b: Uint32Array): Uint32Array {
  const out = new Uint32Array(Math.min(a.length, b.length));
  let n = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const x = a[i] as number;
    const y = b[j] as number;
    if (x === y) out[n++] = x;
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return out.subarray(0, n);
}

function subtract(a: Uint32Array, b: Uint32Array): Uint32Array {
  const out = new Uint32Array(a.length);
  let n = 0;
  for (let i = 0, j = 0; i < a.length; i++) {
    const x = a[i] as number;
    while (j < b.length && (b[j] as number) < x) j++;
    if (j === b.length || b[j] !== x) out[n++] = x;
  }
  return out.subarray(0, n);
}

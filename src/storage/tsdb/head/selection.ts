/**
 * Selection: which series of a tenant match, by Prometheus' rules (a matcher that accepts the empty string also accepts
 * series without the label).
 *
 * The shortest list among the matchers that demand a label drives; every ref in it is then checked on its own label list
 * (one cache line for a dozen labels), so that no other posting list is read and none needs to be sorted. A regular expression
 * is run over a name's values only if that name has fewer values than the driver has series; otherwise over the values that
 * the candidates have. Verdicts are remembered per pair.
 */
import type { CompiledMatcher } from '../part.ts';
import type { LabelIndex, Tenant } from './label-index.ts';
import { ALIVE, PAGE_MASK, PAGE_SHIFT, type SeriesPage, type SeriesTable } from './series-table.ts';

const encoder = new TextEncoder();

interface Filter {
  matcher: CompiledMatcher;
  /** -1 where no series of the tenant has the name. */
  name: number;
  matchesEmpty: boolean;
  /** The one pair that passes, where it is one; -1 otherwise. */
  only: number;
  /** Verdicts by pair. */
  verdicts: Map<number, boolean>;
}

/** Refs of the live series that match, in the order of their lists (mostly ascending). */
export function selectRefs(
  index: LabelIndex,
  series: SeriesTable,
  tenant: Tenant,
  matchers: readonly CompiledMatcher[],
): Uint32Array {
  const filters: Filter[] = [];
  let driver: number[] | null = null;
  let driverCount = tenant.seriesCount;
  for (const matcher of matchers) {
    const name = index.findName(tenant, matcher.name);
    const matchesEmpty = matcher.matches('');
    if (name < 0) {
      if (matchesEmpty) continue;
      return new Uint32Array(0);
    }
    const filter: Filter = { matcher, name, matchesEmpty, only: -1, verdicts: new Map() };
    filters.push(filter);
    if (matchesEmpty || matcher.set === null) continue;
    const pairs = pairsOfSet(index, name, matcher.set);
    if (pairs.length === 0) return new Uint32Array(0);
    if (pairs.length === 1) filter.only = pairs[0] as number;
    for (const pair of pairs) filter.verdicts.set(pair, true);
    const count = countOf(index, pairs);
    if (driver !== null && count >= driverCount) continue;
    driver = pairs;
    driverCount = count;
  }
  for (const filter of filters) {
    if (filter.matchesEmpty || filter.matcher.set !== null) continue;
    if (index.pairCount(filter.name) > driverCount) continue;
    const pairs = pairsOfPattern(index, filter);
    if (pairs.length === 0) return new Uint32Array(0);
    const count = countOf(index, pairs);
    if (driver !== null && count >= driverCount) continue;
    driver = pairs;
    driverCount = count;
  }
  const refs = driver === null ? allOf(index, tenant) : union(index, driver);
  return keepMatching(index, series, refs, filters);
}

function pairsOfSet(index: LabelIndex, name: number, values: readonly string[]): number[] {
  const pairs = new Set<number>();
  for (const value of values) {
    const pair = value === '' ? -1 : index.findPair(name, value);
    if (pair >= 0) pairs.add(pair);
  }
  return [...pairs];
}

/** Runs the matcher over all values of its name; leaves the verdicts behind. */
function pairsOfPattern(index: LabelIndex, filter: Filter): number[] {
  const { matcher, name, verdicts } = filter;
  const prefix = encoder.encode(matcher.prefix);
  const pairs: number[] = [];
  for (let pair = index.firstPair(name); pair >= 0; pair = index.nextPair(pair)) {
    const ok =
      (prefix.length === 0 || index.symbols.startsWith(index.valueSymbol(pair), prefix)) &&
      matcher.matches(index.valueText(pair));
    verdicts.set(pair, ok);
    if (ok) pairs.push(pair);
  }
  return pairs;
}

function countOf(index: LabelIndex, pairs: readonly number[]): number {
  let count = 0;
  for (const pair of pairs) count += index.postings.count(pair);
  return count;
}

function allOf(index: LabelIndex, tenant: Tenant): Uint32Array {
  const refs = new Uint32Array(index.allSeries.count(tenant.index));
  index.allSeries.copy(tenant.index, refs, 0);
  return refs;
}

function union(index: LabelIndex, pairs: readonly number[]): Uint32Array {
  const refs = new Uint32Array(countOf(index, pairs));
  let at = 0;
  for (const pair of pairs) at = index.postings.copy(pair, refs, at);
  return refs;
}

/** Keeps, in place, the refs that are alive and pass every filter. */
function keepMatching(
  index: LabelIndex,
  series: SeriesTable,
  refs: Uint32Array,
  filters: readonly Filter[],
): Uint32Array {
  let kept = 0;
  for (let i = 0; i < refs.length; i++) {
    const ref = refs[i] as number;
    const page = series.pages[ref >>> PAGE_SHIFT] as SeriesPage;
    const slot = ref & PAGE_MASK;
    if (((page.flags[slot] as number) & ALIVE) === 0) continue;
    if (passes(index, page.labels[slot] as number, filters)) refs[kept++] = ref;
  }
  return refs.subarray(0, kept);
}

function passes(index: LabelIndex, labels: number, filters: readonly Filter[]): boolean {
  for (let i = 0; i < filters.length; i++) {
    const filter = filters[i] as Filter;
    // Fast path: one wanted pair.
    if (filter.only >= 0) {
      if (!index.hasPair(labels, filter.only)) return false;
      continue;
    }
    const pair = index.pairOf(labels, filter.name);
    if (pair < 0) {
      if (!filter.matchesEmpty) return false;
      continue;
    }
    let verdict = filter.verdicts.get(pair);
    if (verdict === undefined) {
      verdict = filter.matcher.matches(index.valueText(pair));
      filter.verdicts.set(pair, verdict);
    }
    if (!verdict) return false;
  }
  return true;
}

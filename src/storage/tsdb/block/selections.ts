/**
 * Selections: the series of a block that a matcher list selects, kept for the next time it is asked. Dashboards ask with the
 * same matchers all day, and for a few series reading and intersecting the postings takes longer than reading the samples. A
 * block's index never changes; deletes are applied afterwards.
 */
import type { CompiledMatcher } from '../part.ts';

/** Longer lists are worth their postings: reading their samples takes far longer. */
const SERIES_MAX = 1024;
const KEPT_MAX = 32;

export class Selections {
  /** In order of use. */
  private readonly kept = new Map<string, Uint32Array>();

  /** `select` is asked where nothing is kept. The list must not be changed. */
  get(matchers: readonly CompiledMatcher[], select: () => Uint32Array): Uint32Array {
    const key = keyOf(matchers);
    const known = this.kept.get(key);
    if (known !== undefined) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known;
    }
    const found = select();
    if (found.length <= SERIES_MAX) this.keep(key, found);
    return found;
  }

  private keep(key: string, found: Uint32Array): void {
    // Its own copy: a view would keep the whole list that it was cut from.
    this.kept.set(key, found.slice());
    if (this.kept.size <= KEPT_MAX) return;
    for (const oldest of this.kept.keys()) {
      this.kept.delete(oldest);
      return;
    }
  }
}

/** Lengths in front, so that no value can pass for two. */
function keyOf(matchers: readonly CompiledMatcher[]): string {
  let key = '';
  for (const { name, op, value } of matchers) key += `${name.length},${value.length}${op}${name}${value}`;
  return key;
}

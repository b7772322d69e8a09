/**
 * Seeded random numbers. Every data set of the benchmarks comes from these, so that two contestants, and two runs with
 * one seed, see the same samples. `mix` gives a value for a place (series, time) without any state, which lets a
 * generator start anywhere.
 */

/** 32-bit hash of two integers (murmur3's finaliser over a Weyl sequence). */
export function mix(a: number, b: number): number {
  let h = Math.imul(a | 0, 0x9e3779b1) ^ Math.imul((b | 0) + 0x7f4a7c15, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** [0, 1) for a place. */
export function mixUnit(a: number, b: number): number {
  return mix(a, b) / 4294967296;
}

/** A stream of numbers in [0, 1) (mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  unit(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer in [0, below). */
  int(below: number): number {
    return Math.floor(this.unit() * below);
  }

  /** Roughly normal with mean 0 and deviation 1: the sum of four uniforms, which is near enough for load. */
  normal(): number {
    return (this.unit() + this.unit() + this.unit() + this.unit() - 2) * 1.7320508075688772;
  }
}

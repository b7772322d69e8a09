/** Seeded sample shapes for benchmarks and tests of the codec and the block format. */

/** mulberry32: small, seeded, good enough for test data. */
export function seeded(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A request counter: a rate of its own, noise around it. */
export function counterShape(r: () => number): () => number {
  let c = Math.floor(r() * 1e7);
  const rate = 1 + r() * 200;
  return () => {
    c += Math.floor(rate * (0.7 + 0.6 * r()));
    return c;
  };
}

/** A temperature-like gauge with one decimal. */
export function decimalGauge(r: () => number): () => number {
  let g = 200 + r() * 500;
  return () => {
    g += (r() - 0.5) * 6;
    return Math.round(g) / 10;
  };
}

/** A ratio: a double with all its digits, drifting. */
export function doubleGauge(r: () => number): () => number {
  let g = r();
  return () => {
    g += (r() - 0.5) * 0.01;
    return g;
  };
}

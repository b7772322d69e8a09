/**
 * Sketch: quantiles of a stream in bounded memory, to within 1 % of the value (buckets that grow by a constant factor, as in DDSketch:
 * Masson, Rim, Lee 2019). A weight says how many observations a sampled one stands for.
 *
 * WindowSketch keeps several of them in a ring, so that quantiles are those of the last minutes.
 */

const GAMMA = 1.01 / 0.99;
const LOG_GAMMA = Math.log(GAMMA);
/** 2,048 buckets of 2 % span 17 powers of ten; what is below the lowest then joins it. */
const BINS_MAX = 2048;

export class Sketch {
  private readonly positive = new Map<number, number>();
  /** Rare: made with the first. */
  private negative: Map<number, number> | null = null;
  private zeros = 0;
  private min = Number.POSITIVE_INFINITY;
  private max = Number.NEGATIVE_INFINITY;
  count = 0;

  add(value: number, weight: number): void {
    this.count += weight;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    if (value > 0) bump(this.positive, value, weight);
    else if (value < 0) bump(this.negatives(), -value, weight);
    else this.zeros += weight;
  }

  merge(other: Sketch): void {
    this.count += other.count;
    this.zeros += other.zeros;
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
    for (const [bin, weight] of other.positive) this.positive.set(bin, (this.positive.get(bin) ?? 0) + weight);
    if (other.negative === null) return;
    const negative = this.negatives();
    for (const [bin, weight] of other.negative) negative.set(bin, (negative.get(bin) ?? 0) + weight);
  }

  /** Each of `quantiles` (0 to 1, ascending) into `out`; NaN where nothing was observed. */
  quantiles(quantiles: readonly number[], out: Float64Array): void {
    const values: number[] = [];
    const weights: number[] = [];
    for (const [bin, weight] of [...(this.negative ?? [])].sort((a, b) => b[0] - a[0])) {
      values.push(-middle(bin));
      weights.push(weight);
    }
    if (this.zeros > 0) {
      values.push(0);
      weights.push(this.zeros);
    }
    for (const [bin, weight] of [...this.positive].sort((a, b) => a[0] - b[0])) {
      values.push(middle(bin));
      weights.push(weight);
    }
    let at = 0;
    let seen = weights[0] ?? 0;
    for (let i = 0; i < quantiles.length; i++) {
      const rank = (quantiles[i] as number) * this.count;
      while (at < values.length - 1 && seen < rank) seen += weights[++at] as number;
      // A bucket's middle may lie outside of what was seen.
      out[i] = values.length === 0 ? Number.NaN : Math.min(this.max, Math.max(this.min, values[at] as number));
    }
  }

  private negatives(): Map<number, number> {
    this.negative ??= new Map();
    return this.negative;
  }
}

function bump(bins: Map<number, number>, value: number, weight: number): void {
  let bin = Math.ceil(Math.log(value) / LOG_GAMMA);
  const known = bins.get(bin);
  if (known === undefined && bins.size >= BINS_MAX) {
    bin = [...bins.keys()].reduce((a, b) => (Math.abs(b - bin) < Math.abs(a - bin) ? b : a));
  }
  bins.set(bin, (bins.get(bin) ?? 0) + weight);
}

/** Of the bucket (gamma^(bin-1), gamma^bin]: at most 1 % from either end. */
function middle(bin: number): number {
  return (2 * GAMMA ** bin) / (GAMMA + 1);
}

const SLOTS = 5;

export class WindowSketch {
  /** Made when something comes: most series are quiet most of the time. */
  private readonly slots: (Sketch | null)[] = new Array(SLOTS).fill(null);
  private readonly slotMs: number;
  private slot = -1;

  constructor(windowMs: number) {
    this.slotMs = Math.max(1, windowMs / SLOTS);
  }

  add(value: number, weight: number, nowMs: number): void {
    this.turn(nowMs);
    const at = this.slot % SLOTS;
    const sketch = this.slots[at] ?? new Sketch();
    this.slots[at] = sketch;
    sketch.add(value, weight);
  }

  quantiles(quantiles: readonly number[], nowMs: number, out: Float64Array): void {
    this.turn(nowMs);
    const all = new Sketch();
    for (const slot of this.slots) if (slot !== null) all.merge(slot);
    all.quantiles(quantiles, out);
  }

  private turn(nowMs: number): void {
    const now = Math.floor(nowMs / this.slotMs);
    if (this.slot < 0 || now - this.slot >= SLOTS) {
      this.slots.fill(null);
      this.slot = now;
      return;
    }
    while (this.slot < now) this.slots[++this.slot % SLOTS] = null;
  }
}

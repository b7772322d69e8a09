/**
 * RefusedSeries: which new series the gate has refused, and why, by the first two words of their identity.
 *
 * A sender goes on sending what was refused. Its next samples find the answer here at the price of a look-up, without their labels,
 * which need not be sent again between shards either. Emptied when it is full and when the gate's epoch has changed. May say
 * yes wrongly (two series with the same 64 bits: about 1 in 10^7 chances at a million refused series), until it is emptied next.
 */
import type { SeriesRefusal } from '../../../contracts/series-gate.ts';

const CAPACITY_FIRST = 1 << 10;
/** 9 bytes each: 5 MB. More would make the last growth hold the thread for more than some 10 ms. */
const CAPACITY_MAX = 1 << 19;
/** Refused series of which it is known what was said. */
const TEXTS_MAX = 1024;

const REASONS: readonly SeriesRefusal[] = [
  'label_blocked',
  'too_many_labels',
  'label_name_too_long',
  'label_value_too_long',
  'too_many_series',
  'too_many_series_of_metric',
  'memory_pressure',
];

export class RefusedSeries {
  /** Pairs of words; (0, 0) is empty. */
  private table = new Uint32Array(CAPACITY_FIRST * 2);
  private reasons = new Uint8Array(CAPACITY_FIRST);
  private texts = new Map<number, string>();
  private count = 0;
  private epoch = 0;
  /** What was said about the series found last, or ''. */
  text = '';

  /** Forgets all where the epoch is another than before. */
  at(epoch: number): void {
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.clear();
  }

  get hasRoomForText(): boolean {
    return this.texts.size < TEXTS_MAX;
  }

  /** Why the series was refused; null where it was not. */
  find(hashes: Uint32Array, at: number): SeriesRefusal | null {
    if (this.count === 0) return null;
    const slot = this.slotOf(hashes[at] as number, hashes[at + 1] as number);
    if (((this.table[slot * 2] as number) | (this.table[slot * 2 + 1] as number)) === 0) return null;
    this.text = this.texts.get(slot) ?? '';
    return REASONS[this.reasons[slot] as number] as SeriesRefusal;
  }

  add(hashes: Uint32Array, at: number, reason: SeriesRefusal, text: string): void {
    const a = hashes[at] as number;
    const b = hashes[at + 1] as number;
    if ((a | b) === 0) return;
    if (++this.count > this.reasons.length * 0.7) this.grow();
    const slot = this.slotOf(a, b);
    this.put(slot, a, b, REASONS.indexOf(reason));
    if (text !== '' && this.texts.size < TEXTS_MAX) this.texts.set(slot, text);
  }

  private put(slot: number, a: number, b: number, reason: number): void {
    this.table[slot * 2] = a;
    this.table[slot * 2 + 1] = b;
    this.reasons[slot] = reason;
  }

  /** Where the pair stands, or would. */
  private slotOf(a: number, b: number): number {
    const mask = this.reasons.length - 1;
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      const x = this.table[slot * 2] as number;
      const y = this.table[slot * 2 + 1] as number;
      if ((x === a && y === b) || (x | y) === 0) return slot;
    }
  }

  private clear(): void {
    if (this.count === 0) return;
    this.table = new Uint32Array(CAPACITY_FIRST * 2);
    this.reasons = new Uint8Array(CAPACITY_FIRST);
    this.texts.clear();
    this.count = 0;
  }

  private grow(): void {
    const { table, reasons, texts } = this;
    if (reasons.length >= CAPACITY_MAX) {
      this.clear();
      this.count = 1;
      return;
    }
    this.table = new Uint32Array(table.length * 2);
    this.reasons = new Uint8Array(reasons.length * 2);
    this.texts = new Map();
    for (let i = 0; i < reasons.length; i++) {
      const a = table[i * 2] as number;
      const b = table[i * 2 + 1] as number;
      if ((a | b) === 0) continue;
      const slot = this.slotOf(a, b);
      this.put(slot, a, b, reasons[i] as number);
      const text = texts.get(i);
      if (text !== undefined) this.texts.set(slot, text);
    }
  }
}

/**
 * Rejections: what a decoder left out of a batch, counted by reason with one example each. The rest of the request is
 * stored; the API answers 400 with these examples, as Prometheus does for a partial write.
 */
import type { Rejection } from '../../contracts/sample-sink.ts';

export class Rejections {
  private readonly byReason = new Map<string, Rejection>();

  /** `example` is called for the first of its reason only. */
  add(reason: string, count: number, example: () => string): void {
    const known = this.byReason.get(reason);
    if (known !== undefined) known.count += count;
    else this.byReason.set(reason, { reason, count, example: example() });
  }

  get any(): boolean {
    return this.byReason.size > 0;
  }

  list(): Rejection[] {
    return [...this.byReason.values()];
  }
}

/** What an answer to a remote-write request means, and how long to wait before the next try. */

export type Verdict =
  | 'sent'
  /** The same request again, later. */
  | 'retry'
  /** The receiver does not speak 2.0. */
  | 'fall back'
  /** It will never be taken. */
  | 'refused';

export function verdictOf(status: number, v2: boolean, retryOn429: boolean): Verdict {
  if (status >= 200 && status < 300) return 'sent';
  if (status === 415 && v2) return 'fall back';
  if (status >= 500 || (status === 429 && retryOn429)) return 'retry';
  return 'refused';
}

/** Longest wait that a receiver may ask for. ms */
const RETRY_AFTER_MAX_MS = 300_000;

/** ms from the Retry-After header, seconds or a date; 0 where there is none. */
export function retryAfterMs(header: string, nowMs: number): number {
  if (header === '') return 0;
  const seconds = /^\d{1,9}$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(seconds) ? Math.min(RETRY_AFTER_MAX_MS, Math.max(0, seconds)) : 0;
}

/** Doubling waits with jitter, so that many senders do not come back together. */
export class Backoff {
  private readonly minMs: number;
  private readonly maxMs: number;
  private readonly random: () => number;
  private currentMs: number;

  /** `random` gives [0, 1). */
  constructor(minMs: number, maxMs: number, random: () => number) {
    this.minMs = Math.max(1, minMs);
    this.maxMs = Math.max(this.minMs, maxMs);
    this.random = random;
    this.currentMs = this.minMs;
  }

  /** The next wait: never below a quarter less than the step, never above the maximum, `atLeastMs` respected. */
  next(atLeastMs: number): number {
    const step = this.currentMs;
    this.currentMs = Math.min(this.maxMs, step * 2);
    const jittered = Math.min(this.maxMs, step * (0.75 + 0.25 * this.random()));
    return Math.max(jittered, atLeastMs);
  }

  reset(): void {
    this.currentMs = this.minMs;
  }
}

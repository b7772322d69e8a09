/**
 * MemoryPressure: how far memory is from its limit, and who pays for it.
 *
 * Looked at every half second on the main thread: the process' resident memory against the limit, and the fullest thread's
 * JavaScript heap against its own. From 80 % on, tenants above their fair share get no new series; from 90 % on, their
 * samples are put off too (429), for memory grows with samples as well; at 96 % everyone's are, before the system kills the
 * process. A level ends some way below where it began, so that it does not flicker.
 */
import type { AdmissionBoard, Pressure } from './board.ts';

/** Fill at which levels 1, 2 and 3 begin. */
const LEVELS = [0.8, 0.9, 0.96] as const;
const HYSTERESIS = 0.03;

export interface MemoryReading {
  /** Bytes. */
  residentBytes: number;
  /** 0 = none known. */
  limitBytes: number;
}

export class MemoryPressure {
  private readonly board: AdmissionBoard;
  /** 0 to 1 and above, of the last look. */
  fill = 0;
  /** Series above which tenants pay; 0 while nobody does. */
  share = 0;

  constructor(board: AdmissionBoard) {
    this.board = board;
  }

  /** Returns the level from now on. */
  look({ residentBytes, limitBytes }: MemoryReading): Pressure {
    const { board } = this;
    this.fill = Math.max(limitBytes > 0 ? residentBytes / limitBytes : 0, board.heapFill);
    const before = board.pressure;
    const level = LEVELS.filter((from, i) => this.fill >= (before > i ? from - HYSTERESIS : from)).length as Pressure;
    this.share = level > 0 ? board.markShares(Math.min(1, LEVELS[0] / this.fill)) : 0;
    // Shares first: whoever sees the level finds them.
    if (level !== before) board.pressure = level;
    return level;
  }
}

/**
 * The score of one part of a conformance suite: what passed, what failed by name, what was left out and why. Runners only judge;
 * printing and the exit code are in conformance.ts, so that the command and the test say the same.
 */
export interface Failure {
  /** File and case, so that it can be found in the suite. */
  name: string;
  message: string;
}

export class Score {
  passed = 0;
  readonly failures: Failure[] = [];
  /** Cases that say nothing about this program, by reason. */
  readonly leftOut = new Map<string, number>();

  /** `problem`: '' where the case is as it must be. */
  judge(name: string, problem: string): void {
    if (problem === '') this.passed++;
    else this.failures.push({ name, message: problem });
  }

  leaveOut(reason: string, cases = 1): void {
    this.leftOut.set(reason, (this.leftOut.get(reason) ?? 0) + cases);
  }

  summary(): string {
    const parts = [`${this.passed} passed`, `${this.failures.length} failed`];
    for (const [reason, cases] of this.leftOut) parts.push(`${cases} not judged (${reason})`);
    return parts.join(', ');
  }
}

/** What a runner gets: the folder of all suites, and how to clean up behind itself. */
export interface SuiteContext {
  suites: string;
  /** Called when the runner is done, in the order of registration, as node:test does. */
  after(cleanUp: () => void | Promise<void>): void;
}

export type Runner = (context: SuiteContext, score: Score) => void | Promise<void>;

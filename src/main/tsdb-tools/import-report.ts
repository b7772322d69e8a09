/** What an import did, and what it could not: counted in full, listed up to a bound. */

/** Findings listed one by one; the rest are only counted. */
const LISTED_MAX = 50;

export class ImportReport {
  series = 0;
  samples = 0;
  histograms = 0;
  exemplars = 0;
  metadata = 0;
  /** Samples from before 1970, which this program does not keep. */
  before1970 = 0;
  damaged = 0;
  readonly findings: string[] = [];
  private readonly print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.print = print;
  }

  /** Says what is wrong where, at once. */
  damage(what: string): void {
    this.damaged++;
    if (this.damaged <= LISTED_MAX) {
      this.findings.push(what);
      this.print(`  damaged: ${what}`);
    } else if (this.damaged === LISTED_MAX + 1) this.print('  damaged: more, which are only counted');
  }

  add(other: ImportReport): void {
    this.series += other.series;
    this.samples += other.samples;
    this.histograms += other.histograms;
    this.exemplars += other.exemplars;
    this.metadata += other.metadata;
    this.before1970 += other.before1970;
    this.damaged += other.damaged;
  }

  toString(): string {
    const parts = [`${this.series} series`, `${this.samples} samples`];
    if (this.histograms > 0) parts.push(`${this.histograms} histograms`);
    if (this.exemplars > 0) parts.push(`${this.exemplars} exemplars`);
    if (this.metadata > 0) parts.push(`metadata of ${this.metadata} metrics`);
    if (this.before1970 > 0) parts.push(`${this.before1970} from before 1970 left out`);
    if (this.damaged > 0) parts.push(`${this.damaged} damaged places`);
    return parts.join(', ');
  }
}

/**
 * verifyBlock: reads everything a block file has and says what is wrong, where.
 *
 * Every frame's checksum, that frames cover the file without gaps, every index page, every posting against the labels of the series, every
 * chunk against its index entry (rows, times ascending and inside of its bounds), the order of series, and the totals of the meta.
 */
import { newSampleBuffer } from '../../../contracts/sample-source.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import { getLabel, METRIC_NAME } from '../../../model/labels.ts';
import { newAggregateBuffer } from './aggregate-chunk.ts';
import { BlockCaches } from './cache.ts';
import { CorruptBlockError, SECTION, SECTION_NAMES, type Section } from './layout.ts';
import { BlockReader } from './reader.ts';
import { compareSeries } from './writer.ts';

/** No more than this many findings are listed. */
const FINDINGS_MAX = 100;

export interface BlockReport {
  path: string;
  /** Empty where the block is sound. Each names file, section and offset. */
  findings: string[];
  series: number;
  samples: number;
}

export async function verifyBlock(path: string, signal?: AbortSignal): Promise<BlockReport> {
  const report: BlockReport = { path, findings: [], series: 0, samples: 0 };
  let reader: BlockReader;
  try {
    reader = new BlockReader(path, new BlockCaches({ indexBytesMax: 16e6, dataBytesMax: 16e6 }));
  } catch (error) {
    report.findings.push(messageOf(error));
    return report;
  }
  try {
    await new Verifier(reader, report).run(signal);
  } finally {
    reader.close();
  }
  return report;
}

function messageOf(error: unknown): string {
  if (error instanceof CorruptBlockError) return error.message;
  if (error instanceof Error && 'code' in error) return error.message;
  throw error;
}

class Verifier {
  private readonly reader: BlockReader;
  private readonly report: BlockReport;
  private readonly slice = new TimeSlice();

  constructor(reader: BlockReader, report: BlockReport) {
    this.reader = reader;
    this.report = report;
  }

  async run(signal?: AbortSignal): Promise<void> {
    this.check(() => this.reader.file.checkCoverage());
    for (const section of Object.values(SECTION)) {
      for (let frame = 0; frame < this.reader.file.count(section); frame++) {
        this.check(() => this.reader.file.read(section, frame));
        await this.pause(signal);
      }
    }
    if (this.report.findings.length === 0) await this.checkPostings(signal);
    if (this.report.findings.length === 0) await this.checkSeries(signal);
  }

  private check(run: () => void): void {
    if (this.report.findings.length >= FINDINGS_MAX) return;
    try {
      run();
    } catch (error) {
      this.report.findings.push(messageOf(error));
    }
  }

  private async pause(signal?: AbortSignal): Promise<void> {
    if (this.slice.due()) await this.slice.pause(signal);
  }

  private bad(section: Section, what: string): CorruptBlockError {
    const at = this.reader.file.offset(section, 0);
    return new CorruptBlockError(this.reader.path, SECTION_NAMES[section] as string, at, what);
  }

  /** Values ascend within a name; the series of a pair have it: as many as labels say, each once. */
  private async checkPostings(signal?: AbortSignal): Promise<void> {
    const { index } = this.reader;
    const counts = new Uint32Array(index.pairCount);
    for (let page = 0; page * 256 < index.seriesCount; page++) {
      this.check(() => {
        for (const pair of index.labelPage(page).pairs) counts[pair] = (counts[pair] as number) + 1;
      });
      await this.pause(signal);
    }
    for (const entry of index.names) {
      for (let pair = entry.from; pair < entry.to; pair++) {
        this.check(() => {
          if (pair > entry.from && index.lowerPair(entry, index.value(pair)) !== pair) {
            throw this.bad(SECTION.pairs, `value ${pair - entry.from} of ${entry.name} is out of order`);
          }
          const listed = index.postings(pair).length;
          if (listed !== counts[pair]) {
            throw this.bad(SECTION.postings, `${listed} series listed for pair ${pair}, ${counts[pair]} have it`);
          }
        });
        await this.pause(signal);
      }
    }
  }

  private async checkSeries(signal?: AbortSignal): Promise<void> {
    const { reader, report } = this;
    const buffer = newSampleBuffer();
    const rows = newAggregateBuffer();
    const hash = new Uint32Array(4);
    const lastHash = new Uint32Array(4);
    let lastName = '';
    let floats = 0;
    let histograms = 0;
    for (let series = 0; series < reader.seriesCount; series++) {
      this.check(() => {
        const name = getLabel(reader.index.labels(series), METRIC_NAME);
        reader.index.hash(series, hash, 0);
        if (series > 0 && compareSeries(lastName, lastHash, name, hash) >= 0) {
          throw this.bad(SECTION.hashes, `series ${series} (${name}) is out of order`);
        }
        lastName = name;
        lastHash.set(hash);
        buffer.length = 0;
        buffer.histogramLength = 0;
        rows.length = 0;
        // Beyond the block's bounds, so that samples outside of them are noticed.
        const far = Number.MAX_SAFE_INTEGER;
        if (reader.meta.resolutionMs > 0) reader.readAggregates(series, -far, far, rows);
        reader.readSeries(series, -far, far, 'last', buffer);
        this.checkAscending(series, buffer.timestamps, buffer.length);
        this.checkAscending(series, buffer.histogramTimestamps, buffer.histogramLength);
        floats += buffer.length;
        histograms += buffer.histogramLength;
      });
      await this.pause(signal);
    }
    report.series = reader.seriesCount;
    report.samples = floats + histograms;
    const { meta } = reader;
    this.check(() => {
      if (meta.series !== reader.seriesCount || meta.floatSamples !== floats || meta.histogramSamples !== histograms) {
        throw this.bad(
          SECTION.meta,
          `says ${meta.series} series, ${meta.floatSamples} floats, ${meta.histogramSamples} histograms; there are ` +
            `${reader.seriesCount}, ${floats}, ${histograms}`,
        );
      }
    });
  }

  private checkAscending(series: number, times: ArrayLike<number>, n: number): void {
    const { minT, maxT } = this.reader.meta;
    for (let i = 0; i < n; i++) {
      const t = times[i] as number;
      if (t < minT || t > maxT)
        throw this.bad(SECTION.data, `series ${series}: time ${t} is outside of ${minT}..${maxT}`);
      if (i > 0 && t <= (times[i - 1] as number)) {
        throw this.bad(SECTION.data, `series ${series}: time ${t} does not follow ${times[i - 1]}`);
      }
    }
  }
}

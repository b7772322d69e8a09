/**
 * Remote write 2.0 (io.prometheus.write.v2.Request) -> SampleBatch: a symbol table, then series that refer to it, with
 * start timestamps and per-series metadata.
 *
 * Plain JavaScript over the decompressed message (the kernel only decompresses). Symbols may stand anywhere in the
 * message as far as protobuf goes, so the table is read in a first pass. Errors and rejections are as in decode.ts; the
 * batch is valid until the next 2.0 request is decoded in this thread.
 */
import { sipHash128, type TenantSeed } from '../../lib/identity-hash.ts';
import type { IngestKernel } from '../../lib/kernel/kernel.ts';
import { ProtobufReader } from '../../lib/protobuf.ts';
import { getLabel, type Labels, METRIC_NAME } from '../../model/labels.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import {
  asDecodeErrors,
  type DecodedWrite,
  exemplarProblem,
  isKeepableTime,
  labelProblem,
  loadBody,
  METRIC_TYPES,
} from './decode.ts';
import { readHistogram } from './histogram.ts';
import { Rejections } from './rejections.ts';
import { Symbols } from './symbols.ts';

const MAX_LABEL_REFS = 4096;

export function decodeWriteRequestV2(
  body: Uint8Array,
  encoding: string,
  seed: TenantSeed,
  kernel: IngestKernel,
): DecodedWrite {
  return asDecodeErrors(
    kernel,
    () => {
      loadBody(body, encoding, kernel);
      return reader.read(kernel.message(), seed);
    },
    'message',
  );
}

class RequestReader {
  private readonly symbols = new Symbols();
  private readonly labelSet = new LabelSet();
  private readonly builder = new BatchBuilder({ hash: sipHash128 }, new Uint32Array(4));
  private rejections = new Rejections();
  private drops = new Rejections();
  private r = new ProtobufReader(new Uint8Array(0));
  private readonly refs: number[] = [];
  private metadataSeen = new Set<string>();

  read(message: Uint8Array, seed: TenantSeed): DecodedWrite {
    this.r = new ProtobufReader(message);
    this.rejections = new Rejections();
    this.drops = new Rejections();
    this.metadataSeen = new Set();
    this.symbols.reset(message);
    this.builder.reset(seed);
    this.readSymbols();
    this.r.reset(0, message.length);
    const r = this.r;
    for (let index = 0; r.more(); ) {
      if (r.field() !== 5) r.skip();
      else this.readSeries(index++);
    }
    return { batch: this.builder.finish(), rejected: this.rejections.list(), dropped: this.drops.list() };
  }

  private readSymbols(): void {
    const r = this.r;
    while (r.more()) {
      if (r.field() !== 4) {
        r.skip();
        continue;
      }
      const start = r.span();
      if (!this.symbols.add(start, r.at)) throw r.error('there are too many symbols', start);
    }
    if (this.symbols.count > 0 && !this.symbols.isEmpty(0))
      throw r.error('the first symbol is not the empty string', 0);
  }

  /** Two passes over the message: labels first, since fields may come in any order. */
  private readSeries(index: number): void {
    const r = this.r;
    const outer = r.enter();
    const start = r.at;
    const end = r.end;
    const problem = this.readLabels();
    if (problem !== '') {
      this.rejections.add('invalid_labels', 1, () => `series ${index} (byte ${start} of the message): ${problem}`);
      r.leave(outer);
      return;
    }
    this.builder.addSeriesSet(this.labelSet);
    r.reset(start, end);
    while (r.more()) {
      switch (r.field()) {
        case 2:
          this.readSample(index);
          break;
        case 3:
          this.readHistogram(index);
          break;
        case 4:
          this.readExemplar(index);
          break;
        case 5:
          this.readMetadata();
          break;
        default:
          r.skip();
      }
    }
    r.leave(outer);
  }

  private readLabels(): string {
    const r = this.r;
    this.refs.length = 0;
    while (r.more()) {
      if (r.field() === 1) r.unsignedsInto(this.refs, MAX_LABEL_REFS);
      else r.skip();
    }
    this.labelSet.clear();
    return this.symbols.addLabels(this.refs, this.labelSet) || labelProblem(this.labelSet);
  }

  private readSample(index: number): void {
    const r = this.r;
    let valueAt = -1;
    let time = 0;
    let start = 0;
    const outer = r.enter();
    while (r.more()) {
      switch (r.field()) {
        case 1:
          valueAt = r.fixed64();
          break;
        case 2:
          time = r.signed();
          break;
        case 3:
          start = r.signed();
          break;
        default:
          r.skip();
      }
    }
    r.leave(outer);
    if (!isKeepableTime(time) || !isKeepableTime(start)) {
      this.rejections.add(
        'invalid_timestamp',
        1,
        () => `series ${index}: sample at ${time} ms, started at ${start} ms`,
      );
    } else if (valueAt < 0) this.builder.addSample(time, 0, start);
    else this.builder.addSampleBits(time, r.u32At(valueAt), r.u32At(valueAt + 4), start);
  }

  private readHistogram(index: number): void {
    const r = this.r;
    const outer = r.enter();
    const { timestampMs, startTimestampMs, histogram, problem } = readHistogram(r);
    r.leave(outer);
    if (problem !== '') {
      this.rejections.add('invalid_histogram', 1, () => `series ${index}: ${problem}`);
    } else if (isKeepableTime(timestampMs) && isKeepableTime(startTimestampMs)) {
      this.builder.addHistogram(timestampMs, histogram, startTimestampMs);
    } else this.rejections.add('invalid_timestamp', 1, () => `series ${index}: histogram at ${timestampMs} ms`);
  }

  private readExemplar(index: number): void {
    const r = this.r;
    const refs: number[] = [];
    let value = 0;
    let time = 0;
    const outer = r.enter();
    while (r.more()) {
      switch (r.field()) {
        case 1:
          r.unsignedsInto(refs, MAX_LABEL_REFS);
          break;
        case 2:
          value = r.double();
          break;
        case 3:
          time = r.signed();
          break;
        default:
          r.skip();
      }
    }
    r.leave(outer);
    const set = this.labelSet;
    set.clear();
    const problem = this.symbols.addLabels(refs, set) || exemplarProblem(set, time);
    if (problem !== '') this.drops.add('invalid_exemplar', 1, () => `series ${index}: exemplar with ${problem}`);
    else this.builder.addExemplar(time, value, set.toFlat());
  }

  /** Metadata belongs to the metric; the first series of each that carries any counts. */
  private readMetadata(): void {
    const r = this.r;
    let type = 0;
    let help = 0;
    let unit = 0;
    const outer = r.enter();
    while (r.more()) {
      switch (r.field()) {
        case 1:
          type = r.unsigned();
          break;
        case 3:
          help = r.unsigned();
          break;
        case 4:
          unit = r.unsigned();
          break;
        default:
          r.skip();
      }
    }
    r.leave(outer);
    if (type === 0 && help === 0 && unit === 0) return;
    const labels: Labels = this.builder.lastLabels();
    const metric = getLabel(labels, METRIC_NAME);
    if (this.metadataSeen.has(metric)) return;
    this.metadataSeen.add(metric);
    this.builder.addMetadata({
      metric,
      type: METRIC_TYPES[type] ?? 'unknown',
      help: this.symbols.text(help),
      unit: this.symbols.text(unit),
    });
  }
}

const reader = new RequestReader();

/**
 * Length-delimited MetricFamily messages (io.prometheus.client), which Go's push client sends -> families, as text would have them.
 *
 * Native histograms are kept as far as they carry classic buckets; one that carries none is refused: the held form is text, which has no
 * place for it.
 */
import { formatFloatG } from '../../lib/go-float.ts';
import { ProtobufError, ProtobufReader } from '../../lib/protobuf.ts';
import { type PushFamily, sampleOf } from './family.ts';
import { PushContentError, PushFormatError } from './read-text.ts';

const TYPES = ['counter', 'gauge', 'summary', 'untyped', 'histogram', 'gaugehistogram'] as const;
const SAMPLES_MAX = 1_000_000;

export function readProtobufPush(bytes: Uint8Array): PushFamily[] {
  const families = new Map<string, PushFamily>();
  const reader = new ProtobufReader(bytes);
  try {
    while (reader.more()) {
      // The delimiter is a bare varint: what a field of wire type BYTES has behind its tag.
      reader.wire = 2;
      const outer = reader.enter();
      const family = new FamilyReader(reader).read();
      reader.leave(outer);
      if (family.samples.length === 0) continue;
      const known = families.get(family.name);
      if (known === undefined) families.set(family.name, family);
      else if (known.type === family.type) known.samples.push(...family.samples);
      else throw new PushFormatError(`metric family ${JSON.stringify(family.name)} comes twice, with different types`);
    }
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new PushFormatError(`the body is no sequence of metric families: ${error.message} (byte ${error.offset})`);
  }
  return [...families.values()];
}

class FamilyReader {
  private readonly r: ProtobufReader;
  private readonly family: PushFamily = { name: '', type: 'counter', help: '', samples: [] };

  constructor(reader: ProtobufReader) {
    this.r = reader;
  }

  read(): PushFamily {
    const { r, family } = this;
    const metrics: [number, number][] = [];
    while (r.more()) {
      switch (r.field()) {
        case 1:
          family.name = text(r);
          break;
        case 2:
          family.help = text(r);
          break;
        case 3:
          family.type = TYPES[r.unsigned()] ?? 'untyped';
          break;
        case 4:
          metrics.push([r.span(), r.at]);
          break;
        default:
          r.skip();
      }
    }
    if (family.name === '') throw new PushFormatError('a metric family has no name');
    // Only now is the type known, whatever the order of the fields.
    const end = { at: r.at, end: r.end };
    for (const [from, to] of metrics) {
      r.reset(from, to);
      this.readMetric();
      if (family.samples.length > SAMPLES_MAX) throw new PushFormatError(`more than ${SAMPLES_MAX} samples`);
    }
    r.reset(end.at, end.end);
    return family;
  }

  private readMetric(): void {
    const { r, family } = this;
    const labels = new Map<string, string>();
    const bodies: [number, number, number][] = [];
    while (r.more()) {
      const field = r.field();
      if (field === 1) this.readLabel(labels);
      else if (field === 6) throw new PushContentError('pushed metrics must not have timestamps');
      else if ([2, 3, 4, 5, 7].includes(field)) bodies.push([field, r.span(), r.at]);
      else r.skip();
    }
    for (const [field, from, to] of bodies) {
      r.reset(from, to);
      if (field === 7) this.readHistogram(labels);
      else if (field === 4) this.readSummary(labels);
      else family.samples.push(sampleOf(family.name, this.readValue(), labels));
    }
  }

  private readLabel(labels: Map<string, string>): void {
    const { r } = this;
    let name = '';
    let value = '';
    const outer = r.enter();
    while (r.more()) {
      const field = r.field();
      if (field === 1) name = text(r);
      else if (field === 2) value = text(r);
      else r.skip();
    }
    r.leave(outer);
    if (name === '') throw new PushFormatError(`a label of ${this.family.name} has no name`);
    if (labels.has(name))
      throw new PushFormatError(`label ${JSON.stringify(name)} of ${this.family.name} is given twice`);
    labels.set(name, value);
  }

  /** Of a gauge, counter or untyped. */
  private readValue(): number {
    let value = 0;
    while (this.r.more()) {
      if (this.r.field() === 1) value = this.r.double();
      else this.r.skip();
    }
    return value;
  }

  private readSummary(labels: ReadonlyMap<string, string>): void {
    const { r, family } = this;
    let count = 0;
    let sum = 0;
    while (r.more()) {
      switch (r.field()) {
        case 1:
          count = r.unsigned();
          break;
        case 2:
          sum = r.double();
          break;
        case 3: {
          const [quantile, value] = this.pair(1, 2, false);
          family.samples.push(sampleOf(family.name, value, new Map(labels).set('quantile', formatFloatG(quantile))));
          break;
        }
        default:
          r.skip();
      }
    }
    family.samples.push(sampleOf(`${family.name}_sum`, sum, labels), sampleOf(`${family.name}_count`, count, labels));
  }

  private readHistogram(labels: ReadonlyMap<string, string>): void {
    const { r, family } = this;
    let count = 0;
    let sum = 0;
    let buckets = 0;
    let native = false;
    let hasInf = false;
    while (r.more()) {
      const field = r.field();
      if (field === 1) count = r.unsigned();
      else if (field === 4) count = r.double();
      else if (field === 2) sum = r.double();
      else if (field === 3) {
        const [bound, cumulative] = this.pair(2, 1, true);
        hasInf ||= bound === Number.POSITIVE_INFINITY;
        const le = new Map(labels).set('le', formatFloatG(bound));
        family.samples.push(sampleOf(`${family.name}_bucket`, cumulative, le));
        buckets++;
      } else {
        if (field >= 5) native = true;
        r.skip();
      }
    }
    if (native && buckets === 0) {
      throw new PushContentError(
        `${family.name} is a native histogram without classic buckets, which a group cannot hold: give it classic buckets as well`,
      );
    }
    if (!hasInf) family.samples.push(sampleOf(`${family.name}_bucket`, count, new Map(labels).set('le', '+Inf')));
    family.samples.push(sampleOf(`${family.name}_sum`, sum, labels), sampleOf(`${family.name}_count`, count, labels));
  }

  /** Two numbers of a submessage: fields `a` and `b` (a varint, or a double in field 4, where `counted`). */
  private pair(a: number, b: number, counted: boolean): [number, number] {
    const { r } = this;
    let first = 0;
    let second = 0;
    const outer = r.enter();
    while (r.more()) {
      const field = r.field();
      if (field === a) first = r.double();
      else if (field === b) second = counted ? r.unsigned() : r.double();
      else if (counted && field === 4) second = r.double();
      else r.skip();
    }
    r.leave(outer);
    return [first, second];
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function text(r: ProtobufReader): string {
  const start = r.span();
  try {
    return utf8.decode(r.bytes.subarray(start, r.at));
  } catch {
    throw new PushFormatError('a text is not UTF-8');
  }
}

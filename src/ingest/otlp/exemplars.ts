/**
 * Exemplars: trace_id and span_id in hex, then the filtered attributes, which go where all of it together would be more than
 * OpenMetrics lets an exemplar have (128 characters).
 */
import type { ProtobufReader } from '../../lib/protobuf.ts';
import { LabelSet } from '../label-set.ts';
import { exemplarProblem } from '../remote-write/decode.ts';
import { AttributeError, readKeyValue } from './attributes.ts';
import { readMs } from './point.ts';

const MAX_CHARS = 128;
const MAX_ATTRIBUTES = 64;

export interface DecodedExemplar {
  timestampMs: number;
  value: number;
  /** Flat, sorted. */
  labels: string[];
}

const set = new LabelSet();

/** Reads the message that the reader stands in; says as text why it cannot be kept. `pointMs` is its time where it has none. */
export function readExemplar(r: ProtobufReader, pointMs: number): DecodedExemplar | string {
  let timestampMs = 0;
  let value = 0;
  const ids: string[] = [];
  const attributes: string[] = [];
  try {
    while (r.more()) {
      switch (r.field()) {
        case 2:
          timestampMs = readMs(r);
          break;
        case 3:
          value = r.double();
          break;
        case 4:
          ids.push('span_id', readHex(r));
          break;
        case 5:
          ids.push('trace_id', readHex(r));
          break;
        case 6: {
          const at = r.fixed64();
          value = (r.u32At(at + 4) | 0) * 4294967296 + r.u32At(at);
          break;
        }
        case 7:
          if (attributes.length < 2 * MAX_ATTRIBUTES) readKeyValue(r, attributes);
          else r.skip();
          break;
        default:
          r.skip();
      }
    }
  } catch (error) {
    if (!(error instanceof AttributeError)) throw error;
    return error.message;
  }
  const all = [...ids, ...attributes];
  const labels = all.reduce((n, text) => n + [...text].length, 0) > MAX_CHARS ? ids : all;
  set.setFlat(labels);
  if (timestampMs === 0) timestampMs = pointMs;
  const problem = exemplarProblem(set, timestampMs);
  return problem === '' ? { timestampMs, value, labels: set.toFlat() } : problem;
}

/** '' for an id of zeros, which means none; the label is then left out. */
function readHex(r: ProtobufReader): string {
  const start = r.span();
  const hex = Buffer.from(r.bytes.buffer, r.bytes.byteOffset + start, r.at - start).toString('hex');
  return /^0*$/.test(hex) ? '' : hex;
}

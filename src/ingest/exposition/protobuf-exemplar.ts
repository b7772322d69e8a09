/** Exemplars, label pairs and timestamps of io.prometheus.client messages. */
import { isUtf8 } from '../../lib/kernel/js-backend.ts';
import type { ProtobufReader } from '../../lib/protobuf.ts';
import { utf8 } from './float.ts';

export interface ClientExemplar {
  /** Flat [name, value, ...]. */
  labels: string[];
  value: number;
  /** 0 = none. */
  timestampMs: number;
}

const LABELS_MAX = 1024;

/** A length-delimited field's text, which must be UTF-8. */
export function readText(r: ProtobufReader): string {
  const start = r.span();
  if (!isUtf8(r.bytes, start, r.at)) throw r.error('a text is not valid UTF-8', start);
  return utf8(r.bytes, start, r.at);
}

/** One google.protobuf.Timestamp as ms; 0 where it cannot be one. */
export function readTimestamp(r: ProtobufReader): number {
  const outer = r.enter();
  let seconds = 0;
  let nanos = 0;
  while (r.more()) {
    const field = r.field();
    if (field === 1) seconds = r.signed();
    else if (field === 2) nanos = r.signed();
    else r.skip();
  }
  r.leave(outer);
  const ms = seconds * 1000 + Math.floor(nanos / 1e6);
  return ms > 0 && ms <= Number.MAX_SAFE_INTEGER ? ms : 0;
}

/** Appends name and value of one LabelPair. */
export function readLabelPair(r: ProtobufReader, into: string[]): void {
  if (into.length >= 2 * LABELS_MAX) throw r.error(`more than ${LABELS_MAX} labels`);
  const outer = r.enter();
  let name = '';
  let value = '';
  while (r.more()) {
    const field = r.field();
    if (field === 1) name = readText(r);
    else if (field === 2) value = readText(r);
    else r.skip();
  }
  r.leave(outer);
  into.push(name, value);
}

export function readExemplar(r: ProtobufReader): ClientExemplar {
  const outer = r.enter();
  const out: ClientExemplar = { labels: [], value: 0, timestampMs: 0 };
  while (r.more()) {
    switch (r.field()) {
      case 1:
        readLabelPair(r, out.labels);
        break;
      case 2:
        out.value = r.double();
        break;
      case 3:
        out.timestampMs = readTimestamp(r);
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  return out;
}

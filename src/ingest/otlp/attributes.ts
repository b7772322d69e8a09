/**
 * Attributes: KeyValue messages as texts. A value that is no string is written as the OpenTelemetry collector writes it: numbers and
 * booleans as JSON would, bytes in base64, lists and maps as JSON with sorted keys.
 */
import { isUtf8 } from '../../lib/kernel/js-backend.ts';
import type { ProtobufReader } from '../../lib/protobuf.ts';

/** Nesting of lists and maps. */
const MAX_DEPTH = 32;
/** Elements of all lists and maps in one value. */
const MAX_ELEMENTS = 4096;

const decoder = new TextDecoder();

/** Text of a length-delimited field; throws AttributeError where it is not UTF-8. */
export function readText(r: ProtobufReader): string {
  const start = r.span();
  if (!isUtf8(r.bytes, start, r.at)) throw new AttributeError('text that is not valid UTF-8');
  return decoder.decode(r.bytes.subarray(start, r.at));
}

/** Well-formed protobuf that cannot be a label: the point is refused, not the request. */
export class AttributeError extends Error {
  override name = 'AttributeError';
}

/** Reads the KeyValue of the field that the reader stands at; pushes key and value. */
export function readKeyValue(r: ProtobufReader, into: string[]): void {
  let key = '';
  let value = '';
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        key = readText(r);
        break;
      case 2:
        value = asText(readAny(r, { left: MAX_ELEMENTS }, 0));
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  into.push(key, value);
}

type Any = string | boolean | number | bigint | Uint8Array | null | Any[] | { map: [string, Any][] };

interface Budget {
  left: number;
}

/** Reads the AnyValue of the field that the reader stands at. */
function readAny(r: ProtobufReader, budget: Budget, depth: number): Any {
  if (depth > MAX_DEPTH) throw new AttributeError(`a value nested deeper than ${MAX_DEPTH}`);
  if (--budget.left < 0) throw new AttributeError(`a value of more than ${MAX_ELEMENTS} elements`);
  let value: Any = null;
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        value = readText(r);
        break;
      case 2:
        value = r.unsigned() !== 0;
        break;
      case 3:
        value = readInt(r);
        break;
      case 4:
        value = r.double();
        break;
      case 5:
        value = readList(r, budget, depth);
        break;
      case 6:
        value = readMap(r, budget, depth);
        break;
      case 7: {
        const start = r.span();
        value = r.bytes.subarray(start, r.at);
        break;
      }
      default:
        r.skip();
    }
  }
  r.leave(outer);
  return value;
}

/** An int64 exactly. */
function readInt(r: ProtobufReader): number | bigint {
  const start = r.at;
  const n = r.signed();
  if (Number.isSafeInteger(n)) return n;
  let big = 0n;
  for (let p = start, shift = 0n; p < r.at; p++, shift += 7n) big |= BigInt((r.bytes[p] as number) & 0x7f) << shift;
  return BigInt.asIntN(64, big);
}

function readList(r: ProtobufReader, budget: Budget, depth: number): Any[] {
  const list: Any[] = [];
  const outer = r.enter();
  while (r.more()) {
    if (r.field() === 1) list.push(readAny(r, budget, depth + 1));
    else r.skip();
  }
  r.leave(outer);
  return list;
}

function readMap(r: ProtobufReader, budget: Budget, depth: number): { map: [string, Any][] } {
  const map: [string, Any][] = [];
  const outer = r.enter();
  while (r.more()) {
    if (r.field() !== 1) {
      r.skip();
      continue;
    }
    let key = '';
    let value: Any = null;
    const inner = r.enter();
    while (r.more()) {
      const field = r.field();
      if (field === 1) key = readText(r);
      else if (field === 2) value = readAny(r, budget, depth + 1);
      else r.skip();
    }
    r.leave(inner);
    map.push([key, value]);
  }
  r.leave(outer);
  return { map };
}

function asText(value: Any): string {
  if (typeof value === 'string') return value;
  if (value === null) return '';
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return base64(value);
  // Go's JSON writes these as escapes.
  return asJson(value).replace(
    /[<>&\u2028\u2029]/g,
    c => `\\u${(c.codePointAt(0) as number).toString(16).padStart(4, '0')}`,
  );
}

function asJson(value: Any): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? numberText(value) : JSON.stringify(numberText(value));
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return JSON.stringify(base64(value));
  if (Array.isArray(value)) return `[${value.map(asJson).join(',')}]`;
  const entries = [...new Map(value.map)].sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${asJson(v)}`).join(',')}}`;
}

function numberText(n: number): string {
  if (Number.isNaN(n)) return 'NaN';
  if (!Number.isFinite(n)) return n > 0 ? '+Inf' : '-Inf';
  return Object.is(n, -0) ? '-0' : String(n);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** All KeyValues of field `field` between the reader's place and its end, flat. */
export function readAttributes(r: ProtobufReader, field: number, limit: number): string[] {
  const flat: string[] = [];
  while (r.more()) {
    if (r.field() !== field) {
      r.skip();
      continue;
    }
    if (flat.length >= 2 * limit) throw new AttributeError(`more than ${limit} attributes`);
    readKeyValue(r, flat);
  }
  return flat;
}

/**
 * A push's body -> the families that will be held, in JSON: what a worker does with it. Decompressed within bounds, parsed, the group's
 * labels put over those that were pushed, doubled series refused.
 *
 * The answer's body is a `NormalisedPush` in any case; its `error` is for the client. Whether it fits the other groups only their
 * keeper knows (gateway.ts).
 */
import zlib from 'node:zlib';
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import { parseFloatBytes } from '../exposition/float.ts';
import { openMetricsFloat } from '../exposition/to-batch.ts';
import { type PushFamily, sampleOf, seriesText } from './family.ts';
import { readProtobufPush } from './read-protobuf.ts';
import { PushContentError, PushFormatError, readTextPush } from './read-text.ts';

export interface NormalisedPush {
  families: PushFamily[];
  /** '' or why the push is refused. */
  error: string;
  /** The refusal counts as a failed push of the group. */
  contentError: boolean;
}

/** Of one push, unpacked. A group's document in the state store must stay below 8 MiB. */
export const PUSH_BYTES_MAX = 4 << 20;
const FLOAT_LABELS: Readonly<Record<string, string>> = { histogram: 'le', summary: 'quantile' };
const scratch = new Float64Array(1);
const JSON_BYTES_MAX = 7 << 20;
/** Set by the keeper of groups; what a client pushes under these names is left out. */
export const OWN_METRICS: ReadonlySet<string> = new Set(['push_time_seconds', 'push_failure_time_seconds']);

/** `request.params` holds the group's labels as `labels=<JSON [[name, value], ...]>`. */
export function normalisePush(request: IngestRequest, body: Uint8Array): IngestResponse {
  const result: NormalisedPush = { families: [], error: '', contentError: false };
  try {
    const group = JSON.parse(new URLSearchParams(request.params).get('labels') ?? '[]') as [string, string][];
    const bytes = unpack(body, request.contentEncoding);
    const families = isProtobuf(request.contentType) ? readProtobufPush(bytes) : readTextPush(bytes);
    result.families = families.filter(family => !OWN_METRICS.has(family.name)).map(family => labelled(family, group));
    refuseDoubles(result.families);
  } catch (error) {
    const e = error as Error;
    if (!(e instanceof PushFormatError) && !['ExpositionError', 'TextError'].includes(e.name)) throw error;
    result.families = [];
    result.error = e.name === 'ExpositionError' ? `text format parsing error in ${e.message}` : e.message;
    result.contentError = e instanceof PushContentError;
  }
  const json = JSON.stringify(result);
  if (json.length > JSON_BYTES_MAX) {
    const error = 'the push is too large for a group: spread it over several groups';
    return answer(413, JSON.stringify({ families: [], error, contentError: false }));
  }
  return answer(result.error === '' ? 200 : 400, json);
}

function answer(status: number, body: string): IngestResponse {
  return { status, headers: { 'content-type': 'application/json' }, body };
}

function isProtobuf(contentType: string): boolean {
  return /^application\/vnd\.google\.protobuf\b/i.test(contentType) && /encoding="?delimited/i.test(contentType);
}

/** The path's labels win; where neither the path nor the client says so, there is no instance. */
function labelled(family: PushFamily, group: readonly [string, string][]): PushFamily {
  const samples = family.samples.map(sample => {
    const labels = new Map<string, string>();
    for (let i = 2; i < sample.length; i += 2) labels.set(sample[i] as string, sample[i + 1] as string);
    const number = FLOAT_LABELS[family.type];
    const text = number === undefined ? undefined : labels.get(number);
    // As they are stored (`1.0`): a staleness marker must find the same series.
    if (number !== undefined && text !== undefined) labels.set(number, floatText(text));
    for (const [name, value] of group) labels.set(name, value);
    const out = sampleOf(sample[1] as string, 0, labels);
    out[0] = sample[0] as string;
    return out;
  });
  return { ...family, samples };
}

function floatText(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return parseFloatBytes(bytes, 0, bytes.length, scratch) ? openMetricsFloat(scratch[0] as number) : text;
}

function refuseDoubles(families: readonly PushFamily[]): void {
  const seen = new Set<string>();
  for (const family of families) {
    for (const sample of family.samples) {
      const text = seriesText(sample);
      if (seen.has(text)) {
        throw new PushContentError(
          `pushed metrics are invalid or inconsistent with existing metrics: collected metric ${text} was collected before with the same name and label values`,
        );
      }
      seen.add(text);
    }
  }
}

function unpack(body: Uint8Array, encoding: string): Uint8Array {
  try {
    const options = { maxOutputLength: PUSH_BYTES_MAX };
    if (encoding === '' || encoding === 'identity') {
      if (body.length > PUSH_BYTES_MAX) throw new PushFormatError(tooLarge());
      return body;
    }
    if (encoding === 'gzip') return zlib.gunzipSync(body, options);
    if (encoding === 'deflate') return zlib.inflateSync(body, options);
    if (encoding === 'zstd') return zlib.zstdDecompressSync(body, options);
  } catch (error) {
    if (error instanceof PushFormatError) throw error;
    const large = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new PushFormatError(large ? tooLarge() : `the body is not ${encoding}: ${(error as Error).message}`);
  }
  throw new PushFormatError(`Content-Encoding ${JSON.stringify(encoding)} is not supported; send gzip, or none`);
}

function tooLarge(): string {
  return `the push is larger than ${PUSH_BYTES_MAX} bytes: spread it over several groups`;
}

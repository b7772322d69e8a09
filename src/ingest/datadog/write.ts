/**
 * Datadog's series: JSON of API v1 and v2, and v2's protobuf, as agents and client libraries submit them.
 *
 * Each point is stored as it was sent, under its own name: a count stays the count of its interval, a rate stays per second. Labels
 * are the host, the device, v2's resources by type, `source_type_name`, and the tags (`key:value`; a tag without a value gets
 * `no_label_value`). A tag called host does not take the host's place: it becomes `exported_host`.
 *
 * A series that cannot be kept is named in the answer (400); the rest is stored. The answer of success is what agents wait for (202).
 */
import zlib from 'node:zlib';
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { dotted } from '../graphite/line.ts';
import { LabelSet } from '../label-set.ts';
import { Rejections } from '../remote-write/rejections.ts';
import { extraLabels, isCallersMistake, type StreamImportDeps, store, type Totals } from '../stream-import.ts';
import { DatadogFormatError, type DatadogSeries, readJsonV1, readJsonV2, readProtobufV2 } from './payload.ts';

/** Of one payload, unpacked. The agent's own bound is 5 MiB for v2 and 60 MiB for v1. */
const UNPACKED_BYTES_MAX = 64 << 20;
const BATCH_SAMPLES = 10_000;

export async function writeDatadog(
  deps: StreamImportDeps,
  request: IngestRequest,
  body: Uint8Array,
): Promise<IngestResponse> {
  const rejections = new Rejections();
  const totals: Totals = { samples: 0, histograms: 0, exemplars: 0, rejected: [] };
  const v2 = request.protocol === 'datadog-v2';
  try {
    const finish = extraLabels(new URLSearchParams(request.params).getAll('extra_label'));
    const bytes = unpack(body, request.contentEncoding);
    const builder = new BatchBuilder(deps.hasher, deps.hasher.tenantSeed(request.tenant));
    builder.reset();
    const labels = new LabelSet();
    const nowMs = Math.round(deps.now());
    let index = 0;
    for (const series of seriesOf(bytes, v2, /protobuf/.test(request.contentType))) {
      addSeries(builder, labels, series, {
        index: index++,
        nowMs,
        dots: request.push?.dots ?? 'keep',
        finish,
        rejections,
      });
      if (builder.sampleCount < BATCH_SAMPLES) continue;
      await store(deps.sink, request.tenant, builder.finish(), totals);
      builder.reset();
    }
    if (builder.seriesCount > 0) await store(deps.sink, request.tenant, builder.finish(), totals);
  } catch (error) {
    if (error instanceof TooLargeError) return refusal(413, [error.message]);
    if (!(error instanceof DatadogFormatError) && !isCallersMistake(error as Error)) throw error;
    return refusal(400, [(error as Error).message]);
  }
  if (rejections.any) deps.onRejected?.(request.tenant, rejections.list());
  const rejected = [...rejections.list(), ...totals.rejected];
  if (rejected.length > 0) {
    const errors = rejected.map(r => `${r.count} refused, ${r.reason}: ${r.example}`);
    return { ...refusal(400, [...errors, `stored: ${totals.samples} samples`]), rejected, stored: totals.samples };
  }
  return {
    status: 202,
    headers: { 'content-type': 'application/json' },
    body: v2 ? '{"errors":[]}' : '{"status":"ok"}',
    stored: totals.samples,
  };
}

function seriesOf(bytes: Uint8Array, v2: boolean, protobuf: boolean): Iterable<DatadogSeries> {
  if (!v2) return readJsonV1(bytes);
  return protobuf ? readProtobufV2(bytes) : readJsonV2(bytes);
}

interface AddOptions {
  index: number;
  nowMs: number;
  dots: 'keep' | 'underscore';
  finish: ((labels: LabelSet) => boolean) | null;
  rejections: Rejections;
}

function addSeries(builder: BatchBuilder, labels: LabelSet, series: DatadogSeries, options: AddOptions): void {
  const { rejections } = options;
  const where = (): string => `series ${options.index} (${JSON.stringify(series.metric.slice(0, 200))})`;
  if (series.problem !== '') {
    rejections.add('bad_series', 1, () => `${where()}: ${series.problem}`);
    return;
  }
  putLabels(labels, series, options.dots);
  if (options.finish !== null && !options.finish(labels)) return;
  if (labels.tooLarge) {
    rejections.add('invalid_labels', 1, () => `${where()} has too many or too long tags`);
    return;
  }
  // Of a key given twice the first counts, which `putLabels` saw to.
  labels.sort();
  builder.addSeriesSet(labels);
  for (let i = 0; i < series.values.length; i++) {
    const seconds = series.times[i] as number;
    const ms = seconds === 0 ? options.nowMs : Math.round(seconds * 1000);
    if (!(ms >= 0 && Number.isSafeInteger(ms))) {
      rejections.add('invalid_timestamp', 1, () => `${where()}: ${seconds} is no time in seconds since 1970`);
      continue;
    }
    builder.addSample(ms, series.values[i] as number);
  }
}

function putLabels(labels: LabelSet, series: DatadogSeries, dots: 'keep' | 'underscore'): void {
  const map = new Map<string, string>();
  const put = (name: string, value: string): void => {
    if (name !== '' && value !== '' && !map.has(name)) map.set(name, value);
  };
  put('__name__', dotted(series.metric, dots));
  put('host', series.host);
  put('device', series.device);
  put('source_type_name', series.sourceTypeName);
  for (let i = 0; i < series.resources.length; i += 2) {
    put(series.resources[i] as string, series.resources[i + 1] as string);
  }
  for (const tag of series.tags) {
    const at = tag.indexOf(':');
    const name = at < 0 ? tag : tag.slice(0, at);
    const value = at < 0 ? 'no_label_value' : tag.slice(at + 1);
    put(name === 'host' || name === '__name__' ? `exported_${name}` : name, value);
  }
  labels.clear();
  for (const [name, value] of map) labels.addStrings(name, value);
}

class TooLargeError extends Error {
  override name = 'ImportRequestError';
}

function unpack(body: Uint8Array, encoding: string): Uint8Array {
  const options = { maxOutputLength: UNPACKED_BYTES_MAX };
  try {
    switch (encoding) {
      case '':
      case 'identity':
        return body;
      case 'gzip':
        return zlib.gunzipSync(body, options);
      case 'deflate':
        return zlib.inflateSync(body, options);
      case 'zstd':
        return zlib.zstdDecompressSync(body, options);
      default:
        throw new DatadogFormatError(
          `Content-Encoding ${JSON.stringify(encoding)} is not supported; send deflate, gzip, zstd or none`,
        );
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error;
    throw new TooLargeError(`the payload unpacks to more than ${UNPACKED_BYTES_MAX} bytes: send smaller ones`);
  }
}

function refusal(status: number, errors: readonly string[]): IngestResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ errors }) };
}

/**
 * /api/v1/read: Prometheus' remote read, as one message of samples or as a stream of frames with chunks, whichever of the two the client
 * names first.
 *
 * A frame: uvarint size | CRC-32C of the data, big-endian | ChunkedReadResponse { chunked_series = 1; query_index = 2 }.
 * Series come in label order, as clients that merge several servers need them.
 */
import type { RawSeries } from '../../../contracts/leaf-source.ts';
import type { QueryResponse } from '../../../contracts/query-service.ts';
import { crc32c } from '../../../lib/crc32c.ts';
import { ProtobufWriter } from '../../../lib/protobuf.ts';
import { snappyCompress, snappyDecompress } from '../../../lib/snappy.ts';
import { TimeSlice } from '../../../lib/yield.ts';
import { EMPTY_LABELS } from '../../../model/labels.ts';
import { badData } from '../../errors.ts';
import { withExternalLabels, withoutExternalMatchers } from '../external-labels.ts';
import type { HandlerContext, WorkResult } from '../handler-context.ts';
import { samplesOf } from '../raw-stream.ts';
import { decodeReadRequest, type ReadQuery, type ReadRequest } from './read-request.ts';
import { chunksOf, type EncodedChunk, writeChunkedSeries, writeTimeSeries } from './write-series.ts';

const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
/** Clients refuse larger frames by default at 50 MB; Prometheus sends up to 1 MB. */
const FRAME_BYTES_MAX = 1024 * 1024;

export async function remoteRead(c: HandlerContext): Promise<QueryResponse> {
  const request = decode(c);
  const query = request.queries.map(describe).join('; ');
  const startMs = Math.min(...request.queries.map(q => q.startMs), Number.POSITIVE_INFINITY);
  const endMs = Math.max(...request.queries.map(q => q.endMs), Number.NEGATIVE_INFINITY);
  const chunked = request.accepted[0] === 'chunks';
  const timeoutMaxMs = chunked ? c.deps.exportTimeoutMs : c.limits.timeoutMs;
  const what = { query, startMs, endMs, timeoutMs: timeoutMaxMs, timeoutMaxMs };
  return c.run(what, async (signal): Promise<WorkResult> => {
    if (chunked) {
      return {
        headers: { 'content-type': 'application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse' },
        body: frames(c, request, signal),
        readsWhileSending: true,
      };
    }
    const { message, samplesRead } = await samplesMessage(c, request, signal);
    return {
      headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
      body: snappyCompress(message),
      samplesRead,
    };
  });
}

function decode(c: HandlerContext): ReadRequest {
  try {
    return decodeReadRequest(snappyDecompress(c.request.body ?? new Uint8Array(0), REQUEST_BYTES_MAX));
  } catch (error) {
    throw badData(error instanceof Error ? error.message : String(error));
  }
}

function describe(q: ReadQuery): string {
  return `{${q.matchers.map(m => `${m.name}${m.op}${JSON.stringify(m.value)}`).join(',')}}`;
}

/** ReadResponse { repeated QueryResult { repeated TimeSeries timeseries = 1 } results = 1 } */
async function samplesMessage(
  c: HandlerContext,
  request: ReadRequest,
  signal: AbortSignal,
): Promise<{ message: Uint8Array; samplesRead: number }> {
  const w = new ProtobufWriter(64 * 1024);
  const slice = new TimeSlice();
  let samplesRead = 0;
  for (const query of request.queries) {
    const result = w.begin(1);
    for await (const batch of read(c, query, signal, c.deps.rawSamplesMax - samplesRead)) {
      for (const series of batch) {
        samplesRead += samplesOf(series);
        const labels = withExternalLabels(series.labels, c.request.externalLabels ?? EMPTY_LABELS);
        writeTimeSeries(w, 1, { ...series, labels });
        if (slice.due()) await slice.pause(signal);
      }
    }
    w.close(result);
  }
  return { message: w.finish(), samplesRead };
}

async function* frames(c: HandlerContext, request: ReadRequest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const w = new ProtobufWriter(64 * 1024);
  const slice = new TimeSlice();
  for (const [index, query] of request.queries.entries()) {
    for await (const batch of read(c, query, signal, 0)) {
      for (const series of batch) {
        const labels = withExternalLabels(series.labels, c.request.externalLabels ?? EMPTY_LABELS);
        for (const part of partsOf(chunksOf(series))) {
          w.clear();
          writeChunkedSeries(w, 1, labels, part);
          w.varint(2, index);
          yield frame(w.finish());
        }
        if (slice.due()) await slice.pause(signal);
      }
    }
  }
}

function read(
  c: HandlerContext,
  query: ReadQuery,
  signal: AbortSignal,
  maxSamples: number,
): AsyncIterable<RawSeries[]> {
  const request = {
    matchers: withoutExternalMatchers(query.matchers, c.request.externalLabels ?? EMPTY_LABELS),
    minT: query.startMs,
    maxT: query.endMs,
    sorted: true,
    whole: true,
    maxSamples,
  };
  return c.deps.raw.read(c.request.tenant, request, signal);
}

/** A series' chunks in runs that fit a frame. */
function* partsOf(chunks: readonly EncodedChunk[]): Generator<EncodedChunk[]> {
  let part: EncodedChunk[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    part.push(chunk);
    bytes += chunk.data.length + 32;
    if (bytes < FRAME_BYTES_MAX) continue;
    yield part;
    part = [];
    bytes = 0;
  }
  if (part.length > 0) yield part;
}

function frame(data: Uint8Array): Uint8Array {
  const size: number[] = [];
  let rest = data.length;
  while (rest >= 0x80) {
    size.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  size.push(rest);
  const out = new Uint8Array(size.length + 4 + data.length);
  out.set(size);
  new DataView(out.buffer).setUint32(size.length, crc32c(data));
  out.set(data, size.length + 4);
  return out;
}

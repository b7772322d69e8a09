/**
 * RemoteReadClient: asks another server for raw samples by Prometheus' remote-read protocol: streamed chunks where the other side has
 * them, plain samples else. What comes is a stranger's: frames, bytes and samples are bounded and checksums checked.
 */
import type { RemoteReadConfig } from '../config/prometheus/model.ts';
import { growSampleBuffer, newSampleBuffer, type SampleBuffer } from '../contracts/sample-source.ts';
import { decodeXorChunk } from '../ingest/prometheus-tsdb/float-chunk.ts';
import { decodeHistogramChunk } from '../ingest/prometheus-tsdb/histogram-chunk.ts';
import { readHistogram } from '../ingest/remote-write/histogram.ts';
import { crc32c } from '../lib/crc32c.ts';
import { HttpClient } from '../lib/http-client/http-client.ts';
import { ProtobufReader, ProtobufWriter } from '../lib/protobuf.ts';
import { snappyCompress, snappyDecompress } from '../lib/snappy.ts';
import { type Labels, labelsFromPairs } from '../model/labels.ts';
import type { Matcher } from '../model/matcher.ts';

export interface RemoteSeries {
  labels: Labels;
  buffer: SampleBuffer;
}

/** Of one answer, unpacked. */
const ANSWER_BYTES_MAX = 256 << 20;
const OPS = ['=', '!=', '=~', '!~'];

export class RemoteReadClient {
  readonly config: RemoteReadConfig;
  private readonly http: HttpClient;

  constructor(config: RemoteReadConfig, userAgent: string) {
    this.config = config;
    this.http = new HttpClient(config.httpClient, { baseDir: config.baseDir, userAgent, environment: process.env });
  }

  /** Series with samples in [minT, maxT], each ascending as the other side has them. Rejects with a message for people. */
  async read(matchers: readonly Matcher[], minT: number, maxT: number, signal?: AbortSignal): Promise<RemoteSeries[]> {
    const { config } = this;
    const timeout = AbortSignal.timeout(config.remoteTimeoutMs);
    const answer = await this.http.request({
      method: 'POST',
      url: config.url,
      headers: {
        ...Object.fromEntries([...config.headers].map(([name, value]) => [name.toLowerCase(), value])),
        'content-type': 'application/x-protobuf',
        'content-encoding': 'snappy',
        // Streamed answers must not be packed.
        'accept-encoding': 'identity',
        'x-prometheus-remote-read-version': '0.1.0',
      },
      body: snappyCompress(encodeRequest(matchers, minT, maxT)),
      bodyBytesMax: ANSWER_BYTES_MAX,
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`status ${answer.status}: ${Buffer.from(answer.body).toString('utf8', 0, 500).trim()}`);
    }
    const streamed = (answer.headers['content-type'] ?? '').startsWith('application/x-streamed-protobuf');
    return streamed
      ? readChunked(answer.body, config.chunkedReadLimit)
      : readSamples(snappyDecompress(answer.body, ANSWER_BYTES_MAX));
  }

  close(): void {
    this.http.close();
  }
}

function encodeRequest(matchers: readonly Matcher[], minT: number, maxT: number): Uint8Array {
  const w = new ProtobufWriter();
  const query = w.begin(1);
  w.varint(1, minT);
  w.varint(2, maxT);
  for (const m of matchers) {
    const matcher = w.begin(3);
    w.varint(1, OPS.indexOf(m.op));
    w.string(2, m.name);
    w.string(3, m.value);
    w.close(matcher);
  }
  const hints = w.begin(4);
  w.varint(3, minT);
  w.varint(4, maxT);
  w.close(hints);
  w.close(query);
  // Streamed chunks before samples.
  w.packedVarints(2, [1, 0]);
  return w.finish().slice();
}

export function readSamples(message: Uint8Array): RemoteSeries[] {
  const r = new ProtobufReader(message);
  const all: RemoteSeries[] = [];
  each(r, 1, () => each(r, 1, () => all.push(timeSeries(r))));
  return all;
}

function timeSeries(r: ProtobufReader): RemoteSeries {
  const labels: [string, string][] = [];
  const buffer = newSampleBuffer(16);
  while (r.more()) {
    const field = r.field();
    if (field === 1) labels.push(inside(r, () => label(r)));
    else if (field === 2) inside(r, () => sample(r, buffer));
    else if (field === 4) {
      const { histogram, timestampMs, problem } = inside(r, () => readHistogram(r));
      if (problem !== '') throw new Error(`a histogram in the answer: ${problem}`);
      buffer.histogramTimestamps[buffer.histogramLength] = timestampMs;
      buffer.histograms[buffer.histogramLength++] = histogram;
    } else r.skip();
  }
  return { labels: labelsFromPairs(labels), buffer };
}

function sample(r: ProtobufReader, into: SampleBuffer): void {
  growSampleBuffer(into, into.length + 1);
  const i = into.length++;
  const words = new Uint32Array(into.values.buffer, into.values.byteOffset, into.values.length * 2);
  into.values[i] = 0;
  into.timestamps[i] = 0;
  while (r.more()) {
    const field = r.field();
    if (field === 1) {
      // By its bits: staleness markers.
      const at = r.fixed64();
      words[2 * i] = r.u32At(at);
      words[2 * i + 1] = r.u32At(at + 4);
    } else if (field === 2) into.timestamps[i] = r.signed();
    else r.skip();
  }
}

/** Frames: length as uvarint, CRC-32C of the message in 4 bytes, the message. */
export function readChunked(bytes: Uint8Array, frameBytesMax: number): RemoteSeries[] {
  const byLabels = new Map<string, RemoteSeries>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let p = 0; p < bytes.length; ) {
    let length = 0;
    let scale = 1;
    for (;;) {
      const b = bytes[p++];
      if (b === undefined || scale > 2 ** 35) throw new Error('the stream ends in the middle of a frame');
      length += (b & 0x7f) * scale;
      scale *= 128;
      if (b < 0x80) break;
    }
    if (length > frameBytesMax) throw new Error(`a frame of ${length} bytes; chunked_read_limit is ${frameBytesMax}`);
    if (p + 4 + length > bytes.length) throw new Error('the stream ends in the middle of a frame');
    if (crc32c(bytes, p + 4, p + 4 + length) !== view.getUint32(p)) throw new Error('a frame with a wrong checksum');
    const r = new ProtobufReader(bytes, p + 4, p + 4 + length);
    each(r, 1, () => chunkedSeries(r, byLabels));
    p += 4 + length;
  }
  return [...byLabels.values()];
}

/** A long series comes in several frames. */
function chunkedSeries(r: ProtobufReader, byLabels: Map<string, RemoteSeries>): void {
  const pairs: [string, string][] = [];
  const chunks: { type: number; start: number; end: number }[] = [];
  while (r.more()) {
    const field = r.field();
    if (field === 1) pairs.push(inside(r, () => label(r)));
    else if (field === 2) chunks.push(inside(r, () => chunk(r)));
    else r.skip();
  }
  const key = JSON.stringify(pairs);
  let series = byLabels.get(key);
  if (series === undefined) {
    series = { labels: labelsFromPairs(pairs), buffer: newSampleBuffer(120) };
    byLabels.set(key, series);
  }
  for (const { type, start, end } of chunks) {
    if (type === 1) decodeXorChunk(r.bytes, start, end, 'the answer', 0, series.buffer);
    else if (type === 2 || type === 3) {
      decodeHistogramChunk(r.bytes, start, end, 'the answer', 0, type === 2, series.buffer);
    } else throw new Error(`a chunk of the unknown type ${type}`);
  }
}

function chunk(r: ProtobufReader): { type: number; start: number; end: number } {
  const out = { type: 0, start: 0, end: 0 };
  while (r.more()) {
    const field = r.field();
    if (field === 3) out.type = r.unsigned();
    else if (field === 4) {
      out.start = r.span();
      out.end = r.at;
    } else r.skip();
  }
  return out;
}

function label(r: ProtobufReader): [string, string] {
  const out: [string, string] = ['', ''];
  while (r.more()) {
    const field = r.field();
    if (field !== 1 && field !== 2) {
      r.skip();
      continue;
    }
    const start = r.span();
    out[field - 1] = Buffer.from(r.bytes.buffer, r.bytes.byteOffset + start, r.at - start).toString('utf8');
  }
  return out;
}

function inside<T>(r: ProtobufReader, work: () => T): T {
  const outer = r.enter();
  const value = work();
  r.leave(outer);
  return value;
}

function each(r: ProtobufReader, field: number, work: () => void): void {
  while (r.more()) {
    if (r.field() === field) inside(r, work);
    else r.skip();
  }
}

/** A receiver of remote write for tests: keeps every request as it came, decoded field by field, and answers as it is told. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProtobufReader } from '../../src/lib/protobuf.ts';
import { snappyDecompress } from '../../src/lib/snappy.ts';

export interface ReceivedSample {
  value: number;
  timestampMs: number;
  startMs: number;
}

export interface ReceivedExemplar {
  labels: Record<string, string>;
  value: number;
  timestampMs: number;
}

export interface ReceivedSeries {
  labels: Record<string, string>;
  /** 2.0. */
  labelRefs: number[];
  samples: ReceivedSample[];
  histograms: number;
  exemplars: ReceivedExemplar[];
  exemplarRefs: number[][];
  /** 2.0. */
  metadata: { type: number; help: string; unit: string } | null;
}

export interface ReceivedRequest {
  /** ms, monotonic. */
  at: number;
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Uint8Array;
  status: number;
  v2: boolean;
  symbols: string[];
  series: ReceivedSeries[];
  /** 1.0: metric names of metadata entries. */
  metadata: string[];
}

export interface PlannedAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  /** Takes over the answering. */
  custom?: (response: ServerResponse) => void;
  /** 2.0: without the headers that tell what was written. */
  silent?: boolean;
}

export class RemoteReceiver {
  readonly requests: ReceivedRequest[] = [];
  url = '';
  /** What the next request is answered. */
  plan: (request: ReceivedRequest, index: number) => PlannedAnswer = () => ({ status: 204 });
  private readonly server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', part => parts.push(part));
    request.on('error', () => {});
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const received = decode(request.method ?? '', request.url ?? '', request.headers, body);
      const answer = this.plan(received, this.requests.length);
      received.status = answer.status;
      this.requests.push(received);
      if (answer.custom !== undefined) {
        answer.custom(response);
        return;
      }
      const written = answer.status < 300 && received.v2 && answer.silent !== true ? writtenHeaders(received) : {};
      response.writeHead(answer.status, { ...written, ...answer.headers }).end(answer.body ?? '');
    });
  });

  static async start(t: { after(cleanUp: () => void | Promise<void>): void }, port = 0): Promise<RemoteReceiver> {
    const receiver = new RemoteReceiver();
    await receiver.listen(port);
    t.after(() => receiver.stop());
    return receiver;
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((done, failed) => {
      this.server.once('error', failed);
      this.server.listen(port, '127.0.0.1', done);
    });
    this.url = `http://127.0.0.1:${this.port}/api/v1/write`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Breaks all connections. */
  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise(done => this.server.close(done));
  }

  /** Values by series name and time, of the requests that were taken. */
  taken(name: string): Map<number, number> {
    const values = new Map<number, number>();
    for (const request of this.requests) {
      if (request.status >= 300) continue;
      for (const series of request.series) {
        if (series.labels.__name__ !== name) continue;
        for (const sample of series.samples) values.set(sample.timestampMs, sample.value);
      }
    }
    return values;
  }
}

function writtenHeaders(request: ReceivedRequest): Record<string, string> {
  const sum = (of: (s: ReceivedSeries) => number): string => String(request.series.reduce((n, s) => n + of(s), 0));
  return {
    'x-prometheus-remote-write-samples-written': sum(s => s.samples.length),
    'x-prometheus-remote-write-histograms-written': sum(s => s.histograms),
    'x-prometheus-remote-write-exemplars-written': sum(s => s.exemplars.length),
  };
}

function decode(method: string, path: string, headers: IncomingHttpHeaders, body: Uint8Array): ReceivedRequest {
  const v2 = /write\.v2\.request/i.test(headers['content-type'] ?? '');
  const request: ReceivedRequest = {
    at: performance.now(),
    method,
    path,
    headers,
    body,
    status: 0,
    v2,
    symbols: [],
    series: [],
    metadata: [],
  };
  const r = new ProtobufReader(snappyDecompress(body, 64 << 20));
  while (r.more()) {
    const field = r.field();
    if (field === 4 && v2) request.symbols.push(text(r));
    else if (field === (v2 ? 5 : 1)) inside(r, () => request.series.push(v2 ? seriesV2(r) : seriesV1(r)));
    else if (field === 3 && !v2) inside(r, () => request.metadata.push(metricOf(r)));
    else r.skip();
  }
  for (const series of request.series) {
    if (v2) series.labels = pairs(series.labelRefs.map(ref => request.symbols[ref] ?? `?${ref}`));
    for (const [i, refs] of series.exemplarRefs.entries()) {
      (series.exemplars[i] as ReceivedExemplar).labels = pairs(refs.map(ref => request.symbols[ref] ?? `?${ref}`));
    }
    if (series.metadata !== null) {
      series.metadata.help = request.symbols[Number(series.metadata.help)] ?? '?';
      series.metadata.unit = request.symbols[Number(series.metadata.unit)] ?? '?';
    }
  }
  return request;
}

function emptySeries(): ReceivedSeries {
  return { labels: {}, labelRefs: [], samples: [], histograms: 0, exemplars: [], exemplarRefs: [], metadata: null };
}

function seriesV1(r: ProtobufReader): ReceivedSeries {
  const series = emptySeries();
  while (r.more()) {
    const field = r.field();
    if (field === 1) inside(r, () => readLabel(r, series.labels));
    else if (field === 2) inside(r, () => series.samples.push(readSample(r)));
    else if (field === 3) inside(r, () => series.exemplars.push(readExemplar(r, null)));
    else if (field === 4) {
      series.histograms++;
      r.skip();
    } else r.skip();
  }
  return series;
}

function seriesV2(r: ProtobufReader): ReceivedSeries {
  const series = emptySeries();
  while (r.more()) {
    const field = r.field();
    if (field === 1) r.unsignedsInto(series.labelRefs, 1 << 16);
    else if (field === 2) inside(r, () => series.samples.push(readSample(r)));
    else if (field === 3) {
      series.histograms++;
      r.skip();
    } else if (field === 4) {
      const refs: number[] = [];
      inside(r, () => series.exemplars.push(readExemplar(r, refs)));
      series.exemplarRefs.push(refs);
    } else if (field === 5) inside(r, () => readMetadata(r, series));
    else r.skip();
  }
  return series;
}

function readMetadata(r: ProtobufReader, series: ReceivedSeries): void {
  const metadata = { type: 0, help: '0', unit: '0' };
  while (r.more()) {
    const field = r.field();
    if (field === 1) metadata.type = r.unsigned();
    else if (field === 3) metadata.help = String(r.unsigned());
    else if (field === 4) metadata.unit = String(r.unsigned());
    else r.skip();
  }
  series.metadata = metadata;
}

function readSample(r: ProtobufReader): ReceivedSample {
  const sample = { value: 0, timestampMs: 0, startMs: 0 };
  while (r.more()) {
    const field = r.field();
    if (field === 1) sample.value = r.double();
    else if (field === 2) sample.timestampMs = r.signed();
    else if (field === 3) sample.startMs = r.signed();
    else r.skip();
  }
  return sample;
}

function readExemplar(r: ProtobufReader, refs: number[] | null): ReceivedExemplar {
  const exemplar: ReceivedExemplar = { labels: {}, value: 0, timestampMs: 0 };
  while (r.more()) {
    const field = r.field();
    if (field === 1 && refs !== null) r.unsignedsInto(refs, 1 << 16);
    else if (field === 1) inside(r, () => readLabel(r, exemplar.labels));
    else if (field === 2) exemplar.value = r.double();
    else if (field === 3) exemplar.timestampMs = r.signed();
    else r.skip();
  }
  return exemplar;
}

function readLabel(r: ProtobufReader, into: Record<string, string>): void {
  let name = '';
  let value = '';
  while (r.more()) {
    const field = r.field();
    if (field === 1) name = text(r);
    else if (field === 2) value = text(r);
    else r.skip();
  }
  into[name] = value;
}

function metricOf(r: ProtobufReader): string {
  let metric = '';
  while (r.more()) {
    if (r.field() === 2) metric = text(r);
    else r.skip();
  }
  return metric;
}

function inside(r: ProtobufReader, work: () => void): void {
  const outer = r.enter();
  work();
  r.leave(outer);
}

function text(r: ProtobufReader): string {
  const start = r.span();
  return new TextDecoder().decode(r.bytes.subarray(start, r.at));
}

function pairs(flat: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) out[flat[i] as string] = flat[i + 1] as string;
  return out;
}

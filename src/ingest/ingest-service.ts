/**
 * The IngestService of one worker: picks the decoder by protocol, feeds the sink, and words the answer as the
 * protocol's own receivers do.
 *
 * Remote write answers 204 when everything was stored; 400 when some rows never can be (the rest is stored, a retry would
 * fail the same way); 503 when nothing may be acknowledged now. Which rows were refused, why and what to do stands in the body.
 */
import type { IngestRequest, IngestResponse, IngestService } from '../contracts/ingest-service.ts';
import type { AppendResult, RateLimitedError, Rejection, SampleSink } from '../contracts/sample-sink.ts';
import type { IdentityHasher } from '../lib/identity-hash.ts';
import type { IngestKernel } from '../lib/kernel/kernel.ts';
import type { TenantId } from '../model/tenant.ts';
import { writeDatadog } from './datadog/write.ts';
import { writeGraphite } from './graphite/write.ts';
import { writeInflux } from './influx/write.ts';
import { type OtlpDeps, OtlpIngest } from './otlp/service.ts';
import { normalisePush } from './pushgateway/normalise.ts';
import { type DecodedWrite, decodeWriteRequest, WriteDecodeError } from './remote-write/decode.ts';
import { decodeWriteRequestV2 } from './remote-write/decode-v2.ts';
import { importStream } from './stream-import.ts';

export interface IngestServiceDeps {
  kernel: IngestKernel;
  hasher: IdentityHasher;
  sink: SampleSink;
  /** ms since the epoch. */
  now(): number;
  /** An error that no client caused. */
  onInternalError(error: Error): void;
  /** Rows that a decoder left out; what the sink refuses is counted there. */
  onRejected?(tenant: TenantId, rejected: readonly Rejection[]): void;
  /** Where requests with delta points of a tenant go; absent: they stay here. */
  deltaHome?: OtlpDeps['deltaHome'];
}

/** Seconds after which a sender may come back when the disk is full or the process is draining. */
const RETRY_AFTER_S = 5;

export function createIngestService(deps: IngestServiceDeps): IngestService {
  const otlp = new OtlpIngest(deps);
  return {
    async ingest(request, body) {
      if (request.protocol === 'remote-write') return ingestRemoteWrite(deps, request, body);
      if (request.protocol === 'otlp-metrics')
        return answering(deps, () => otlp.ingest(request, body)).finally(() => release(body));
      if (request.protocol === 'datadog-v1' || request.protocol === 'datadog-v2') {
        return answering(deps, () => writeDatadog(deps, request, body));
      }
      if (request.protocol === 'pushgateway') return answering(deps, async () => normalisePush(request, body));
      return answering(deps, () => streamed(deps, request, oneChunk(body)));
    },
    ingestStream(request, body) {
      return answering(deps, () => streamed(deps, request, body));
    },
  };
}

function streamed(
  deps: IngestServiceDeps,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<IngestResponse> {
  if (request.protocol === 'influx') return writeInflux(deps, request, body);
  if (request.protocol === 'graphite') return writeGraphite(deps, request, body);
  return importStream(deps, request, body);
}

async function ingestRemoteWrite(
  deps: IngestServiceDeps,
  request: IngestRequest,
  body: Uint8Array,
): Promise<IngestResponse> {
  const problem = contentTypeProblem(request.contentType);
  if (problem !== '') return { status: 415, headers: {}, body: `${problem}\n` };
  const v2 = isVersion2(request);
  return answering(deps, async () => {
    const seed = deps.hasher.tenantSeed(request.tenant);
    const decode: typeof decodeWriteRequest = v2 ? decodeWriteRequestV2 : decodeWriteRequest;
    const decodeAgain = (): DecodedWrite => decode(body, request.contentEncoding, seed, deps.kernel);
    const decoded = decodeAgain();
    const stored = await deps.sink.append(request.tenant, decoded.batch, () => decodeAgain().batch);
    release(body);
    const headers: Record<string, string> = v2 ? writtenHeaders(stored) : {};
    if (decoded.rejected.length > 0) deps.onRejected?.(request.tenant, decoded.rejected);
    const rejected = [...decoded.rejected, ...stored.rejected];
    if (rejected.length === 0) return { status: 204, headers, body: '' };
    return { status: 400, headers, body: describeRejections(rejected, stored) };
  });
}

/** Gives the body's memory back now: waiting for the collector, a fast sender's bodies pile up. */
function release(body: Uint8Array): void {
  const { buffer } = body;
  // It may have moved on to another thread.
  if (buffer instanceof ArrayBuffer && !buffer.detached && body.byteLength === buffer.byteLength) buffer.transfer(0);
}

/** Runs one request and turns whatever it throws into the status its sender understands. */
async function answering(deps: IngestServiceDeps, work: () => Promise<IngestResponse>): Promise<IngestResponse> {
  try {
    return await work();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (error instanceof WriteDecodeError) {
      const status = error.tooLarge ? 413 : error.unsupported ? 415 : 400;
      return { status, headers: {}, body: `${error.message}\n` };
    }
    // By name: the error may have crossed a thread.
    if (error.name === 'StorageFullError' || error.name === 'ShuttingDownError') {
      return { status: 503, headers: { 'retry-after': String(RETRY_AFTER_S) }, body: `${error.message}\n` };
    }
    if (error.name === 'RateLimitedError') {
      const { retryAfterS } = (error as RateLimitedError).data;
      return { status: 429, headers: { 'retry-after': String(retryAfterS) }, body: `${error.message}\n` };
    }
    deps.onInternalError(error);
    return {
      status: 500,
      headers: {},
      body: 'internal error; the log says more. Nothing of this request is acknowledged\n',
    };
  }
}

/** Old senders give no content type. */
function contentTypeProblem(contentType: string): string {
  const [mediaType = '', ...parameters] = contentType
    .toLowerCase()
    .split(';')
    .map(part => part.trim());
  const proto =
    parameters
      .find(p => p.startsWith('proto='))
      ?.slice('proto='.length)
      .replaceAll('"', '') ?? '';
  const known = ['', 'prometheus.writerequest', 'io.prometheus.write.v2.request'].includes(proto);
  if (['', 'application/x-protobuf'].includes(mediaType) && known) return '';
  return (
    `the content type ${JSON.stringify(contentType.slice(0, 200))} is not supported: send application/x-protobuf, with ` +
    'proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request'
  );
}

/** `application/x-protobuf;proto=io.prometheus.write.v2.Request`, as the 2.0 specification negotiates it. */
function isVersion2(request: IngestRequest): boolean {
  return /;\s*proto\s*=\s*"?io\.prometheus\.write\.v2\.request"?\s*(;|$)/i.test(request.contentType);
}

function writtenHeaders(stored: AppendResult): Record<string, string> {
  return {
    'x-prometheus-remote-write-samples-written': String(stored.samples),
    'x-prometheus-remote-write-histograms-written': String(stored.histograms),
    'x-prometheus-remote-write-exemplars-written': String(stored.exemplars),
  };
}

export function describeRejections(rejected: readonly Rejection[], stored: AppendResult): string {
  const lines = rejected.map(r => `${r.count} refused, ${r.reason}: ${r.example}`);
  return `${lines.join('\n')}\nstored: ${stored.samples} samples, ${stored.histograms} histograms, ${stored.exemplars} exemplars\n`;
}

async function* oneChunk(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

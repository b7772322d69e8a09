/**
 * OtlpIngest: one worker's OTLP requests: unpacked, decoded, handed to the sink, answered.
 *
 * Requests with delta points all go to the worker that keeps the totals of their tenant (delta.ts): a worker that meets one and is
 * not the one hands the whole body on. Statuses: 200 also where points were refused (the partial success says which and why), 400 for a
 * body that cannot be read, 413 for one too large, 415 for an unknown encoding, 503 where nothing may be acknowledged now.
 */
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import type { AppendResult, Rejection, SampleSink } from '../../contracts/sample-sink.ts';
import type { IdentityHasher } from '../../lib/identity-hash.ts';
import { ProtobufError } from '../../lib/protobuf.ts';
import type { TenantId } from '../../model/tenant.ts';
import { unpackBody, WriteDecodeError } from '../remote-write/decode.ts';
import { type DecodedMetrics, DeltaPointsError, OtlpDecoder } from './decode.ts';
import { DeltaStore } from './delta.ts';
import { metricsFromJson, OtlpJsonError } from './json.ts';
import { type OtlpSettings, parseOtlpSettings } from './settings.ts';

export interface OtlpDeps {
  hasher: IdentityHasher;
  sink: SampleSink;
  /** ms since the epoch. */
  now(): number;
  /** Points that the decoder left out; what the sink refuses is counted there. */
  onRejected?(tenant: TenantId, rejected: readonly Rejection[]): void;
  /**
   * Hands a request with delta points to the worker that keeps its tenant's totals; null where that is this one. The body is
   * not needed here any more.
   */
  deltaHome?(tenant: string): ((request: IngestRequest, body: Uint8Array) => Promise<IngestResponse>) | null;
}

/** Decoders kept for reuse; more are made while many requests with delta points wait for the store at once. */
const MAX_SPARE = 4;

export class OtlpIngest {
  private readonly deps: OtlpDeps;
  private readonly deltas: DeltaStore;
  private settingsText = '';
  private settings: OtlpSettings = parseOtlpSettings('');
  private decoder: OtlpDecoder;
  private readonly spare: OtlpDecoder[] = [];

  constructor(deps: OtlpDeps) {
    this.deps = deps;
    this.deltas = new DeltaStore(() => deps.now());
    this.decoder = new OtlpDecoder(this.settings, () => deps.now());
  }

  /** Throws WriteDecodeError, and what the sink throws. */
  async ingest(request: IngestRequest, body: Uint8Array): Promise<IngestResponse> {
    this.applySettings(request.settings ?? '');
    const home = this.deps.deltaHome?.(request.tenant) ?? null;
    const { decoder, settings } = this;
    const message = readMessage(request, body);
    let decoded: DecodedMetrics;
    try {
      decoded = asDecodeErrors(() => decoder.decode(message, this.seedOf(request), home === null ? this.deltas : null));
    } catch (error) {
      if (error instanceof DeltaPointsError && home !== null) return home(request, body);
      throw error;
    }
    const stored = await this.store(request, decoder, settings, message, decoded);
    if (decoded.rejected.length > 0) this.deps.onRejected?.(request.tenant, decoded.rejected);
    return answer(decoded, stored);
  }

  /**
   * Totals that were moved on must not be moved again, so such a request is not decoded a second time: its batch, and with it the
   * decoder, stay as they are until the store has answered.
   */
  private async store(
    request: IngestRequest,
    decoder: OtlpDecoder,
    settings: OtlpSettings,
    message: Uint8Array,
    decoded: DecodedMetrics,
  ): Promise<AppendResult> {
    const { sink } = this.deps;
    if (!decoded.changedTotals) {
      return sink.append(
        request.tenant,
        decoded.batch,
        () => decoder.decode(message, this.seedOf(request), this.deltas).batch,
      );
    }
    this.decoder = this.spare.pop() ?? new OtlpDecoder(settings, () => this.deps.now());
    try {
      return await sink.append(request.tenant, decoded.batch);
    } finally {
      if (settings === this.settings && this.spare.length < MAX_SPARE) this.spare.push(decoder);
    }
  }

  private seedOf(request: IngestRequest): Uint32Array {
    return this.deps.hasher.tenantSeed(request.tenant);
  }

  private applySettings(text: string): void {
    if (text !== this.settingsText) {
      this.settings = parseOtlpSettings(text);
      this.settingsText = text;
      this.decoder = new OtlpDecoder(this.settings, () => this.deps.now());
      this.spare.length = 0;
    }
    this.deltas.maxSeries = this.settings.deltaMaxSeries;
    this.deltas.maxStaleMs = this.settings.deltaMaxStaleMs;
  }
}

function readMessage(request: IngestRequest, body: Uint8Array): Uint8Array {
  const plain = unpackBody(body, request.contentEncoding);
  const json = /^application\/json\b/i.test(request.contentType);
  return json ? asDecodeErrors(() => metricsFromJson(plain)) : plain;
}

function asDecodeErrors<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProtobufError) {
      throw new WriteDecodeError(
        `no ExportMetricsServiceRequest: ${error.message} (byte ${error.offset} of the message)`,
      );
    }
    if (error instanceof OtlpJsonError) throw new WriteDecodeError(`no ExportMetricsServiceRequest: ${error.message}`);
    throw error;
  }
}

function answer(decoded: DecodedMetrics, stored: AppendResult): IngestResponse {
  const rejected = [...decoded.rejected, ...stored.rejected];
  const response: IngestResponse = { status: 200, headers: {}, body: '' };
  if (rejected.length === 0) return response;
  const before = decoded.rejected.reduce((sum, r) => sum + r.count, 0);
  // The sink counts series and samples; a point may have been several.
  const after = Math.min(
    decoded.points,
    stored.rejected.reduce((sum, r) => sum + r.count, 0),
  );
  response.partial = { rejected: before + after, message: rejected.map(describe).join('; ') };
  return response;
}

function describe(r: Rejection): string {
  return `${r.count} refused, ${r.reason}: ${r.example}`;
}

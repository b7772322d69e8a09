/**
 * OtlpGate: what the OTLP doors share, HTTP and gRPC: the bound on bodies in flight, the settings that go along with each request,
 * the tenant that nobody may write to, and the counters.
 */
import type { IngestService } from '../../contracts/ingest-service.ts';
import type { Counter, Family, MetricsRegistry } from '../../lib/metrics.ts';
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import type { PartialSuccess } from './respond.ts';

export interface OtlpGateDeps {
  ingest: IngestService;
  metrics: MetricsRegistry;
  /** OtlpSettings as JSON, as they are now. */
  settings: () => string;
  /** Bytes of bodies, as sent, that may be worked on at once. */
  inFlightBytesMax: number;
}

export interface OtlpBody {
  tenant: TenantId;
  contentType: string;
  contentEncoding: string;
  /** '' = none given. */
  userAgent: string;
  body: Uint8Array;
}

export interface OtlpOutcome {
  status: number;
  /** For a person where it failed. */
  message: string;
  /** 0: not to be sent again. */
  retryAfterS: number;
  partial: PartialSuccess | undefined;
}

/** Stands for a place in the bound; `release` is idempotent. */
export interface Hold {
  release(): void;
}

export type OtlpTransport = 'grpc' | 'http';

/** Counted for a body of unknown length: most are smaller. */
const UNKNOWN_BYTES = 1 << 20;

export class OtlpGate {
  private readonly deps: OtlpGateDeps;
  private readonly requests: Family<Counter>;
  private readonly rejectedPoints: Family<Counter>;
  private inFlightBytes = 0;

  constructor(deps: OtlpGateDeps) {
    this.deps = deps;
    this.requests = deps.metrics.counter('sightline_otlp_requests_total', 'OTLP requests by door and HTTP status.', [
      'transport',
      'status',
    ]);
    this.rejectedPoints = deps.metrics.counter(
      'sightline_otlp_rejected_points_total',
      'Data points that were refused while the rest of their request was stored.',
      ['transport'],
    );
    const bytes = deps.metrics.gauge('sightline_otlp_in_flight_bytes', 'Bytes of OTLP bodies being worked on.');
    deps.metrics.onCollect(() => bytes.set(this.inFlightBytes));
  }

  /** A place for a body of `bytes` (0 = not known); null where there is none now. */
  hold(bytes: number): Hold | null {
    const counted = bytes > 0 ? bytes : UNKNOWN_BYTES;
    if (this.inFlightBytes > 0 && this.inFlightBytes + counted > this.deps.inFlightBytesMax) return null;
    this.inFlightBytes += counted;
    let held = true;
    return {
      release: () => {
        if (held) this.inFlightBytes -= counted;
        held = false;
      },
    };
  }

  async take(transport: OtlpTransport, body: OtlpBody): Promise<OtlpOutcome> {
    const outcome = await this.ask(body);
    this.requests.labels(transport, String(outcome.status)).inc();
    if (outcome.partial !== undefined) this.rejectedPoints.labels(transport).inc(outcome.partial.rejected);
    return outcome;
  }

  private async ask({ tenant, contentType, contentEncoding, userAgent, body }: OtlpBody): Promise<OtlpOutcome> {
    if (tenant === SELF_TENANT) {
      const message = `tenant "${tenant}" holds this server's own telemetry and cannot be written from outside`;
      return { status: 403, message, retryAfterS: 0, partial: undefined };
    }
    const response = await this.deps.ingest.ingest(
      {
        protocol: 'otlp-metrics',
        tenant,
        contentType,
        contentEncoding,
        params: '',
        headers: userAgent === '' ? {} : { 'user-agent': userAgent },
        settings: this.deps.settings(),
      },
      body,
    );
    return {
      status: response.status,
      message: response.body,
      retryAfterS: Number(response.headers['retry-after'] ?? 0),
      partial: response.partial,
    };
  }
}

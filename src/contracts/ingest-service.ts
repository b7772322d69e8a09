/**
 * IngestService: one write request's raw bytes in, an HTTP answer out.
 *
 * The socket thread neither decompresses nor decodes: it hands the body over and relays the answer. Behind the port a decoder of the
 * named protocol feeds the SampleSink. All of it is plain data, so that the service may run in a worker.
 */
import type { TenantId } from '../model/tenant.ts';
import type { Rejection } from './sample-sink.ts';

export type IngestProtocol =
  /** Remote write 1.0 and 2.0; contentType tells which. */
  | 'remote-write'
  /** Exposition text with optional millisecond timestamps. */
  | 'prometheus-text'
  /** JSON lines `{"metric": {...}, "values": [...], "timestamps": [...]}`, what /api/v1/export gives out. */
  | 'json-lines'
  /** ExportMetricsServiceRequest, protobuf or JSON; contentType tells which. */
  | 'otlp-metrics'
  /** Influx line protocol, v1 and v2. */
  | 'influx'
  /** Graphite plaintext lines. */
  | 'graphite'
  /** Datadog's series, JSON of API v1 and v2, protobuf of v2. */
  | 'datadog-v1'
  | 'datadog-v2'
  /** VictoriaMetrics' native export. */
  | 'victoria-native'
  /** A push to a Pushgateway group: checked and brought into one form, not stored; the answer's body is JSON. */
  | 'pushgateway';

export interface IngestRequest {
  protocol: IngestProtocol;
  tenant: TenantId;
  contentType: string;
  /** '' (identity), snappy, gzip, zstd, deflate. */
  contentEncoding: string;
  /** The URL's query string without `?`: extra_label=..., timestamp=... */
  params: string;
  /** Request headers a protocol looks at, in lower case: x-prometheus-remote-write-version, user-agent. */
  headers: Record<string, string>;
  /** The protocol's settings as the door has them, as JSON; absent = its defaults. A text, so that equal ones are known at once. */
  settings?: string;
  /** How names and labels are made of protocols that know neither; from the configuration. Absent: the defaults. */
  push?: PushNaming;
}

export interface PushNaming {
  influx: {
    /** Between measurement and field. */
    separator: string;
    /** Label that gets the database or bucket; '' = none. */
    dbLabel: string;
  };
  /** Dots in the names of Graphite and Datadog. */
  dots: 'keep' | 'underscore';
}

export interface IngestResponse {
  /** 2xx only when everything it counts as stored survives kill -9. */
  status: number;
  headers: Record<string, string>;
  /** Text for a person where it failed; '' otherwise. */
  body: string;
  /** Of protocols that answer success where some items were refused: how many, and which and why for a person. */
  partial?: { rejected: number; message: string };
  /** What was refused, for doors that have nobody to tell and count instead. */
  rejected?: Rejection[];
  /** Samples stored, for the same. */
  stored?: number;
}

export interface IngestService {
  /**
   * A body whose length was known and small enough to hold. The bytes belong to the service from here on (they may be
   * transferred to another thread). Never rejects for a bad body or a full disk: those are statuses.
   */
  ingest(request: IngestRequest, body: Uint8Array): Promise<IngestResponse>;
  /**
   * The same for a body of any size, chunk by chunk with back-pressure; for the text and JSON-lines protocols. What came before a bad line
   * is stored; the answer says which line.
   */
  ingestStream(request: IngestRequest, body: AsyncIterable<Uint8Array>): Promise<IngestResponse>;
}

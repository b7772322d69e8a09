/**
 * Answers of the OTLP doors, in protobuf and JSON: ExportMetricsServiceResponse with its partial success, and google.rpc.Status with
 * RetryInfo for what failed.
 */
import { ProtobufWriter } from '../../lib/protobuf.ts';

export type OtlpForm = 'protobuf' | 'json';

/** Points that were not kept while the rest was. */
export interface PartialSuccess {
  rejected: number;
  /** For people; also a warning where nothing was rejected. */
  message: string;
}

/** Codes of google.rpc.Code. */
export const GRPC = {
  INVALID_ARGUMENT: 3,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo';

/** Messages are cut to this many characters: they may quote labels. */
const MAX_MESSAGE = 4000;

/** ExportMetricsServiceResponse. */
export function successBody(form: OtlpForm, partial: PartialSuccess | undefined): Uint8Array {
  const some = partial !== undefined && (partial.rejected > 0 || partial.message !== '');
  if (form === 'json') {
    return Buffer.from(
      some
        ? JSON.stringify({
            partialSuccess: {
              rejectedDataPoints: String(partial.rejected),
              errorMessage: partial.message.slice(0, MAX_MESSAGE),
            },
          })
        : '{}',
    );
  }
  const w = new ProtobufWriter(256);
  if (some) {
    const start = w.begin(1);
    if (partial.rejected > 0) w.varint(1, partial.rejected);
    w.string(2, partial.message.slice(0, MAX_MESSAGE));
    w.close(start);
  }
  return w.finish().slice();
}

/** google.rpc.Status. `retryAfterS` 0: not to be sent again. */
export function statusBody(form: OtlpForm, code: number, message: string, retryAfterS: number): Uint8Array {
  const text = message.slice(0, MAX_MESSAGE);
  if (form === 'json') {
    const details = retryAfterS > 0 ? [{ '@type': RETRY_INFO, retryDelay: `${retryAfterS}s` }] : [];
    return Buffer.from(JSON.stringify({ code, message: text, ...(details.length > 0 ? { details } : {}) }));
  }
  const w = new ProtobufWriter(256);
  w.varint(1, code);
  w.string(2, text);
  if (retryAfterS > 0) {
    const any = w.begin(3);
    w.string(1, RETRY_INFO);
    const info = w.begin(2);
    const delay = w.begin(1);
    w.varint(1, retryAfterS);
    w.close(delay);
    w.close(info);
    w.close(any);
  }
  return w.finish().slice();
}

/** The gRPC code that an HTTP status stands for. A body too large is the sender's mistake: sent again it fails again. */
export function grpcCode(status: number): number {
  switch (status) {
    case 401:
      return GRPC.UNAUTHENTICATED;
    case 403:
      return GRPC.PERMISSION_DENIED;
    case 404:
      return GRPC.UNIMPLEMENTED;
    case 429:
      return GRPC.RESOURCE_EXHAUSTED;
    case 500:
      return GRPC.INTERNAL;
    case 502:
    case 503:
    case 504:
      return GRPC.UNAVAILABLE;
    default:
      return GRPC.INVALID_ARGUMENT;
  }
}

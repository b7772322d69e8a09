/**
 * OTLP over gRPC: MetricsService/Export as a pass-through method: the message's bytes go to a worker as they came, no generated classes.
 * gRPC's own compression (gzip, deflate) is undone by the library, under the same bound as the message.
 *
 * Logs and traces answer UNIMPLEMENTED with words; senders take that for final.
 */
import { type handleUnaryCall, Metadata, Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { toApiError } from '../api/errors.ts';
import { tenantFor } from '../api/http.ts';
import type { OtlpGate } from '../api/otlp/gate.ts';
import { GRPC, grpcCode, statusBody, successBody } from '../api/otlp/respond.ts';
import { BUSY, BUSY_RETRY_S } from '../api/otlp/routes.ts';
import { AuthError, type Authenticator, type CertificateFacts } from '../contracts/auth.ts';
import { ListenError, type TlsSettings } from './http-server.ts';

export interface OtlpGrpcOptions {
  host: string;
  port: number;
  gate: OtlpGate;
  authenticator: Authenticator;
  /** null = plain. */
  tls: TlsSettings | null;
  /** Longest message, unpacked. */
  messageBytesMax: number;
}

/** Requests of one connection at once. */
const MAX_STREAMS = 64;

type Export = handleUnaryCall<Buffer, Buffer>;
type Call = Parameters<Export>[0];

export class OtlpGrpcServer {
  readonly host: string;
  readonly port: number;
  private readonly server: Server;

  private constructor(server: Server, host: string, port: number) {
    this.server = server;
    this.host = host;
    this.port = port;
  }

  /** Throws a ListenError. */
  static async listen(options: OtlpGrpcOptions): Promise<OtlpGrpcServer> {
    const server = new Server({
      'grpc.max_receive_message_length': options.messageBytesMax,
      'grpc.max_concurrent_streams': MAX_STREAMS,
    });
    server.addService(serviceOf('metrics', 'Metrics'), { export: exporter(options) });
    server.addService(serviceOf('logs', 'Logs'), { export: later('logs') });
    server.addService(serviceOf('trace', 'Trace'), { export: later('traces') });
    const host = options.host.includes(':') ? `[${options.host}]` : options.host;
    const port = await new Promise<number>((done, failed) => {
      server.bindAsync(`${host}:${options.port}`, credentialsOf(options.tls), (error, bound) => {
        if (error === null) done(bound);
        else failed(new ListenError(error.message, { cause: error }));
      });
    });
    return new OtlpGrpcServer(server, options.host, port);
  }

  /** Lets running requests finish for `graceMs`, then breaks what is left. */
  async close(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.server.forceShutdown(), graceMs);
    await new Promise<void>(done => this.server.tryShutdown(() => done()));
    clearTimeout(timer);
  }
}

/** One method, whose messages stay bytes. */
function serviceOf(signal: string, name: string): ServiceDefinition {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    export: {
      path: `/opentelemetry.proto.collector.${signal}.v1.${name}Service/Export`,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  };
}

function exporter(options: OtlpGrpcOptions): Export {
  return (call, callback) => {
    const hold = options.gate.hold(call.request.length);
    if (hold === null) {
      callback(failure(GRPC.RESOURCE_EXHAUSTED, BUSY, BUSY_RETRY_S));
      return;
    }
    take(options, call)
      .then(
        body => callback(null, body),
        error => callback(error instanceof GrpcFailure ? error.status : failure(GRPC.INTERNAL, String(error), 0)),
      )
      .finally(() => hold.release());
  };
}

/** Carries what the callback is to get. */
class GrpcFailure extends Error {
  readonly status: ReturnType<typeof failure>;

  constructor(code: number, message: string, retryAfterS: number) {
    super(message);
    this.status = failure(code, message, retryAfterS);
  }
}

async function take(options: OtlpGrpcOptions, call: Call): Promise<Buffer> {
  const { metadata, request: body } = call;
  const tenant = await tenantOfCall(options.authenticator, call);
  const outcome = await options.gate.take('grpc', {
    tenant,
    contentType: 'application/x-protobuf',
    contentEncoding: '',
    userAgent: metadata.get('user-agent').join(' '),
    body,
  });
  if (outcome.status !== 200) {
    throw new GrpcFailure(grpcCode(outcome.status), outcome.message.trimEnd(), outcome.retryAfterS);
  }
  return Buffer.from(successBody('protobuf', outcome.partial));
}

/** Who sends, whether they may, and for which tenant. */
async function tenantOfCall(authenticator: Authenticator, call: Call): Promise<string> {
  const { metadata } = call;
  try {
    const principal = await authenticator.authenticate({
      authorization: metadata.get('authorization').join(','),
      certificate: certificateOf(call),
      address: call.getPeer().replace(/:\d+$/, ''),
    });
    if (!principal.rights.has('write')) {
      throw new GrpcFailure(GRPC.PERMISSION_DENIED, `${principal.name} may not do this: it takes the right "write"`, 0);
    }
    return tenantFor(principal, metadata.get('x-scope-orgid').join(','));
  } catch (error) {
    if (error instanceof GrpcFailure) throw error;
    if (error instanceof AuthError) throw new GrpcFailure(grpcCode(error.status), error.message, error.retryAfterS);
    const known = toApiError(error);
    throw new GrpcFailure(grpcCode(known.status), known.message, 0);
  }
}

/** Of a client whose certificate the listener found good: where it asks for one, it refuses all others. */
function certificateOf(call: Call): CertificateFacts | null {
  const peer = call.getAuthContext().sslPeerCertificate;
  if (peer?.fingerprint256 === undefined) return null;
  const name = peer.subject?.CN;
  return {
    commonName: (Array.isArray(name) ? name[0] : name) ?? '',
    fingerprint: peer.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function credentialsOf(tls: TlsSettings | null): ServerCredentials {
  if (tls === null) return ServerCredentials.createInsecure();
  const pair = { private_key: Buffer.from(tls.key as Buffer), cert_chain: Buffer.from(tls.cert as Buffer) };
  const roots = tls.ca === undefined ? null : Buffer.from(tls.ca as Buffer);
  // gRPC refuses clients without a certificate where it asks for one; where they may go without, it does not ask.
  return ServerCredentials.createSsl(roots, [pair], tls.rejectUnauthorized === true);
}

function later(signal: string): Export {
  return (_call, callback) =>
    callback(failure(GRPC.UNIMPLEMENTED, `${signal} are not taken by this version: metrics are`, 0));
}

function failure(
  code: number,
  message: string,
  retryAfterS: number,
): { code: number; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  if (retryAfterS > 0) {
    metadata.set('grpc-status-details-bin', Buffer.from(statusBody('protobuf', code, message, retryAfterS)));
  }
  return { code, details: message, metadata };
}

/** Sending remote-write requests to a server under test, as any other client would. */

import type { WriteSeries } from '../../src/ingest/remote-write/encode.ts';
import { encodeWriteRequest, encodeWriteRequestV2, type WriteMetadata } from '../../src/ingest/remote-write/encode.ts';
import { snappyCompress } from '../../src/lib/snappy.ts';

export type { WriteMetadata, WriteSeries } from '../../src/ingest/remote-write/encode.ts';

export const V1_TYPE = 'application/x-protobuf';
export const V2_TYPE = 'application/x-protobuf;proto=io.prometheus.write.v2.Request';

export interface WriteOptions {
  tenant?: string;
  v2?: boolean;
  metadata?: readonly WriteMetadata[];
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  body: string;
  headers: Headers;
}

/** One request; rejects only where no answer came. */
export async function remoteWrite(
  url: string,
  series: readonly WriteSeries[],
  options: WriteOptions = {},
): Promise<Answer> {
  const message =
    options.v2 === true ? encodeWriteRequestV2(series) : encodeWriteRequest(series, options.metadata ?? []);
  return postWrite(url, snappyCompress(message), options);
}

/** Any bytes to the write route. */
export async function postWrite(
  url: string,
  body: Uint8Array,
  options: WriteOptions & { headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(`${url}/api/v1/write`, {
    method: 'POST',
    body: body as never,
    headers: {
      'content-type': options.v2 === true ? V2_TYPE : V1_TYPE,
      'content-encoding': 'snappy',
      'x-prometheus-remote-write-version': options.v2 === true ? '2.0.0' : '0.1.0',
      ...(options.tenant === undefined ? {} : { 'x-scope-orgid': options.tenant }),
      ...options.headers,
    },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  return { status: response.status, body: await response.text(), headers: response.headers };
}

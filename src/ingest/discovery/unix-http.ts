/** UnixHttp: plain HTTP over a unix socket, for daemons that listen there. No settings: who may open the socket may ask. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { SdHttp, SdRequest, SdResponse } from './discoverer.ts';

export class UnixHttp implements SdHttp {
  private readonly socketPath: string;
  private readonly agent = new Agent({ keepAlive: true, maxFreeSockets: 2 });

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  async request(request: SdRequest & { bodyBytesMax: number }): Promise<SdResponse & { body: Uint8Array }> {
    const answer = await this.stream(request);
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body) {
      size += chunk.length;
      if (size > request.bodyBytesMax) {
        answer.close();
        throw new Error(`the answer is longer than ${request.bodyBytesMax} bytes`);
      }
      chunks.push(chunk);
    }
    return { ...answer, body: Buffer.concat(chunks, size) };
  }

  async stream(request: SdRequest): Promise<SdResponse & { body: AsyncIterable<Uint8Array>; close(): void }> {
    const { signal } = request;
    const { pathname, search, host } = new URL(request.url);
    // Nothing here unpacks.
    const { 'accept-encoding': _packed, ...headers } = request.headers ?? {};
    const response = await new Promise<IncomingMessage>((done, failed) => {
      const options = {
        socketPath: this.socketPath,
        path: pathname + search,
        headers: { host, ...headers },
        signal,
        agent: this.agent,
      };
      httpRequest(options, done).on('error', failed).end();
    });
    return {
      status: response.statusCode ?? 0,
      statusText: response.statusMessage ?? '',
      headers: response.headers,
      body: response,
      close: () => response.destroy(),
    };
  }

  close(): void {
    this.agent.destroy();
  }
}

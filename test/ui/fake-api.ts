/** The page on a server of its own with an API that answers from the query's text: what the browser tests talk to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { UiStatic } from '../../src/main/ui-static.ts';

export interface FakeServer {
  url: string;
  /** Paths with bodies, in the order of arrival. */
  requests: string[];
  close(): Promise<void>;
}

/** `emptyAnswers`: so many range queries find nothing at first, as on a fresh server. */
export async function startFake(options: { prefix?: string; emptyAnswers?: number } = {}): Promise<FakeServer> {
  const prefix = options.prefix ?? '';
  let emptyLeft = options.emptyAnswers ?? 0;
  const ui = new UiStatic();
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://x');
    if (!url.pathname.startsWith(`${prefix}/`)) return void response.writeHead(404).end();
    const path = url.pathname.slice(prefix.length);
    const page = ui.respond(path, request.headers);
    if (page) return void response.writeHead(page.status, page.headers).end(page.body ?? undefined);
    const params = new URLSearchParams(request.method === 'POST' ? await bodyOf(request) : url.search);
    requests.push(`${path}?${params}`);
    const query = params.get('query') ?? '';
    if (path === '/api/v1/query_range') {
      if (emptyLeft > 0) {
        emptyLeft--;
        return answer(response, 200, { resultType: 'matrix', result: [] });
      }
      return answerRange(response, query, params);
    }
    if (path === '/api/v1/query') return answer(response, 200, vector(Number(params.get('time'))));
    if (path === '/api/v1/status/buildinfo') return answer(response, 200, { version: '1.2.3-test' });
    if (path === '/api/v1/label/__name__/values') return answer(response, 200, ['node_load1', 'node_load5']);
    if (path === '/api/v1/metadata')
      return answer(response, 200, { node_load1: [{ type: 'gauge', help: 'The load.' }] });
    return answer(response, 200, []);
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}${prefix}/`,
    requests,
    close: () =>
      new Promise(done => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) text += piece;
  return text;
}

function answer(response: ServerResponse, status: number, data: unknown, extra: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ status: status === 200 ? 'success' : 'error', data, ...extra }));
}

function answerRange(response: ServerResponse, query: string, params: URLSearchParams): void {
  if (query.includes('[5m)')) {
    answer(response, 400, undefined, {
      errorType: 'bad_data',
      error: 'invalid parameter "query": 1:16: parse error: unexpected ")" in subquery or range',
    });
    return;
  }
  const start = Number(params.get('start'));
  const step = Number(params.get('step'));
  const steps = Math.floor((Number(params.get('end')) - start) / step) + 1;
  const series = (mode: string, height: number) => ({
    metric: { __name__: 'cpu', instance: 'host', mode },
    // A hole in the middle, as a stale series leaves it.
    values: Array.from({ length: steps }, (_, i): [number, string] => [
      start + i * step,
      String(height + (i % 7)),
    ]).filter((_, i) => i < steps * 0.4 || i > steps * 0.6),
  });
  const notes = query.includes('warn')
    ? { warnings: ['PromQL warning: mind this'], infos: ['PromQL info: know that'] }
    : {};
  answer(response, 200, { resultType: 'matrix', result: [series('user', 10), series('system', 30)] }, notes);
}

function vector(time: number): unknown {
  return {
    resultType: 'vector',
    result: [
      { metric: { __name__: 'cpu', mode: 'user' }, value: [time, '12.5'] },
      { metric: { __name__: 'cpu', mode: 'system' }, value: [time, 'NaN'] },
    ],
  };
}

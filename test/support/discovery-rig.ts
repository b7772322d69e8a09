/**
 * One discoverer at work for a test, with what it found as plain data. Time stands still but for `until`, which moves it on in small steps
 * while answers of servers in this process come in; so a test waits for what should happen and never for a number of seconds.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createDiscoverer } from '../../src/ingest/discovery/create.ts';
import type { Discoverer } from '../../src/ingest/discovery/discoverer.ts';
import { Provider } from '../../src/ingest/discovery/provider.ts';
import type { DiscoverySection } from '../../src/ingest/discovery/sections.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { HttpClient } from '../../src/lib/http-client/http-client.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { ManualClock } from './manual-clock.ts';

export interface DiscoveryRig {
  provider: Provider;
  /** Labels of all targets as `{"source": [{...}]}`, the group's joined in. */
  found(): Record<string, Record<string, string>[]>;
  addresses(): string[];
  attempts: { good: number; failed: number };
  /** Until `condition` holds; fails the test after half a minute. */
  until(condition: () => boolean, what?: string): Promise<void>;
}

/** Moves `clock` on while the event loop turns, until `condition` holds. */
export async function driveUntil(clock: Clock, condition: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (let turn = 0; !condition(); turn++) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what()}`);
    await setTimeout(2);
    if (clock instanceof ManualClock && !condition()) await clock.advance(turn < 50 ? 50 : 250);
  }
}

export function discoveryRig(
  t: TestContext,
  section: DiscoverySection,
  options: { discoverer?: Discoverer; clock?: Clock } = {},
): DiscoveryRig {
  const clock = options.clock ?? new ManualClock();
  const attempts = { good: 0, failed: 0 };
  const provider = new Provider({
    section,
    discoverer: options.discoverer ?? createDiscoverer(section),
    clock,
    log: silentLogger,
    openHttp: (settings, baseDir) => new HttpClient(settings, { baseDir, userAgent: 'test', clock: systemClock }),
    random: () => 0.5,
    onChange: () => {},
    onAttempt: failed => {
      attempts[failed ? 'failed' : 'good']++;
    },
    onRefused: () => {},
  });
  t.after(() => provider.stop());
  provider.start();
  const found = (): Record<string, Record<string, string>[]> =>
    Object.fromEntries(
      [...provider.current()].map(({ source, labels, targets }) => [
        source,
        targets.map(target => Object.fromEntries([...labels, ...target])),
      ]),
    );
  const addresses = (): string[] =>
    [...provider.current()].flatMap(({ targets }) => targets.map(target => target.get('__address__') ?? '')).sort();
  const until = (condition: () => boolean, what = 'what was awaited'): Promise<void> =>
    driveUntil(
      clock,
      condition,
      () => `${what}; found ${JSON.stringify(found()).slice(0, 2000)}, last error: ${provider.status.lastError}`,
    );
  return { provider, found, addresses, attempts, until };
}

export interface ScriptedServer {
  url: string;
  requests: { path: string; query: URLSearchParams; headers: IncomingMessage['headers'] }[];
  /** May be changed by the test. */
  answer: (request: IncomingMessage, response: ServerResponse, path: string, query: URLSearchParams) => void;
}

/** A server on loopback, or on a unix socket, that answers as it is told. */
export async function scriptedServer(
  t: TestContext,
  answer: ScriptedServer['answer'],
  socketPath?: string,
): Promise<ScriptedServer> {
  const script: ScriptedServer = { url: '', requests: [], answer };
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://server');
    script.requests.push({ path: url.pathname, query: url.searchParams, headers: request.headers });
    script.answer(request, response, url.pathname, url.searchParams);
  });
  await new Promise<void>(done => {
    if (socketPath === undefined) server.listen(0, '127.0.0.1', done);
    else server.listen(socketPath, done);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  if (socketPath === undefined) script.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return script;
}

export function sendJson(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

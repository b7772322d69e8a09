/**
 * A small Consul for tests: the catalog and health endpoints with blocking queries as its documentation has them. A query that names the
 * current index waits for a newer one (or its wait time, which tests cut short); restoring a snapshot sets the index back.
 */
import type { ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { type ScriptedServer, scriptedServer, sendJson } from './discovery-rig.ts';

export interface Instance {
  Node: Record<string, unknown>;
  Service: { Service: string; Tags?: string[] } & Record<string, unknown>;
  Checks: { CheckID: string; Status: string }[];
}

export class ConsulPeer {
  index = 10;
  instances: Instance[] = [];
  server: ScriptedServer = { url: '', requests: [], answer: () => {} };
  private waiting: { since: number; query: URLSearchParams; path: string; response: ServerResponse }[] = [];

  static async start(t: TestContext): Promise<ConsulPeer> {
    const peer = new ConsulPeer();
    peer.server = await scriptedServer(t, (_request, response, path, query) => {
      const since = Number(query.get('index') ?? 0);
      if (since > 0 && since === peer.index) peer.waiting.push({ since, query, path, response });
      else peer.tell(response, path, query);
    });
    return peer;
  }

  get blocked(): string[] {
    return this.waiting.map(({ path }) => path).sort();
  }

  /** A change of the catalog: whoever waits hears of it. */
  set(instances: Instance[], index = this.index + 1): void {
    this.instances = instances;
    this.index = index;
    this.release();
  }

  /** The wait time of all waiting queries is over. */
  release(): void {
    for (const { response, path, query } of this.waiting.splice(0)) this.tell(response, path, query);
  }

  private tell(response: ServerResponse, path: string, query: URLSearchParams): void {
    const headers = { 'x-consul-index': String(this.index) };
    if (path === '/v1/catalog/services') {
      const services: Record<string, string[]> = {};
      for (const { Service: service } of this.instances) {
        services[service.Service] = [...new Set([...(services[service.Service] ?? []), ...(service.Tags ?? [])])];
      }
      sendJson(response, services, headers);
      return;
    }
    const name = /^\/v1\/health\/service\/(.+)$/.exec(path)?.[1];
    if (name === undefined) {
      response.writeHead(404).end('no such path');
      return;
    }
    const tags = query.getAll('tag');
    const found = this.instances.filter(
      ({ Service: service }) =>
        service.Service === decodeURIComponent(name) && tags.every(tag => service.Tags?.includes(tag) === true),
    );
    sendJson(response, found, headers);
  }
}

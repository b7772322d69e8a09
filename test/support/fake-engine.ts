/** An engine that keeps what producers append as text and answers nothing: for tests of everything around the engine. */

import { ScrapeSessions } from '../../src/ingest/scrape/scrape-sessions.ts';
import type { Engine, EngineOptions } from '../../src/main/ports.ts';
import { RecordingSink } from './recording-sink.ts';

export class FakeEngine {
  readonly sink = new RecordingSink();
  options: EngineOptions | null = null;
  closed = false;
  /** As set by a reload. */
  logLevel = '';
  /** Resolves what `open` waits for: a replay that takes its time. */
  replay: Promise<void> = Promise.resolve();

  readonly open = async (options: EngineOptions): Promise<Engine> => {
    this.options = options;
    await this.replay;
    const nothing = { status: 204, headers: {}, body: '' };
    return {
      sink: this.sink,
      ingest: { ingest: async () => nothing, ingestStream: async () => nothing },
      scrapes: new ScrapeSessions({
        sink: this.sink,
        hasher: options.hasher,
        monotonic: () => options.clock.monotonic(),
      }),
      query: {
        handle: async request => ({
          status: 200,
          headers: { 'content-type': 'application/json' },
          body: Buffer.from(JSON.stringify({ status: 'success', data: request.endpoint })),
        }),
        activeQueries: async () => [],
        cancelQuery: async () => false,
      },
      tsdb: {
        status: async () => {
          throw new Error('not in this test');
        },
        blocks: async () => [],
        replay: () => ({ first: 0, last: 0, current: 0, state: 'done' }),
        deleteSeries: async () => {},
        cleanTombstones: async () => {},
        flush: async () => {},
        snapshot: async () => 'x',
      },
      cardinality: {
        view: async () => ({ series: 0, metrics: [], labels: [], pairs: [], values: [], targets: [] }),
        savings: async () => {
          throw new Error('not in this test');
        },
        senders: async () => [],
        tenants: async () => [],
      },
      threads: 0,
      corruptions: () => 0,
      setLogLevel: level => {
        this.logLevel = level;
      },
      setLimits: async () => {},
      close: async () => {
        this.closed = true;
      },
    };
  };
}

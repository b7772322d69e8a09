/**
 * Opens the metrics engine. Until the sharded engine is plugged in here, this one refuses everything, clearly: nothing is
 * acknowledged that is not kept.
 */
import { StorageFullError } from '../contracts/sample-sink.ts';
import type { Engine, OpenEngine } from './ports.ts';

const MESSAGE = 'this build has no metrics engine plugged in (src/main/engine.ts)';

export const openEngine: OpenEngine = async (): Promise<Engine> => {
  const refuse = async (): Promise<never> => {
    throw new StorageFullError(MESSAGE);
  };
  const response = { status: 503, headers: { 'content-type': 'text/plain; charset=utf-8' } };
  return {
    sink: { append: refuse },
    ingest: {
      ingest: async () => ({ ...response, body: MESSAGE }),
      ingestStream: async () => ({ ...response, body: MESSAGE }),
    },
    query: {
      handle: async () => ({ ...response, body: Buffer.from(MESSAGE) }),
      activeQueries: async () => [],
      cancelQuery: async () => false,
    },
    tsdb: {
      status: refuse,
      blocks: async () => [],
      replay: () => ({ first: 0, last: 0, current: 0, state: 'done' }),
      deleteSeries: refuse,
      cleanTombstones: refuse,
      snapshot: refuse,
    },
    threads: 0,
    corruptions: () => 0,
    close: async () => {},
  };
};

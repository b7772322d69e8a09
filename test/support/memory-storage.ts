/** The in-memory source as a store for promqltest scripts: in one piece, and spread over shards. */
import type { LeafSource } from '../../src/contracts/leaf-source.ts';
import { labelsKey } from '../../src/model/labels.ts';
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import { createShardedLeafSource } from '../../src/query/promql/leaf-merge.ts';
import { packLeafResult, unpackLeafResult } from '../../src/query/promql/leaf-pack.ts';
import type { StorageFactory } from '../../src/query/promqltest/runner.ts';
import { MemorySource } from './memory-source.ts';

const TENANT = 'promqltest';

export const memoryStorage: StorageFactory = async () => {
  const source = new MemorySource();
  return {
    append: async (labels, samples) => source.append(TENANT, labels, samples),
    settle: async () => createLocalLeafSource(source),
    close: async () => {},
  };
};

/** Series spread over several sources, plans and results passed as between threads. */
export function shardedMemoryStorage(shards: number): StorageFactory {
  return async () => {
    const sources = Array.from({ length: shards }, () => new MemorySource());
    return {
      append: async (labels, samples) => {
        let hash = 7;
        for (const c of labelsKey(labels)) hash = (hash * 31 + c.charCodeAt(0)) >>> 0;
        (sources[hash % shards] as MemorySource).append(TENANT, labels, samples);
      },
      settle: async () => createShardedLeafSource(sources.map(s => cloning(createLocalLeafSource(s)))),
      close: async () => {},
    };
  };
}

function cloning(inner: LeafSource): LeafSource {
  return {
    evalLeaf: async (tenant, plan) => {
      const { packed, transfer } = packLeafResult(await inner.evalLeaf(tenant, structuredClone(plan)));
      return unpackLeafResult(structuredClone(packed, { transfer }));
    },
    selectRaw: async (tenant, request) => structuredClone(await inner.selectRaw(tenant, structuredClone(request))),
  };
}

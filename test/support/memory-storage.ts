/** The in-memory source as a store for promqltest scripts. */
import { createLocalLeafSource } from '../../src/query/promql/leaf.ts';
import type { StorageFactory } from '../../src/query/promqltest/runner.ts';
import { MemorySource } from './memory-source.ts';

export const memoryStorage: StorageFactory = async () => {
  const source = new MemorySource();
  return {
    append: async (labels, samples) => source.append('promqltest', labels, samples),
    settle: async () => createLocalLeafSource(source),
    close: async () => {},
  };
};

/** The storages that `sightline promqltest` runs on. The engine's own are plugged in here. */
import type { RunScript } from './commands/promqltest.ts';
import { UsageError } from './options.ts';

export const runScript: RunScript = async () => {
  throw new UsageError('this build has no metrics engine plugged in (src/main/promqltest-storage.ts)');
};

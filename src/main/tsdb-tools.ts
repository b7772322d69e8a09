/** The functions behind `sightline tsdb`. The storage's own are plugged in here. */
import type { TsdbTools } from './commands/tsdb.ts';
import { UsageError } from './options.ts';

async function missing(): Promise<never> {
  throw new UsageError('this build has no metrics engine plugged in (src/main/tsdb-tools.ts)');
}

export const tsdbTools: TsdbTools = { inspect: missing, verify: missing, quarantine: missing, import: missing };

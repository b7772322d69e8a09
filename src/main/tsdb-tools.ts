/** The functions behind `sightline tsdb`. */
import type { TsdbTools } from './commands/tsdb.ts';
import { importPrometheus } from './tsdb-tools/import.ts';
import { inspect } from './tsdb-tools/inspect.ts';
import { quarantine } from './tsdb-tools/quarantine.ts';
import { verify } from './tsdb-tools/verify.ts';

export const tsdbTools: TsdbTools = { inspect, verify, quarantine, import: importPrometheus };

/**
 * Turns V8's middle compiler (Maglev) off, for all threads: imported first by every program.
 *
 * Maglev quiets signalling NaNs in element-wise copies of float columns, in some functions and not in others, from one
 * run to the next: a staleness marker would become an ordinary NaN (model/stale.ts; docs/decisions/0005-no-maglev.md).
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--no-maglev');

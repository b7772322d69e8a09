/**
 * Sets V8's compiler tiers, for all threads: imported first by every program.
 *
 * Its middle compiler (Maglev) is off: it quiets signalling NaNs in element-wise copies of float columns, in some functions and not in
 * others, from one run to the next: a staleness marker would become an ordinary NaN (model/stale.ts). With the middle tier
 * gone, the stock thresholds of the optimising tier are wrong: 3,000 calls in baseline code, made for a function that Maglev has
 * long taken over. docs/decisions/0005-compiler-tiers.md has both, with figures.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--no-maglev');
/** Calls (of a function's own length) before it is optimised; near Maglev's own threshold, which is 400. */
setFlagsFromString('--invocation-count-for-turbofan=150');
/** The same for a running loop. */
setFlagsFromString('--invocation-count-for-osr=60');

/**
 * The collector counts bytes outside its heap (typed arrays: nearly all that a shard holds) as part of what it sets its limits by. Without it,
 * 10 MB of short-lived buffers beside a heap of 14 MB begin a collection: scrapes of 70 bodies a second kept it running, a tenth to a fifth of
 * a core.
 */
setFlagsFromString('--external-memory-accounted-in-global-limit');

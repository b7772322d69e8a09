/**
 * Names to addresses, so that one name whose servers are silent does not hold up the others.
 *
 * The system's resolver blocks a thread of a small pool (four, shared with files and packing) for as long as it takes, half a
 * minute maybe. So a name is asked for once however many wait for it, an answer is kept for a while and given out again
 * while it is being renewed, and names that were slow before stand in line with each other, one at a time.
 */
import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

type Answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

interface Name {
  addresses: LookupAddress[];
  /** Monotonic ms: when the answer came. */
  at: number;
  waiters: Answer[];
  asking: boolean;
  slow: boolean;
}

/** Answers are fresh for so long, and good for a first try for so long. ms. */
const FRESH_MS = 5_000;
const USABLE_MS = 300_000;
const SLOW_MS = 2_000;
const NAMES_MAX = 10_000;

const names = new Map<string, Name>();
const slowLine: (() => void)[] = [];
let slowBusy = false;

export const lookup: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, (error, addresses) => {
    const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : (options.family ?? 0);
    const fitting = family === 0 ? addresses : addresses.filter(a => a.family === family);
    const first = fitting[0];
    if (error !== null || first === undefined) {
      callback(error ?? Object.assign(new Error(`${hostname} has no address of this kind`), { code: 'ENOTFOUND' }), '');
    } else if (options.all === true) callback(null, fitting);
    else callback(null, first.address, first.family);
  });
};

function resolve(hostname: string, done: Answer): void {
  let name = names.get(hostname);
  if (name === undefined) {
    if (names.size >= NAMES_MAX) for (const [key, old] of names) if (!old.asking) names.delete(key);
    name = { addresses: [], at: Number.NEGATIVE_INFINITY, waiters: [], asking: false, slow: false };
    names.set(hostname, name);
  }
  const age = performance.now() - name.at;
  if (age < USABLE_MS && name.addresses.length > 0) {
    const { addresses } = name;
    process.nextTick(() => done(null, addresses));
    if (age > FRESH_MS && !name.asking) ask(hostname, name);
    return;
  }
  name.waiters.push(done);
  if (!name.asking) ask(hostname, name);
}

function ask(hostname: string, name: Name): void {
  name.asking = true;
  if (name.slow) inSlowLine(freed => askSystem(hostname, name, freed));
  else askSystem(hostname, name, () => {});
}

function askSystem(hostname: string, name: Name, finished: () => void): void {
  const began = performance.now();
  systemLookup(hostname, { all: true, order: 'verbatim' }, (error, addresses) => {
    const now = performance.now();
    name.asking = false;
    name.slow = now - began > SLOW_MS;
    if (error === null) {
      name.addresses = addresses;
      name.at = now;
    } else if (now - name.at >= USABLE_MS) name.addresses = [];
    finished();
    for (const waiter of name.waiters.splice(0)) waiter(error, addresses ?? []);
  });
}

function inSlowLine(run: (freed: () => void) => void): void {
  const freed = (): void => {
    const next = slowLine.shift();
    if (next === undefined) slowBusy = false;
    else next();
  };
  const start = (): void => run(freed);
  if (slowBusy) slowLine.push(start);
  else {
    slowBusy = true;
    start();
  }
}

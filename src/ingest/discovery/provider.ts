/**
 * Provider: one section's discoverer at work, with the groups it has told of so far. It bounds what is told, keeps groups that did not
 * change as the objects they were (so that nobody need look at them again), counts failures and remembers the last.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorText, type Logger } from '../../lib/log.ts';
import { Backoff, type Discoverer, type DiscoveryContext, type SdHttp } from './discoverer.ts';
import type { DiscoverySection } from './sections.ts';
import { equalGroups, groupProblem, TARGETS_MAX, type TargetGroup } from './target-group.ts';

export interface ProviderOptions {
  section: DiscoverySection;
  discoverer: Discoverer;
  clock: Clock;
  log: Logger;
  openHttp: DiscoveryContext['openHttp'];
  random: () => number;
  /** Groups are other than they were, or all are there for the first time. */
  onChange(): void;
  onAttempt(failed: boolean): void;
  onRefused(): void;
}

export interface ProviderStatus {
  /** '' where the last attempts went well. */
  lastError: string;
  /** When something was last heard, and when it last failed; ms since the epoch, 0 = never. */
  lastOkMs: number;
  lastErrorMs: number;
}

/** Pause before a discoverer that gave up is started again, at most. */
const RESTART_MAX_MS = 30_000;
/** Errors of different scopes that are remembered. */
const SCOPES_MAX = 100;

export class Provider implements DiscoveryContext {
  readonly section: DiscoverySection;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Whether all that there is has been told once. */
  hasSynced = false;
  targetCount = 0;
  readonly status: ProviderStatus = { lastError: '', lastOkMs: 0, lastErrorMs: 0 };
  private readonly options: ProviderOptions;
  private readonly controller = new AbortController();
  private groups = new Map<string, TargetGroup>();
  private readonly errors = new Map<string, string>();

  constructor(options: ProviderOptions) {
    this.options = options;
    this.section = options.section;
    this.clock = options.clock;
    this.log = options.log;
    this.signal = this.controller.signal;
  }

  start(): void {
    void this.run();
  }

  stop(): void {
    this.controller.abort(new Error('no longer discovered'));
  }

  current(): Iterable<TargetGroup> {
    return this.groups.values();
  }

  openHttp(...args: Parameters<DiscoveryContext['openHttp']>): SdHttp {
    return this.options.openHttp(...args);
  }

  random(): number {
    return this.options.random();
  }

  replace(groups: readonly TargetGroup[]): void {
    if (this.signal.aborted) return;
    const next = new Map<string, TargetGroup>();
    this.put(next, groups);
    const same = next.size === this.groups.size && [...next].every(([source, g]) => this.groups.get(source) === g);
    this.groups = next;
    this.count();
    this.ok();
    const news = !same || !this.hasSynced;
    this.hasSynced = true;
    if (news) this.options.onChange();
  }

  merge(groups: readonly TargetGroup[]): void {
    if (this.signal.aborted) return;
    const before = new Map(groups.map(({ source }) => [source, this.groups.get(source)]));
    this.put(this.groups, groups);
    this.count();
    if ([...before].some(([source, group]) => this.groups.get(source) !== group)) this.options.onChange();
  }

  synced(): void {
    if (this.hasSynced || this.signal.aborted) return;
    this.hasSynced = true;
    this.options.onChange();
  }

  ok(scope = ''): void {
    if (this.signal.aborted) return;
    this.options.onAttempt(false);
    this.status.lastOkMs = this.clock.now();
    if (!this.errors.delete(scope)) return;
    this.tellErrors();
    if (this.errors.size === 0) this.log.info('discovery works again');
  }

  fail(error: unknown, scope = ''): void {
    if (this.signal.aborted) return;
    const text = errorText(error);
    this.options.onAttempt(true);
    this.status.lastErrorMs = this.clock.now();
    if (this.errors.get(scope) === text) return;
    if (this.errors.size < SCOPES_MAX || this.errors.has(scope)) this.errors.set(scope, text);
    this.tellErrors();
    this.log.warn({ error: text }, 'discovery fails; the targets found before are kept');
  }

  sleep(ms: number): Promise<void> {
    return new Promise(done => {
      if (this.signal.aborted) return done();
      let timer: Timer | null = null;
      const end = (): void => {
        timer?.cancel();
        this.signal.removeEventListener('abort', end);
        done();
      };
      timer = this.clock.after(ms, end);
      this.signal.addEventListener('abort', end, { once: true });
    });
  }

  private async run(): Promise<void> {
    const backoff = new Backoff(this, RESTART_MAX_MS);
    while (!this.signal.aborted) {
      try {
        await this.options.discoverer.run(this);
      } catch (error) {
        this.fail(error);
      }
      if (!this.signal.aborted) await backoff.pause();
    }
  }

  private tellErrors(): void {
    this.status.lastError = [...this.errors.values()].slice(0, 5).join('; ');
  }

  /** An equal group stays the object it was; what breaks a bound is left out. */
  private put(into: Map<string, TargetGroup>, groups: readonly TargetGroup[]): void {
    for (const group of groups) {
      const problem = groupProblem(group);
      const scope = `bounds of ${group.source}`;
      if (problem !== '') {
        this.options.onRefused();
        this.fail(new Error(problem), scope);
        continue;
      }
      if (this.errors.has(scope)) this.ok(scope);
      const known = this.groups.get(group.source);
      if (group.targets.length === 0) into.delete(group.source);
      else into.set(group.source, known !== undefined && equalGroups(known, group) ? known : group);
    }
    let total = 0;
    for (const [source, { targets }] of into) {
      total += targets.length;
      if (total <= TARGETS_MAX) continue;
      into.delete(source);
      this.options.onRefused();
      this.fail(new Error(`more than ${TARGETS_MAX} targets; the others are left out`), 'bounds');
    }
    if (total <= TARGETS_MAX && this.errors.has('bounds')) this.ok('bounds');
  }

  private count(): void {
    this.targetCount = 0;
    for (const group of this.groups.values()) this.targetCount += group.targets.length;
  }
}

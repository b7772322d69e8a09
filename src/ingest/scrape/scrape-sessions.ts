/**
 * ScrapeSessions: the ScrapeStore of one worker: a session per target, with builders and compiled relabel rules shared between them.
 */
import type { SampleSink } from '../../contracts/sample-sink.ts';
import type { ScrapeOutcome, ScrapeResult, ScrapeSpec, ScrapeStore } from '../../contracts/scrape-store.ts';
import type { IdentityHasher } from '../../lib/identity-hash.ts';
import type { TenantId } from '../../model/tenant.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { compileRelabel, type Relabel } from './relabel.ts';
import { ScrapeSession } from './scrape-session.ts';

export interface ScrapeSessionsDeps {
  sink: SampleSink;
  hasher: IdentityHasher;
  /** Monotonic ms. */
  monotonic(): number;
}

/** Builders kept for the next scrapes; as many are in use as scrapes are read at once. */
const BUILDERS_KEPT = 16;
/** A builder that has held more series than this is not kept. */
const BUILDER_SERIES_KEPT = 100_000;
/** Compiled rule sets kept; as many are in use as there are jobs. */
const RELABELS_KEPT = 1000;

export class ScrapeSessions implements ScrapeStore {
  private readonly deps: ScrapeSessionsDeps;
  private readonly sessions = new Map<number, ScrapeSession>();
  private readonly relabels = new Map<string, Relabel>();
  private readonly builders: BatchBuilder[] = [];
  private readonly spare: BatchBuilder;

  constructor(deps: ScrapeSessionsDeps) {
    this.deps = deps;
    this.spare = new BatchBuilder(deps.hasher, deps.hasher.tenantSeed(''));
  }

  open(id: number, spec: ScrapeSpec): void {
    const session = new ScrapeSession(spec, {
      seed: this.deps.hasher.tenantSeed(spec.tenant),
      relabel: this.relabelOf(spec),
      monotonic: () => this.deps.monotonic(),
      newBuilder: () => {
        this.spare.reset(this.deps.hasher.tenantSeed(spec.tenant));
        return this.spare;
      },
      withBuilder: fill => this.withBuilder(spec.tenant, fill),
    });
    this.sessions.set(id, session);
  }

  scrape(id: number, result: ScrapeResult): Promise<ScrapeOutcome> {
    const session = this.sessions.get(id);
    if (session === undefined) return Promise.reject(new Error(`BUG: scrape target ${id} is not open`));
    return session.scrape(result);
  }

  async close(id: number, goneAtMs: number): Promise<void> {
    const session = this.sessions.get(id);
    this.sessions.delete(id);
    if (session !== undefined && goneAtMs !== 0) await session.end(goneAtMs);
  }

  /** What is kept of the targets' series. */
  get memoryBytes(): number {
    let bytes = 0;
    for (const session of this.sessions.values()) bytes += session.memoryBytes;
    return bytes;
  }

  /** Equal rules are compiled once: a job's targets all have the same. */
  private relabelOf({ settings }: ScrapeSpec): Relabel {
    const { metricRelabelConfigs: rules, nameValidation } = settings;
    const key = JSON.stringify([nameValidation, rules]);
    let relabel = this.relabels.get(key);
    if (relabel === undefined) {
      if (this.relabels.size >= RELABELS_KEPT) this.relabels.clear();
      relabel = compileRelabel(rules, nameValidation === 'legacy');
      this.relabels.set(key, relabel);
    }
    return relabel;
  }

  private async withBuilder(tenant: TenantId, fill: (builder: BatchBuilder) => Promise<void>): Promise<void> {
    const { hasher, sink } = this.deps;
    const seed = hasher.tenantSeed(tenant);
    const builder = this.builders.pop() ?? new BatchBuilder(hasher, seed);
    try {
      builder.reset(seed);
      await fill(builder);
      await sink.append(tenant, builder.finish());
    } finally {
      if (this.builders.length < BUILDERS_KEPT && builder.seriesCount <= BUILDER_SERIES_KEPT) {
        this.builders.push(builder);
      }
    }
  }
}

/**
 * LateEngine: the engine's ports before there is an engine. The sockets listen from the start (so that a taken port is told at
 * once, and health checks are answered during replay); until the engine is open, and again once the process drains, these
 * ports answer 503 with Retry-After.
 */
import type { Config } from '../config/schema.ts';
import type { ReplayStatus, TsdbAdmin } from '../contracts/admin.ts';
import type { CardinalityExplorer } from '../contracts/cardinality.ts';
import type { IngestResponse, IngestService } from '../contracts/ingest-service.ts';
import type { QueryResponse, QueryService } from '../contracts/query-service.ts';
import { type AppendResult, type SampleSink, ShuttingDownError } from '../contracts/sample-sink.ts';
import type { ScrapeStore } from '../contracts/scrape-store.ts';
import type { LogLevel } from '../lib/log.ts';
import type { Engine } from './ports.ts';
import type { ReplayProgress } from './replay-progress.ts';

const HEADERS = { 'content-type': 'application/json', 'retry-after': '2' };

export class LateEngine {
  private engine: Engine | null = null;
  private readonly progress: ReplayProgress;
  private why = 'starting: what was acknowledged before is being read back';

  readonly sink: SampleSink = {
    append: async (tenant, batch): Promise<AppendResult> => this.need().sink.append(tenant, batch),
  };

  readonly ingest: IngestService = {
    ingest: async (request, body): Promise<IngestResponse> =>
      this.engine?.ingest.ingest(request, body) ?? {
        status: 503,
        headers: { 'retry-after': '2' },
        body: `${this.why}\n`,
      },
    ingestStream: async (request, body): Promise<IngestResponse> =>
      this.engine?.ingest.ingestStream(request, body) ?? {
        status: 503,
        headers: { 'retry-after': '2' },
        body: `${this.why}\n`,
      },
  };

  readonly scrapes: ScrapeStore = {
    open: (id, spec) => this.need().scrapes.open(id, spec),
    scrape: async (id, result) => this.need().scrapes.scrape(id, result),
    close: async (id, goneAtMs) => this.need().scrapes.close(id, goneAtMs),
  };

  readonly query: QueryService = {
    handle: async (request, signal): Promise<QueryResponse> => {
      if (this.engine !== null) return this.engine.query.handle(request, signal);
      const body = JSON.stringify({ status: 'error', errorType: 'unavailable', error: this.why });
      return { status: 503, headers: { ...HEADERS }, body: Buffer.from(body) };
    },
    activeQueries: async tenant => this.engine?.query.activeQueries(tenant) ?? [],
    cancelQuery: async (tenant, id) => this.engine?.query.cancelQuery(tenant, id) ?? false,
  };

  readonly tsdb: TsdbAdmin = {
    status: async (tenant, limit) => this.need().tsdb.status(tenant, limit),
    blocks: async tenant => this.need().tsdb.blocks(tenant),
    replay: (): ReplayStatus => this.engine?.tsdb.replay() ?? this.progress.status(),
    deleteSeries: async (tenant, matchers, minT, maxT) => this.need().tsdb.deleteSeries(tenant, matchers, minT, maxT),
    cleanTombstones: async () => this.need().tsdb.cleanTombstones(),
    flush: async () => this.need().tsdb.flush(),
    snapshot: async options => this.need().tsdb.snapshot(options),
  };

  constructor(progress: ReplayProgress) {
    this.progress = progress;
  }

  readonly cardinality: CardinalityExplorer = {
    view: async (tenant, scope) => this.need().cardinality.view(tenant, scope),
    savings: async (tenant, yaml, budgetMs) => this.need().cardinality.savings(tenant, yaml, budgetMs),
    senders: async tenant => this.need().cardinality.senders(tenant),
    tenants: async () => this.need().cardinality.tenants(),
  };

  get open(): boolean {
    return this.engine !== null;
  }

  get threads(): number {
    return this.engine?.threads ?? 0;
  }

  corruptions(): number {
    return this.engine?.corruptions() ?? 0;
  }

  setLogLevel(level: LogLevel): void {
    this.engine?.setLogLevel(level);
  }

  /** Nothing where there is no engine (yet): it is opened with the limits of then. */
  async setLimits(limits: Config['limits']): Promise<void> {
    await this.engine?.setLimits(limits);
  }

  attach(engine: Engine): void {
    this.engine = engine;
  }

  async close(): Promise<void> {
    const engine = this.engine;
    this.engine = null;
    this.why = 'shutting down';
    await engine?.close();
  }

  private need(): Engine {
    if (this.engine === null) throw new ShuttingDownError(this.why);
    return this.engine;
  }
}

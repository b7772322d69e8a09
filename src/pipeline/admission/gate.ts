/**
 * AdmissionGate: the SeriesGate of one shard: label rules first (they hold whatever the load), then memory, then the tenant's and
 * the metric's number of series, as all shards together count them on the AdmissionBoard.
 *
 * What a scrape says about itself (`up` and its companions) is let in somewhat above the limit: a target must not vanish from view
 * because another one has exploded.
 */
import type { SeriesGate, SeriesRefusal } from '../../contracts/series-gate.ts';
import { SELF_TENANT, type TenantId } from '../../model/tenant.ts';
import type { AdmissionBoard } from './board.ts';
import { LabelRules } from './label-rules.ts';
import type { LimitsTable, TenantLimits } from './limits.ts';

/** Series of a scrape's own report may exceed the tenant's limit by this share of it, and by this many at least. */
const REPORT_SHARE = 0.05;
const REPORT_MIN = 1000;
const REPORT_METRICS = ['up', 'scrape_'].map(text => new TextEncoder().encode(text));
/** Series that left before refused ones are tried again. */
const GONE_PER_EPOCH = 1000;

const encoder = new TextEncoder();

interface TenantGate {
  rules: LabelRules;
  limits: TenantLimits;
  row: number;
}

export class AdmissionGate implements SeriesGate {
  epoch = 0;
  private readonly board: AdmissionBoard;
  private readonly limits: LimitsTable;
  private readonly tenants = new Map<TenantId, TenantGate>();
  private version = -1;
  private goneCount = 0;
  /** Of the last `admit`. */
  private tenant: TenantId = '';
  private gate: TenantGate;
  private metricRow = -1;
  /** Whose row `metricRow` is. */
  private lastRow = -2;
  private lastLength = -1;
  private readonly lastMetric = new Uint8Array(256);
  private bytes: Uint8Array = new Uint8Array(0);
  private refusal: SeriesRefusal | null = null;

  constructor(board: AdmissionBoard, limits: LimitsTable) {
    this.board = board;
    this.limits = limits;
    this.gate = this.of('');
  }

  /** To be called every so often: other shards' series may have left, memory may have come back. */
  nextEpoch(): void {
    this.epoch++;
  }

  admit(tenant: TenantId, bytes: Uint8Array, start: number, end: number): SeriesRefusal | null {
    const gate = this.of(tenant);
    this.tenant = tenant;
    this.gate = gate;
    this.bytes = bytes;
    this.refusal = gate.rules.check(bytes, start, end);
    if (this.refusal !== null) return this.refusal;
    this.findMetric(gate, bytes);
    this.refusal = this.count(tenant, gate);
    return this.refusal;
  }

  withdraw(): void {
    this.board.addSeries(this.gate.row, -1);
    this.board.addMetricSeries(this.metricRow, -1);
  }

  found(tenant: TenantId, metric: string, series: number): void {
    const { row } = this.of(tenant);
    const name = encoder.encode(metric);
    this.board.addSeries(row, series);
    this.board.addMetricSeries(this.board.metricRow(row, name, 0, name.length), series);
  }

  gone(tenant: TenantId, metric: string): void {
    this.found(tenant, metric, -1);
    if (++this.goneCount % GONE_PER_EPOCH === 0) this.epoch++;
  }

  explain(): string {
    const { rules } = this.gate;
    const metric = rules.metric(this.bytes);
    const { limits } = this.gate;
    const tenant = JSON.stringify(this.tenant);
    switch (this.refusal) {
      case null:
        return '';
      case 'too_many_series':
        return (
          `metric ${metric}: a new series, and tenant ${tenant} has its ${limits.activeSeries} active series ` +
          '(limits.active_series). See /sightline/api/v1/cardinality for what brings them; drop labels with relabel rules, or ' +
          'raise the limit. Series without samples for 24 h make room'
        );
      case 'too_many_series_of_metric':
        return (
          `metric ${metric}: a new series, and it has its ${limits.seriesPerMetric} active series (limits.series_per_metric). See ` +
          '/sightline/api/v1/cardinality for the label with the most values; drop it with a relabel rule, or raise the limit'
        );
      case 'memory_pressure':
        return (
          `metric ${metric}: a new series, and memory is short; tenant ${tenant} uses its fair share or more of it. See ` +
          '/sightline/api/v1/cardinality for what brings the series; give the server more memory (limits.memory), or send fewer series'
        );
      default:
        return rules.explain(this.refusal, this.bytes);
    }
  }

  /** The metric's row; neighbouring new series are mostly of the same one. */
  private findMetric({ rules, row }: TenantGate, bytes: Uint8Array): void {
    const { metricStart, metricEnd } = rules;
    const length = metricEnd - metricStart;
    if (row === this.lastRow && length === this.lastLength) {
      let i = 0;
      while (i < length && this.lastMetric[i] === bytes[metricStart + i]) i++;
      if (i === length) return;
    }
    this.metricRow = this.board.metricRow(row, bytes, metricStart, metricEnd);
    this.lastRow = row;
    this.lastLength = length <= this.lastMetric.length ? length : -1;
    if (this.lastLength >= 0) for (let i = 0; i < length; i++) this.lastMetric[i] = bytes[metricStart + i] as number;
  }

  /** Counts the series, or says why not. */
  private count(tenant: TenantId, gate: TenantGate): SeriesRefusal | null {
    const { activeSeries, seriesPerMetric } = gate.limits;
    const { board } = this;
    const pressure = board.pressure;
    if (pressure > 0 && (pressure === 3 || board.isAboveShare(gate.row)) && tenant !== SELF_TENANT)
      return 'memory_pressure';
    const room = activeSeries > 0 && this.isReport(gate.rules) ? Math.max(REPORT_MIN, activeSeries * REPORT_SHARE) : 0;
    // Counted first, so that two shards cannot both take the last place.
    if (board.addSeries(gate.row, 1) >= activeSeries + room && activeSeries > 0) {
      board.addSeries(gate.row, -1);
      return 'too_many_series';
    }
    if (board.addMetricSeries(this.metricRow, 1) >= seriesPerMetric && seriesPerMetric > 0) {
      this.withdraw();
      return 'too_many_series_of_metric';
    }
    return null;
  }

  private isReport({ metricStart, metricEnd }: LabelRules): boolean {
    const [up, scrape] = REPORT_METRICS as [Uint8Array, Uint8Array];
    const length = metricEnd - metricStart;
    return (length === up.length && this.startsWith(up)) || (length > scrape.length && this.startsWith(scrape));
  }

  private startsWith(text: Uint8Array): boolean {
    const at = this.gate.rules.metricStart;
    for (let i = 0; i < text.length; i++) if (this.bytes[at + i] !== text[i]) return false;
    return true;
  }

  private of(tenant: TenantId): TenantGate {
    if (this.version !== this.limits.version) {
      this.version = this.limits.version;
      this.tenants.clear();
      this.epoch++;
    }
    let gate = this.tenants.get(tenant);
    if (gate === undefined) {
      const row = tenant === '' ? -1 : this.board.row(tenant);
      const limits = this.limits.of(tenant);
      gate = { rules: new LabelRules(limits), limits, row };
      if (this.tenants.size >= TENANTS_KNOWN_MAX) this.tenants.clear();
      this.tenants.set(tenant, gate);
    }
    return gate;
  }
}

const TENANTS_KNOWN_MAX = 10_000;

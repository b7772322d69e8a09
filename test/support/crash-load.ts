/**
 * CrashLoad: what several connections write while a server is killed under them, and what must be there afterwards.
 *
 * Every sample has its place (tenant, series, timestamp) once, and a value that follows from a number, so that the check can be
 * exact in both directions: what was acknowledged is there with its value, and what is there was sent. A request without an answer
 * may be there or not, in parts; half of these are sent again later, as real senders do.
 *
 * Each request brings counters, late samples, staleness markers, NaNs with a payload and other odd floats, native histograms
 * (integer, float, custom buckets), series never seen before, exemplars, and metadata; some are deleted again.
 */
import assert from 'node:assert/strict';
import type { FloatHistogram } from '../../src/model/histogram.ts';
import { Random } from './random.ts';
import { type Contents, floatText, histogramText, keyOf, readContents } from './read-all.ts';
import { remoteWrite, type WriteMetadata, type WriteSeries } from './remote-write.ts';

export const TENANTS = ['default', 'acme'] as const;

const COUNTERS = 12;
const FRESH = 4;
/** Between two requests of a writer in the time of the samples. ms. */
const STEP_MS = 5000;
/** How far back late samples reach. ms. */
const LATE_MS = 3 * 3_600_000;
/** Odd floats by their bits: signed zero, infinities, a NaN with a payload, the smallest denormal. */
const ODD_BITS = [
  0x8000000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8dead0000beefn,
  0x0000000000000001n,
  0x7fefffffffffffffn,
];

type State = 'sent' | 'kept' | 'deleted' | 'maybe deleted';

interface Held {
  text: string;
  state: State;
}

interface Pending {
  series: WriteSeries[];
  metadata: WriteMetadata[];
  v2: boolean;
  rows: Held[];
  exemplars: string[];
}

export interface Target {
  url: string;
}

interface Writer {
  index: number;
  tenant: string;
  random: Random;
  nowMs: number;
  requests: number;
  /** Timestamps taken in the late series. */
  late: Set<number>;
  unanswered: Pending[];
}

export class CrashLoad {
  readonly seed: number;
  acknowledgedSamples = 0;
  acknowledgedRequests = 0;
  unansweredRequests = 0;
  deletes = 0;
  /** Called in the same turn in which an acknowledgement arrives: the moment for a kill that shows what came too early. */
  onAcknowledged: () => void = () => {};
  private readonly held = new Map<string, Map<string, Map<number, Held>>>();
  private readonly exemplars = new Map<string, Set<string>>();
  private readonly metadata = new Map<string, Map<string, string>>();
  private readonly writers: Writer[];
  private readonly baseMs: number;

  constructor(seed: number, writers: number, baseMs: number) {
    this.seed = seed;
    this.baseMs = baseMs;
    for (const tenant of TENANTS) {
      this.held.set(tenant, new Map());
      this.exemplars.set(tenant, new Set());
      this.metadata.set(tenant, new Map());
    }
    this.writers = Array.from({ length: writers }, (_, index) => ({
      index,
      tenant: TENANTS[index % TENANTS.length] as string,
      random: new Random(seed * 31 + index),
      nowMs: baseMs,
      requests: 0,
      late: new Set<number>(),
      unanswered: [],
    }));
  }

  /** All writers at once, each one request after the other, until `stopped`; whatever fails then is unanswered. */
  async run(target: Target, stopped: () => boolean, requestsMax = Number.POSITIVE_INFINITY): Promise<void> {
    await Promise.all(this.writers.map(w => this.write(w, target, stopped, requestsMax)));
  }

  private async write(w: Writer, target: Target, stopped: () => boolean, requestsMax: number): Promise<void> {
    const again = w.unanswered.splice(0).filter(() => w.random.chance(0.5));
    for (let n = 0; n < requestsMax && !stopped(); n++) {
      const request = again.pop() ?? this.next(w);
      if (!(await this.send(w, target, request, stopped))) return;
      if (w.random.chance(0.03) && !(await this.erase(w, target, stopped))) return;
    }
  }

  private async send(w: Writer, target: Target, p: Pending, stopped: () => boolean): Promise<boolean> {
    let status: number;
    let body: string;
    try {
      ({ status, body } = await remoteWrite(target.url, p.series, {
        tenant: w.tenant,
        v2: p.v2,
        metadata: p.metadata,
      }));
    } catch (error) {
      // Only a kill may cut a request off.
      if (!stopped()) throw error;
      this.unansweredRequests++;
      w.unanswered.push(p);
      return false;
    }
    if (status === 503) {
      w.unanswered.push(p);
      return true;
    }
    assert.equal(status, 204, `writer ${w.index}: ${status} ${body}`);
    for (const row of p.rows) row.state = 'kept';
    this.acknowledgedSamples += p.rows.length;
    this.onAcknowledged();
    this.acknowledgedRequests++;
    for (const e of p.exemplars) (this.exemplars.get(w.tenant) as Set<string>).add(e);
    for (const m of p.metadata) this.metadata.get(w.tenant)?.set(m.metric, m.help);
    return true;
  }

  /** Deletes a span of the series made for it. */
  private async erase(w: Writer, target: Target, stopped: () => boolean): Promise<boolean> {
    const labels = erasable(w);
    const samples = this.series(w.tenant, labels);
    if (samples.size === 0) return true;
    const from = w.nowMs - w.random.between(1, 20) * STEP_MS;
    const to = from + w.random.between(1, 10) * STEP_MS;
    const doomed = [...samples].filter(([t]) => t >= from && t <= to);
    const match = encodeURIComponent(`load_erasable{writer="${w.index}"}`);
    const path = `/api/v1/admin/tsdb/delete_series?match[]=${match}&start=${from / 1000}&end=${to / 1000}`;
    // A request without an answer may still be applied later by nobody: the process is gone. So 'maybe' until the answer.
    for (const [, h] of doomed) if (h.state === 'kept') h.state = 'maybe deleted';
    let status: number;
    try {
      const response = await fetch(target.url + path, { method: 'POST', headers: { 'x-scope-orgid': w.tenant } });
      status = response.status;
      await response.text();
    } catch (error) {
      if (!stopped()) throw error;
      return false;
    }
    if (status === 503) return true;
    assert.equal(status, 204, 'delete_series');
    this.deletes++;
    for (const [, h] of doomed) if (h.state === 'maybe deleted') h.state = 'deleted';
    return true;
  }

  private series(tenant: string, labels: Record<string, string>): Map<number, Held> {
    const all = this.held.get(tenant) as Map<string, Map<number, Held>>;
    const key = keyOf(labels);
    let samples = all.get(key);
    if (samples === undefined) {
      samples = new Map();
      all.set(key, samples);
    }
    return samples;
  }

  private next(w: Writer): Pending {
    const { random } = w;
    w.requests++;
    w.nowMs += STEP_MS - random.int(1000);
    const p: Pending = { series: [], metadata: [], v2: random.chance(0.3), rows: [], exemplars: [] };
    const own = (name: string, more: Record<string, string> = {}): Record<string, string> => ({
      __name__: `load_${name}`,
      writer: String(w.index),
      ...more,
    });
    for (let i = 0; i < COUNTERS; i++) {
      this.floats(w, p, own('counter_total', { i: String(i) }), [[w.nowMs, w.requests * (i + 1)]]);
    }
    for (let i = 0; i < FRESH; i++) {
      const labels = own('fresh', { id: `${w.requests}-${i}`, pod: `pod-${w.requests}` });
      this.floats(w, p, labels, [[w.nowMs, random.int(1e9) / 8]]);
    }
    this.floats(w, p, own('gauge'), [
      [w.nowMs - 2, random.unit()],
      [w.nowMs - 1, random.unit() * 1e-300],
      [w.nowMs, -random.unit() * 1e300],
    ]);
    this.bits(w, p, own('odd'), w.nowMs, random.pick(ODD_BITS));
    if (random.chance(0.5)) this.bits(w, p, own('flappy'), w.nowMs, 0x7ff0000000000002n);
    else this.floats(w, p, own('flappy'), [[w.nowMs, w.requests]]);
    this.floats(w, p, erasable(w), [[w.nowMs, w.requests]]);
    this.lateRow(w, p, own('late'));
    this.histogram(w, p, own('hist', { kind: 'int' }), integerHistogram(w.requests));
    this.histogram(w, p, own('hist', { kind: 'float' }), floatHistogram(random));
    this.histogram(w, p, own('hist', { kind: 'custom' }), customHistogram(w.requests));
    this.exemplar(w, p);
    if (!p.v2) {
      const metric = `load_meta_${w.index}_${w.requests % 40}`;
      p.metadata.push({ type: 1 + ((w.requests % 40) % 3), metric, help: `Help of ${metric}.`, unit: '' });
    }
    return p;
  }

  private lateRow(w: Writer, p: Pending, labels: Record<string, string>): void {
    const rows: [number, number][] = [];
    for (let i = 0; i < 3; i++) {
      const t = Math.max(this.baseMs - LATE_MS, w.nowMs - w.random.int(LATE_MS));
      if (w.late.has(t)) continue;
      w.late.add(t);
      rows.push([t, w.requests * 10 + i]);
    }
    this.floats(w, p, labels, rows);
  }

  private floats(w: Writer, p: Pending, labels: Record<string, string>, rows: readonly [number, number][]): void {
    const values = Float64Array.from(rows, ([, v]) => v);
    this.push(
      w,
      p,
      labels,
      rows.map(([t]) => t),
      values,
    );
  }

  private bits(w: Writer, p: Pending, labels: Record<string, string>, t: number, bits: bigint): void {
    const values = new Float64Array(1);
    new BigUint64Array(values.buffer)[0] = bits;
    this.push(w, p, labels, [t], values);
  }

  private push(
    w: Writer,
    p: Pending,
    labels: Record<string, string>,
    timestamps: readonly number[],
    values: Float64Array,
  ): void {
    p.series.push({ labels: flat(labels), timestamps, values });
    const samples = this.series(w.tenant, labels);
    timestamps.forEach((t, i) => {
      this.hold(p, samples, t, floatText(values, i));
    });
  }

  private histogram(w: Writer, p: Pending, labels: Record<string, string>, histogram: FloatHistogram): void {
    p.series.push({
      labels: flat(labels),
      timestamps: [],
      values: new Float64Array(0),
      histograms: [{ timestampMs: w.nowMs, histogram }],
    });
    this.hold(p, this.series(w.tenant, labels), w.nowMs, histogramText(histogram));
  }

  private hold(p: Pending, samples: Map<number, Held>, t: number, text: string): void {
    assert.ok(!samples.has(t), 'BUG: the load has a place twice');
    const held: Held = { text, state: 'sent' };
    samples.set(t, held);
    p.rows.push(held);
  }

  private exemplar(w: Writer, p: Pending): void {
    const at = w.random.int(COUNTERS);
    const row = p.series[at] as WriteSeries;
    const id = `${w.index}-${w.requests}`;
    const e = { labels: ['trace_id', id], value: w.requests / 4, timestampMs: w.nowMs };
    p.series[at] = { ...row, exemplars: [e] };
    p.exemplars.push(`${id}@${e.timestampMs}=${e.value}`);
  }

  /** Compares all that a server has with what was sent. Returns the number of acknowledged samples looked at. */
  async verify(target: Target, what: string, samplesOnly = false): Promise<number> {
    let checked = 0;
    for (const tenant of TENANTS) {
      const found = await readContents(target, tenant, 'load_.+');
      checked += this.compare(tenant, found, `${what}, seed ${this.seed}, tenant ${tenant}`);
      if (samplesOnly) continue;
      await this.verifyExemplars(target, tenant, what);
      await this.verifyMetadata(target, tenant, what);
    }
    return checked;
  }

  private compare(tenant: string, found: Contents, what: string): number {
    const wrong: string[] = [];
    let checked = 0;
    const expected = this.held.get(tenant) as Map<string, Map<number, Held>>;
    for (const [key, samples] of expected) {
      const there = found.get(key);
      for (const [t, { text, state }] of samples) {
        const have = there?.get(t);
        if (state === 'kept') checked++;
        if (state === 'kept' && have !== text) wrong.push(`lost or altered: ${key} ${t}: ${text}, found ${have}`);
        if (state === 'deleted' && have !== undefined) wrong.push(`deleted, yet there: ${key} ${t}: ${have}`);
      }
    }
    for (const [key, samples] of found) {
      const sent = expected.get(key);
      for (const [t, have] of samples) {
        if (sent?.get(t)?.text !== have) wrong.push(`never sent so: ${key} ${t}: ${have}, sent ${sent?.get(t)?.text}`);
      }
    }
    assert.equal(wrong.length, 0, `${what}: ${wrong.length} samples wrong\n${wrong.slice(0, 10).join('\n')}`);
    return checked;
  }

  private async verifyExemplars(target: Target, tenant: string, what: string): Promise<void> {
    const range = `start=${this.baseMs / 1000 - 10}&end=${this.baseMs / 1000 + 1e6}`;
    const data = await getJson<{ seriesLabels: unknown; exemplars: ExemplarJson[] }[]>(
      target,
      `/api/v1/query_exemplars?query=load_counter_total&${range}`,
      tenant,
    );
    const found = new Set<string>();
    for (const { exemplars } of data) {
      for (const e of exemplars) found.add(`${e.labels.trace_id}@${Math.round(e.timestamp * 1000)}=${Number(e.value)}`);
    }
    const lost = [...(this.exemplars.get(tenant) as Set<string>)].filter(e => !found.has(e));
    assert.deepEqual(lost.slice(0, 5), [], `${what}: ${lost.length} exemplars lost of tenant ${tenant}`);
  }

  private async verifyMetadata(target: Target, tenant: string, what: string): Promise<void> {
    const data = await getJson<Record<string, { help: string }[]>>(target, '/api/v1/metadata', tenant);
    for (const [metric, help] of this.metadata.get(tenant) as Map<string, string>) {
      assert.equal(data[metric]?.[0]?.help, help, `${what}: metadata of ${metric}`);
    }
  }

  /** Answers to a fixed set of queries over what has been written so far. */
  async answers(target: Target): Promise<Map<string, unknown>> {
    const end = Math.max(...this.writers.map(w => w.nowMs)) / 1000;
    const paths = [
      `query?query=${q('sum by (writer) (load_counter_total)')}&time=${end}`,
      `query?query=${q('count(load_fresh)')}&time=${end}`,
      `query?query=${q('load_flappy')}&time=${end}`,
      `query?query=${q('histogram_count(sum(load_hist{kind="int"}))')}&time=${end}`,
      `query_range?query=${q('max by (i) (rate(load_counter_total[1m]))')}&start=${end - 600}&end=${end}&step=15`,
      `query_range?query=${q('count_over_time(load_late[30m])')}&start=${end - 7200}&end=${end}&step=60`,
      `query_range?query=${q('load_erasable')}&start=${end - 600}&end=${end}&step=5`,
      `series?match[]=${q('load_fresh')}`,
      'labels',
      'label/pod/values',
    ];
    const out = new Map<string, unknown>();
    for (const tenant of TENANTS) {
      for (const path of paths) out.set(`${tenant} ${path}`, sorted(await getJson(target, `/api/v1/${path}`, tenant)));
    }
    return out;
  }
}

interface ExemplarJson {
  labels: { trace_id: string };
  value: string;
  timestamp: number;
}

const q = encodeURIComponent;

/** Series have no order in an instant query. */
function sorted(data: unknown): unknown {
  const rows = Array.isArray(data) ? data : (data as { result?: unknown }).result;
  return Array.isArray(rows) ? rows.map(row => JSON.stringify(row)).sort() : data;
}

async function getJson<T>(target: Target, path: string, tenant: string): Promise<T> {
  const response = await fetch(target.url + path, { headers: { 'x-scope-orgid': tenant } });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 500)}`);
  return (JSON.parse(text) as { data: T }).data;
}

function erasable(w: Writer): Record<string, string> {
  return { __name__: 'load_erasable', writer: String(w.index) };
}

function flat(labels: Record<string, string>): string[] {
  return Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flat();
}

function integerHistogram(n: number): FloatHistogram {
  return {
    schema: 2,
    zeroThreshold: 0.001,
    zeroCount: n,
    count: n * 7 + 6,
    sum: n * 12.5,
    positiveSpans: [-2, 2, 3, 1],
    positiveBuckets: [n, 2 * n + 1, 2 * n + 5],
    negativeSpans: [0, 1],
    negativeBuckets: [n],
    customValues: [],
    counterResetHint: 0,
    integer: true,
  };
}

function floatHistogram(random: Random): FloatHistogram {
  const buckets = [random.unit(), random.unit() * 10];
  const zeroCount = random.unit();
  return {
    schema: 0,
    zeroThreshold: 1e-9,
    zeroCount,
    count: zeroCount + (buckets[0] as number) + (buckets[1] as number),
    sum: random.unit() * 100,
    positiveSpans: [random.between(-3, 3), 2],
    positiveBuckets: buckets,
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [],
    counterResetHint: 3,
    integer: false,
  };
}

function customHistogram(n: number): FloatHistogram {
  return {
    schema: -53,
    zeroThreshold: 0,
    zeroCount: 0,
    count: n + 3,
    sum: n * 2,
    positiveSpans: [0, 3],
    positiveBuckets: [n, 1, 2],
    negativeSpans: [],
    negativeBuckets: [],
    customValues: [0.5, 1],
    counterResetHint: 0,
    integer: true,
  };
}

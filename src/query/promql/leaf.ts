/**
 * The local LeafSource: evaluates leaf plans over one thread's SampleSource.
 *
 * Series by series: the samples are read into one reused buffer, the function runs over all windows of the grid into one
 * output row, and where the plan asks for an aggregate the row is folded into its group at once and reused. So a query
 * over many series holds one series' samples at a time. It gives the event loop a turn every few milliseconds.
 */
import type { LeafPlan, LeafResult, LeafRow, LeafSource, RawSeries } from '../../contracts/leaf-source.ts';
import {
  newSampleBuffer,
  type SampleBuffer,
  type SampleSource,
  type SeriesSet,
} from '../../contracts/sample-source.ts';
import { TimeSlice } from '../../lib/yield.ts';
import {
  type FloatHistogram,
  HINT_COUNTER_RESET,
  HINT_NOT_COUNTER_RESET,
  HINT_UNKNOWN,
} from '../../model/histogram.ts';
import { detectReset, withHint } from '../../model/histogram-math.ts';
import { dropLabels, getLabel, type Labels, METRIC_NAME } from '../../model/labels.ts';
import type { TenantId } from '../../model/tenant.ts';
import { newPresence, newValues } from './columns.ts';
import { kernelFor, type RangeKernel } from './functions/kernels.ts';
import { LeafNotes, NOTES } from './functions/notes.ts';
import { FLOAT, HISTOGRAM, RangeCall, type RangeFunction } from './functions/range-call.ts';
import { INSTANT_FUNCTIONS, RANGE_FUNCTIONS } from './functions/range-table.ts';
import { dropStale, SeriesWindow, spanOfWindows, type WindowSet, windowsOfPlan } from './functions/window.ts';
import { Grouping, PartialAggregate } from './leaf-aggregate.ts';
import { tooManySamples } from './leaf-merge.ts';

/** The labels that say what a metric is, and that a changed value no longer deserves. */
export const METADATA_LABELS: ReadonlySet<string> = new Set([METRIC_NAME, '__type__', '__unit__']);

/** A row takes room at every step, also where it has no sample: sparse rows may take this many times what dense ones may. */
const SLOTS_PER_SAMPLE = 4;

export function createLocalLeafSource(source: SampleSource): LeafSource {
  return {
    evalLeaf: (tenant, plan, signal) => evalLeaf(source, tenant, plan, signal),
    selectRaw: (tenant, request, signal) => selectRaw(source, tenant, request, signal),
  };
}

async function evalLeaf(
  source: SampleSource,
  tenant: TenantId,
  plan: LeafPlan,
  signal?: AbortSignal,
): Promise<LeafResult> {
  const windows = windowsOfPlan(plan);
  if (windows.steps === 0) return { rows: [], warnings: [], infos: [], samplesRead: 0, peakSamples: 0 };
  const set = await source.select(
    tenant,
    {
      matchers: plan.matchers,
      ...spanOfWindows(windows),
      hints: { stepMs: plan.stepMs, rangeMs: plan.rangeMs, func: plan.func === 'instant' ? '' : plan.func },
    },
    signal,
  );
  try {
    const slice = new TimeSlice();
    const run = new LeafRun(plan, windows);
    if (!(await run.overAll(set, slice, signal))) {
      // Histograms under a partial sum: once more, as plain rows.
      const plain = new LeafRun({ ...plan, aggregate: null }, windows);
      await plain.overAll(set, slice, signal);
      return { ...plain.result(set.infos), declined: true };
    }
    return run.result(set.infos);
  } finally {
    set.close();
  }
}

/** Buffers of finished runs for the next: a small query would otherwise spend a tenth of its time on fresh ones. */
const idleBuffers: SampleBuffer[] = [];
const IDLE_BUFFERS_MAX = 4;
/** A buffer that grew beyond this is let go of: 1 MB. */
const IDLE_ROWS_MAX = 65_536;

function giveBack(buffer: SampleBuffer): void {
  if (idleBuffers.length === IDLE_BUFFERS_MAX || buffer.timestamps.length > IDLE_ROWS_MAX) return;
  // No store's histograms are held on to.
  buffer.length = buffer.numbers = buffer.histogramLength = 0;
  buffer.startTimestamps = buffer.histogramStartTimestamps = null;
  buffer.histogramTimestamps = [];
  buffer.histograms = [];
  idleBuffers.push(buffer);
}

class LeafRun {
  private readonly plan: LeafPlan;
  private readonly notes = new LeafNotes();
  private readonly window: SeriesWindow;
  private readonly call: RangeCall;
  private readonly func: RangeFunction;
  private readonly kernel: RangeKernel | null;
  private readonly isInstant: boolean;
  private readonly keepStale: boolean;
  private readonly steps: number;
  private readonly rows: LeafRow[] = [];
  private readonly grouping: Grouping | null;
  private readonly partial: PartialAggregate | null;
  /** Output of the series at hand; handed over with the row where rows are kept, reused where they are folded. */
  private values: Float64Array;
  private present: Uint8Array;
  private histograms: (FloatHistogram | null)[] | null = null;
  private samplesRead = 0;
  /** Where asked for. */
  private readonly perStep: Float64Array | null;
  private points = 0;
  private peak = 0;

  constructor(plan: LeafPlan, windows: WindowSet) {
    this.plan = plan;
    this.steps = windows.steps;
    this.window = new SeriesWindow(windows);
    this.call = new RangeCall(this.window, plan.args, this.notes);
    this.isInstant = plan.rangeMs === 0;
    const func = (this.isInstant ? INSTANT_FUNCTIONS : RANGE_FUNCTIONS).get(plan.func);
    if (func === undefined) throw new Error(`BUG: no leaf function ${plan.func}`);
    this.func = func;
    this.kernel = plan.extended === null ? kernelFor(plan.func) : null;
    // An instant selector stops at a staleness marker; windows and interpolation look past it.
    this.keepStale = this.isInstant && plan.extended !== 'smoothed';
    const aggregate = plan.aggregate;
    this.grouping = aggregate === null ? null : new Grouping(aggregate.without, aggregate.labels);
    this.partial = aggregate === null ? null : new PartialAggregate(aggregate.op, this.steps);
    this.values = new Float64Array(this.steps);
    this.present = new Uint8Array(this.steps);
    this.perStep = plan.countSteps === true ? new Float64Array(this.steps) : null;
  }

  /** False where the aggregate has to be given up. */
  async overAll(set: SeriesSet, slice: TimeSlice, signal?: AbortSignal): Promise<boolean> {
    const buffer = idleBuffers.pop() ?? newSampleBuffer();
    try {
      for (let i = 0; i < set.count; i++) {
        if ((i & 15) === 15 && slice.due()) await slice.pause(signal);
        set.read(i, buffer);
        const count = buffer.length + buffer.histogramLength;
        if (count === 0) continue;
        this.samplesRead += count;
        this.notePeak(count);
        const any = this.evalSeries(set.labels(i), buffer);
        if (this.perStep !== null) this.countSteps(this.perStep);
        if (any && !this.take(set.labels(i))) return false;
      }
      return true;
    } finally {
      giveBack(buffer);
    }
  }

  result(sourceInfos: readonly string[]): LeafResult {
    for (const info of sourceInfos) this.notes.info(info, 'source');
    return {
      rows: this.partial === null ? this.rows : this.partial.rows,
      warnings: this.notes.warnings,
      infos: this.notes.infos,
      samplesRead: this.samplesRead,
      peakSamples: this.peak,
      ...(this.perStep === null ? {} : { samplesPerStep: this.perStep }),
    };
  }

  /** An instant selector takes the one sample that it found, everything else all of its window. */
  private countSteps(counts: Float64Array): void {
    if (!this.isInstant) {
      addWindowCounts(this.window, counts);
      return;
    }
    for (let i = 0; i < this.steps; i++) {
      const h = this.histograms?.[i] ?? null;
      counts[i] = (counts[i] as number) + (this.present[i] as number) + (h === null ? 0 : histogramSize(h));
    }
  }

  private notePeak(reading: number): void {
    const live = this.points + reading;
    if (live > this.peak) this.peak = live;
    if (live > this.plan.maxSamples) throw tooManySamples(this.plan.maxSamples);
  }

  /** Fills values, present and histograms. False where the series has nothing in any window. */
  private evalSeries(labels: Labels, buffer: SampleBuffer): boolean {
    if (!this.keepStale) dropStale(buffer);
    const w = this.window;
    if (this.plan.histogramStats === true && buffer.histogramLength > 1) resolveResetHints(buffer);
    w.attach(labels, buffer, this.plan.startTimestamps === true);
    w.locate();
    this.histograms = null;
    if (this.kernel !== null && w.hn === 0 && (w.st === null || !this.kernel.needsStarts)) {
      return this.kernel.run(w, this.plan.args, this.values, this.present);
    }
    return this.evalGeneral();
  }

  private evalGeneral(): boolean {
    const { call, func, values, present } = this;
    let any = false;
    for (let i = 0; i < this.steps; i++) {
      call.moveTo(i);
      const outcome = func(call);
      present[i] = outcome === FLOAT ? 1 : 0;
      if (outcome === FLOAT) values[i] = call.value;
      else if (outcome === HISTOGRAM) {
        this.histograms ??= new Array<FloatHistogram | null>(this.steps).fill(null);
        this.histograms[i] = call.histogram;
      }
      if (outcome !== 0) any = true;
    }
    return any;
  }

  private take(labels: Labels): boolean {
    if (this.plan.func === 'rate' || this.plan.func === 'increase') this.noteNonCounter(labels);
    const named = this.plan.dropName ? dropLabels(labels, METADATA_LABELS) : labels;
    if (this.partial !== null) return this.fold(this.partial, named);
    let points = 0;
    for (let i = 0; i < this.steps; i++) points += this.present[i] as number;
    if (this.histograms !== null) for (const h of this.histograms) if (h !== null) points += histogramSize(h);
    this.points += points;
    this.notePeak(0);
    if (this.rows.length * this.steps > SLOTS_PER_SAMPLE * this.plan.maxSamples)
      throw tooManySamples(this.plan.maxSamples);
    this.rows.push({
      labels: named,
      values: this.values,
      present: this.present,
      histograms: this.histograms,
      compensation: null,
      counts: null,
    });
    this.values = newValues(this.steps);
    this.present = newPresence(this.steps);
    return true;
  }

  private fold(partial: PartialAggregate, labels: Labels): boolean {
    const grouping = this.grouping as Grouping;
    const op = partial.op;
    if (this.histograms !== null && (op === 'sum' || op === 'avg')) return false;
    const before = grouping.labels.length;
    const group = grouping.indexOf(labels);
    const groupLabels = grouping.labels[group] as Labels;
    if (group === before) this.points += this.steps;
    partial.fold(group, groupLabels, this.values, this.present);
    if (this.histograms === null) return true;
    for (let i = 0; i < this.steps; i++) {
      if (this.histograms[i] === null) continue;
      if (op === 'count' || op === 'group') partial.foldHistogramStep(group, groupLabels, i);
      else this.notes.info(NOTES.histogramIgnoredInAggregation(op), 'aggregate');
    }
    return true;
  }

  private noteNonCounter(labels: Labels): void {
    const name = getLabel(labels, METRIC_NAME);
    if (name === '' || this.present.indexOf(1) < 0) return;
    if (this.plan.typeAndUnitLabels === true) {
      const type = getLabel(labels, '__type__');
      if (type !== 'counter' && type !== 'histogram') this.notes.info(NOTES.possibleNonCounterLabel(name, type));
    } else if (
      !name.endsWith('_total') &&
      !name.endsWith('_sum') &&
      !name.endsWith('_count') &&
      !name.endsWith('_bucket')
    ) {
      this.notes.info(NOTES.possibleNonCounter(name));
    }
  }
}

/** Says of every histogram but the first whether the counter restarted before it. */
function resolveResetHints(buffer: SampleBuffer): void {
  let prev = buffer.histograms[0] as FloatHistogram;
  for (let i = 1; i < buffer.histogramLength; i++) {
    const h = buffer.histograms[i] as FloatHistogram;
    if (h.counterResetHint === HINT_UNKNOWN) {
      buffer.histograms[i] = withHint(h, detectReset(h, prev) ? HINT_COUNTER_RESET : HINT_NOT_COUNTER_RESET);
    }
    prev = h;
  }
}

/** Adds the samples that each window holds; histograms by their size. */
export function addWindowCounts(w: SeriesWindow, counts: Float64Array): void {
  for (let i = 0; i < counts.length; i++) {
    let n = (w.hi[i] as number) - (w.lo[i] as number);
    for (let k = w.hlo[i] as number; k < (w.hhi[i] as number); k++) n += histogramSize(w.h[k] as FloatHistogram);
    counts[i] = (counts[i] as number) + n;
  }
}

/** What a histogram counts against the sample limit: its size in 16-byte samples. */
export function histogramSize(h: FloatHistogram): number {
  const numbers = h.positiveBuckets.length + h.negativeBuckets.length + h.customValues.length;
  return Math.trunc((184 + 8 * numbers + 4 * (h.positiveSpans.length + h.negativeSpans.length) + 8) / 16);
}

async function selectRaw(
  source: SampleSource,
  tenant: TenantId,
  request: Parameters<LeafSource['selectRaw']>[1],
  signal?: AbortSignal,
): Promise<RawSeries[]> {
  const { matchers, minT, maxT, stepMs, rangeMs, func, maxSamples } = request;
  const set = await source.select(tenant, { matchers, minT, maxT, hints: { stepMs, rangeMs, func } }, signal);
  try {
    const slice = new TimeSlice();
    const buffer = newSampleBuffer();
    const out: RawSeries[] = [];
    let samples = 0;
    for (let i = 0; i < set.count; i++) {
      if ((i & 15) === 15 && slice.due()) await slice.pause(signal);
      set.read(i, buffer);
      if (request.keepStale !== true) dropStale(buffer);
      if (buffer.length + buffer.histogramLength === 0) continue;
      samples += buffer.length;
      for (let k = 0; k < buffer.histogramLength; k++) samples += histogramSize(buffer.histograms[k] as FloatHistogram);
      if (samples > maxSamples) throw tooManySamples(maxSamples);
      out.push(copyRaw(set.labels(i), buffer));
    }
    return out;
  } finally {
    set.close();
  }
}

function copyRaw(labels: Labels, b: SampleBuffer): RawSeries {
  return {
    labels,
    timestamps: b.timestamps.slice(0, b.length),
    values: b.values.slice(0, b.length),
    startTimestamps: b.startTimestamps?.slice(0, b.length) ?? null,
    histogramTimestamps: b.histogramTimestamps.slice(0, b.histogramLength),
    histograms: b.histograms.slice(0, b.histogramLength),
    histogramStartTimestamps: b.histogramStartTimestamps?.slice(0, b.histogramLength) ?? null,
  };
}

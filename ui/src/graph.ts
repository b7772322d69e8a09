/**
 * The graph: uPlot for the lines, a legend of our own below (names, values under the pointer; click shows one series
 * alone, Ctrl+click one more or less), a box at the pointer that names the nearest line. Dragging selects a range to
 * zoom into; a double click zooms out.
 */
import uPlot from 'uplot';
import type { ChartData } from './chart-data.ts';
import { element } from './dom.ts';
import { formatMetric, formatShort, formatTicks } from './format.ts';
import { Legend } from './legend.ts';
import { seriesColor } from './palette.ts';
import { formatMoment } from './time-range.ts';

const HEIGHT_MIN = 220;
const HEIGHT_MAX = 440;
/** Pixels around a line within which the pointer means it. */
const NEAR_PX = 30;
/** Shorter drags are clicks. */
const DRAG_MIN_PX = 6;
const FADED = 0.22;

export interface GraphEvents {
  onZoom(startMs: number, endMs: number): void;
  onZoomOut(): void;
}

export class Graph {
  private readonly chart: uPlot;
  private readonly data: ChartData;
  private readonly legend: Legend;
  private readonly tip = element('div', { className: 'tip', hidden: true });
  private readonly resize: ResizeObserver;
  private focused: number | null = null;

  constructor(parent: HTMLElement, data: ChartData, events: GraphEvents) {
    this.data = data;
    const holder = element('div', { className: 'chart' });
    parent.append(holder);
    this.chart = new uPlot(this.options(holder, events), this.columns(), holder);
    this.chart.over.append(this.tip);
    this.chart.over.addEventListener('dblclick', events.onZoomOut);
    this.legend = new Legend(parent, data.series, {
      onShow: shown => {
        this.chart.batch(() => shown.forEach((show, i) => void this.chart.setSeries(i + 1, { show }, false)));
      },
      onPoint: index => this.chart.setSeries(index === null ? null : index + 1, { focus: true }, false),
    });
    this.resize = new ResizeObserver(() => {
      const width = holder.clientWidth;
      if (width > 0 && width !== this.chart.width) this.chart.setSize({ width, height: chartHeight(width) });
    });
    this.resize.observe(holder);
  }

  /** Which series are shown, to carry over to the graph that replaces this one. */
  get shown(): ReadonlySet<string> | null {
    return this.legend.shown;
  }

  restoreShown(names: ReadonlySet<string>): void {
    this.legend.restoreShown(names);
  }

  destroy(): void {
    this.resize.disconnect();
    this.chart.destroy();
  }

  private columns(): uPlot.AlignedData {
    return [this.data.times, ...this.data.series.map(series => series.values)];
  }

  private options(holder: HTMLElement, events: GraphEvents): uPlot.Options {
    const css = getComputedStyle(document.documentElement);
    const color = (name: string): string => css.getPropertyValue(name).trim();
    const font = `11px ${css.getPropertyValue('--sans').trim() || 'sans-serif'}`;
    const axis: uPlot.Axis = {
      stroke: color('--faint'),
      font,
      grid: { stroke: color('--grid'), width: 1 },
      ticks: { show: false },
    };
    const first = this.data.times[0] as number;
    const last = this.data.times.at(-1) as number;
    return {
      width: Math.max(200, holder.clientWidth),
      height: chartHeight(holder.clientWidth),
      padding: [12, 26, 0, 0],
      legend: { show: false },
      scales: { x: { time: true, range: [first, last] }, y: { range: yRange } },
      axes: [
        { ...axis, size: 38, gap: 8, space: 90, values: timeTicks },
        { ...axis, size: axisWidth, values: (_, ticks) => formatTicks(ticks) },
      ],
      series: [
        {},
        ...this.data.series.map((series, i) => ({
          label: formatMetric(series.metric),
          stroke: seriesColor(i),
          width: 1.5,
          spanGaps: false,
          points: { size: 4, fill: seriesColor(i) },
        })),
      ],
      focus: { alpha: FADED },
      cursor: {
        focus: { prox: NEAR_PX },
        points: { size: 7 },
        drag: { x: true, y: false, setScale: false, dist: DRAG_MIN_PX },
        bind: { dblclick: () => () => null },
      },
      hooks: {
        setCursor: [() => this.showPointer()],
        setSeries: [(_, index) => this.focus(index === null ? null : index - 1)],
        setSelect: [
          chart => {
            if (chart.select.width < DRAG_MIN_PX) return;
            const at = (px: number): number => chart.posToVal(px, 'x') * 1000;
            events.onZoom(at(chart.select.left), at(chart.select.left + chart.select.width));
            chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    };
  }

  private focus(index: number | null): void {
    this.focused = index !== null && index >= 0 ? index : null;
    this.legend.highlight(this.focused);
    this.showPointer();
  }

  /** Values under the pointer, in the legend and in the box beside it. */
  private showPointer(): void {
    if (!this.chart) return;
    const { idx, left = -1, top = 0 } = this.chart.cursor;
    const time = typeof idx === 'number' && left >= 0 ? this.data.times[idx] : undefined;
    if (time === undefined || typeof idx !== 'number') {
      this.legend.showLast();
      this.tip.hidden = true;
      return;
    }
    const span = ((this.data.times.at(-1) as number) - (this.data.times[0] as number)) * 1000;
    const moment = formatMoment(time * 1000, span);
    this.legend.showAt(idx, moment);
    const series = this.focused === null ? undefined : this.data.series[this.focused];
    const value = series?.values[idx];
    this.tip.replaceChildren(element('div', { className: 'tip-time', textContent: moment }));
    if (series && typeof value === 'number') {
      this.tip.append(
        element('div', { className: 'tip-value', textContent: formatShort(value) }),
        element('div', { className: 'tip-name', textContent: formatMetric(series.metric) }),
      );
    }
    this.tip.hidden = false;
    this.placeTip(left, top);
  }

  private placeTip(left: number, top: number): void {
    const { clientWidth, clientHeight } = this.chart.over;
    const { offsetWidth, offsetHeight } = this.tip;
    const x = left + 14 + offsetWidth > clientWidth ? Math.max(0, left - 14 - offsetWidth) : left + 14;
    const y = Math.min(Math.max(0, top - offsetHeight / 2), Math.max(0, clientHeight - offsetHeight));
    this.tip.style.transform = `translate(${x}px, ${y}px)`;
  }
}

function chartHeight(width: number): number {
  return Math.round(Math.min(HEIGHT_MAX, Math.max(HEIGHT_MIN, width * 0.36)));
}

/** A little room above and below; a flat line lies in the middle; data near zero keeps its zero line. */
function yRange(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) return [0, 1];
  if (min === max) {
    const room = min === 0 ? 1 : Math.abs(min) * 0.5;
    return min > 0 ? [Math.max(0, min - room), max + room] : [min - room, max + room];
  }
  const room = (max - min) * 0.06;
  const low = min >= 0 && min - room < (max - min) * 0.5 ? 0 : min - room;
  return [low, max + room];
}

/** As wide as the longest label. */
function axisWidth(chart: uPlot, values: string[] | null): number {
  if (!values || values.length === 0) return 48;
  const longest = Math.max(...values.map(value => value.length));
  return Math.max(40, Math.ceil(longest * 6.6) + 18 + (chart.width < 500 ? -6 : 0));
}

const DAY_S = 86_400;

/** Clock times; where the day changes, the day. */
function timeTicks(_: uPlot, ticks: number[]): string[] {
  const distance = ticks.length > 1 ? (ticks[1] as number) - (ticks[0] as number) : 0;
  let dayBefore = '';
  return ticks.map((tick, i) => {
    const date = new Date(tick * 1000);
    const day = date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' });
    const changed = i > 0 && day !== dayBefore;
    dayBefore = day;
    if (distance >= DAY_S) return day;
    const clock = date.toLocaleTimeString(undefined, {
      hour: '2-digit',
      minute: '2-digit',
      ...(distance < 60 ? { second: '2-digit' } : {}),
      hour12: false,
    });
    return changed ? `${clock}\n${day}` : clock;
  });
}

/**
 * The legend below the graph: a row a series with colour, name and the value under the pointer (or the last one). Labels
 * that all series share stand once above. Long lists begin with the first rows and unfold on demand.
 */
import type { ChartSeries } from './chart-data.ts';
import { element } from './dom.ts';
import { commonLabels, formatMetric, formatShort } from './format.ts';
import { seriesColor } from './palette.ts';

const ROWS_AT_FIRST = 40;

export interface LegendEvents {
  onShow(shown: boolean[]): void;
  /** The pointer is on a row, or on none. */
  onPoint(index: number | null): void;
}

export class Legend {
  private readonly series: ChartSeries[];
  private readonly names: string[];
  private readonly events: LegendEvents;
  private readonly rows: HTMLElement[] = [];
  private readonly values: HTMLElement[] = [];
  private readonly moment = element('span', { className: 'legend-moment' });
  private visible: boolean[];

  constructor(parent: HTMLElement, series: ChartSeries[], events: LegendEvents) {
    this.series = series;
    this.names = series.map(one => formatMetric(one.metric));
    this.events = events;
    this.visible = series.map(() => true);
    const common = commonLabels(series.map(one => one.metric));
    const list = element('div', { className: series.length === 1 ? 'legend is-single' : 'legend' });
    const without = new Set(Object.keys(common));
    series.forEach((one, i) => void list.append(this.row(one, i, without)));
    const head = element('div', { className: 'legend-head' }, this.moment);
    if (without.size > 0) {
      head.prepend(
        element(
          'span',
          { className: 'legend-common' },
          'all: ',
          element('code', { textContent: formatMetric(common) }),
        ),
      );
    }
    parent.append(head, list);
    if (series.length > ROWS_AT_FIRST) parent.append(this.unfold(list));
    this.showLast();
  }

  /** Names of the shown series; null while all are. */
  get shown(): ReadonlySet<string> | null {
    if (this.visible.every(Boolean)) return null;
    return new Set(this.names.filter((_, i) => this.visible[i]));
  }

  restoreShown(names: ReadonlySet<string>): void {
    const visible = this.names.map(name => names.has(name));
    if (visible.some(Boolean)) this.show(visible);
  }

  showAt(index: number, moment: string): void {
    this.moment.textContent = moment;
    this.series.forEach((one, i) => void this.setValue(i, one.values[index] ?? null));
  }

  showLast(): void {
    this.moment.textContent = 'last value';
    this.series.forEach((one, i) => void this.setValue(i, one.last));
  }

  highlight(index: number | null): void {
    this.rows.forEach((row, i) => void row.classList.toggle('is-near', i === index));
  }

  private setValue(i: number, value: number | null): void {
    (this.values[i] as HTMLElement).textContent = value === null ? '–' : formatShort(value);
  }

  private row(series: ChartSeries, index: number, without: ReadonlySet<string>): HTMLElement {
    const short = formatMetric(series.metric, without);
    const value = element('span', { className: 'legend-value' });
    const row = element(
      'button',
      {
        className: 'legend-row',
        type: 'button',
        title: `${this.names[index]}\nClick: only this. Ctrl+click: one more or less.`,
      },
      element('span', { className: 'swatch', style: `background:${seriesColor(index)}` }),
      element('span', {
        className: 'legend-name',
        textContent: short === '{}' && this.series.length === 1 ? (this.names[0] as string) : short,
      }),
      value,
    );
    row.addEventListener('click', event => this.choose(index, event.ctrlKey || event.metaKey || event.shiftKey));
    row.addEventListener('pointerenter', () => this.events.onPoint(index));
    row.addEventListener('pointerleave', () => this.events.onPoint(null));
    this.rows.push(row);
    this.values.push(value);
    return row;
  }

  private choose(index: number, oneMore: boolean): void {
    const visible = this.visible;
    const alone = visible.every((show, i) => show === (i === index));
    if (oneMore) this.show(visible.map((show, i) => (i === index ? !show : show)));
    else this.show(visible.map((_, i) => alone || i === index));
  }

  private show(visible: boolean[]): void {
    this.visible = visible;
    this.rows.forEach((row, i) => void row.classList.toggle('is-off', !visible[i]));
    this.events.onShow(visible);
  }

  private unfold(list: HTMLElement): HTMLElement {
    list.classList.add('is-folded');
    this.rows.slice(ROWS_AT_FIRST).forEach(row => void row.classList.add('is-beyond'));
    const button = element('button', {
      className: 'link',
      type: 'button',
      textContent: `Show all ${this.series.length} series`,
    });
    button.addEventListener('click', () => {
      list.classList.remove('is-folded');
      button.remove();
    });
    return button;
  }
}

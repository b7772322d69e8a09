/** The table tab: the answer of an instant query, a row a series, values in full. */
import type { HistogramValue, MatrixItem, QueryData, VectorItem } from './api.ts';
import { parseValue } from './chart-data.ts';
import { element } from './dom.ts';
import { formatMetric, type Metric } from './format.ts';

const ROWS_AT_FIRST = 500;
const SAMPLES_AT_FIRST = 200;

interface Row {
  metric: Metric;
  value: string;
  /** For sorting; NaN sorts last. */
  number: number;
}

export function showTable(parent: HTMLElement, data: QueryData): void {
  if (data.resultType === 'scalar' || data.resultType === 'string') {
    parent.append(
      element(
        'div',
        { className: 'lone' },
        element('span', { className: 'lone-kind', textContent: data.resultType }),
        data.result[1],
      ),
    );
    return;
  }
  if (data.resultType === 'vector') new Table(parent, data.result.map(vectorRow), false);
  else new Table(parent, data.result.map(matrixRow), true);
}

function vectorRow(item: VectorItem): Row {
  if (item.histogram) {
    const [, histogram] = item.histogram;
    return { metric: item.metric, value: describeHistogram(histogram), number: parseValue(histogram.count) };
  }
  const text = item.value?.[1] ?? '';
  return { metric: item.metric, value: text, number: parseValue(text) };
}

/** A range selector's raw samples, one a line. */
function matrixRow(item: MatrixItem): Row {
  const lines: [number, string][] = [
    ...(item.values ?? []),
    ...(item.histograms ?? []).map(([time, value]): [number, string] => [time, describeHistogram(value)]),
  ];
  const shown = lines.slice(0, SAMPLES_AT_FIRST).map(([time, text]) => `${text} @${time}`);
  if (lines.length > shown.length) shown.push(`… ${lines.length - shown.length} more`);
  return { metric: item.metric, value: shown.join('\n'), number: lines.length };
}

function describeHistogram(histogram: HistogramValue): string {
  const buckets = (histogram.buckets ?? []).map(([rule, low, high, count]) => {
    const open = rule === 1 || rule === 3 ? '[' : '(';
    const close = rule === 0 || rule === 3 ? ']' : ')';
    return `${open}${low}, ${high}${close}: ${count}`;
  });
  return [`count ${histogram.count}, sum ${histogram.sum}`, ...buckets].join('\n');
}

type Order = 'given' | 'down' | 'up';
const NEXT_ORDER: Record<Order, Order> = { given: 'down', down: 'up', up: 'given' };
const ORDER_MARK: Record<Order, string> = { given: '', down: ' ↓', up: ' ↑' };

class Table {
  private readonly rows: Row[];
  private readonly body = element('tbody');
  private readonly more = element('button', { className: 'link', type: 'button' });
  private order: Order = 'given';
  private shown = ROWS_AT_FIRST;

  constructor(parent: HTMLElement, rows: Row[], raw: boolean) {
    this.rows = rows;
    const sort = element('button', { className: 'sort', type: 'button', title: 'Sort by value' });
    const label = (): void => {
      sort.textContent = `${raw ? 'Samples' : 'Value'}${ORDER_MARK[this.order]}`;
    };
    label();
    sort.addEventListener('click', () => {
      this.order = NEXT_ORDER[this.order];
      label();
      this.fill();
    });
    this.more.addEventListener('click', () => {
      this.shown = Number.POSITIVE_INFINITY;
      this.fill();
    });
    const head = element(
      'thead',
      {},
      element('tr', {}, element('th', { textContent: 'Series' }), element('th', { className: 'number' }, sort)),
    );
    parent.append(element('div', { className: 'table-holder' }, element('table', {}, head, this.body)), this.more);
    this.fill();
  }

  private fill(): void {
    const rows = this.sorted().slice(0, this.shown);
    this.body.replaceChildren(
      ...rows.map(row =>
        element(
          'tr',
          {},
          element('td', { className: 'series' }, metricNode(row.metric)),
          element('td', { className: 'number', textContent: row.value }),
        ),
      ),
    );
    this.more.hidden = rows.length === this.rows.length;
    this.more.textContent = `Show all ${this.rows.length} rows`;
  }

  private sorted(): Row[] {
    if (this.order === 'given') return this.rows;
    const sign = this.order === 'down' ? -1 : 1;
    return [...this.rows].sort((a, b) => {
      if (Number.isNaN(a.number) || Number.isNaN(b.number))
        return Number(Number.isNaN(a.number)) - Number(Number.isNaN(b.number));
      return a.number === b.number ? 0 : a.number < b.number ? -sign : sign;
    });
  }
}

/** The name strong, label names faint, values plain: a long label set can then be read. */
function metricNode(metric: Metric): Node {
  const names = Object.keys(metric).filter(name => name !== '__name__');
  if (names.length === 0) return element('span', { className: 'metric-name', textContent: formatMetric(metric) });
  const holder = element(
    'span',
    {},
    element('span', { className: 'metric-name', textContent: metric.__name__ ?? '' }),
    '{',
  );
  names.forEach((name, i) => {
    if (i > 0) holder.append(', ');
    holder.append(
      element('span', { className: 'label-name', textContent: `${name}=` }),
      element('span', { className: 'label-value', textContent: JSON.stringify(metric[name]) }),
    );
  });
  holder.append('}');
  return holder;
}

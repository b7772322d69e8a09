/**
 * The page: a query, a range, a graph or a table. The address holds the state (page-state.ts); every change of it goes
 * through `go`, which writes the address and asks the server. Going back or forward reads the address again. While the
 * range ends now, the answer is refreshed; refreshing never moves what the person is doing.
 */
import 'uplot/dist/uPlot.min.css';
import { type QueryAnswer, QueryFailure, queryInstant, queryRange, serverVersion } from './api.ts';
import { type ChartData, chartData, type Grid, withTail } from './chart-data.ts';
import { byId, element } from './dom.ts';
import { QueryEditor } from './editor.ts';
import { EXAMPLES } from './examples.ts';
import { Graph } from './graph.ts';
import { showFailure, showNotes } from './messages.ts';
import { formatState, type PageState, parseState, type Tab } from './page-state.ts';
import { RangePicker } from './range-picker.ts';
import { showTable } from './table.ts';
import { alignToStep, allowedStep, autoStep, formatSpan, resolve, type Span, spanOf, zoomOut } from './time-range.ts';

/** A fresh server has no two samples of anything yet: ask again soon. */
const FIRST_DATA_POLL_MS = 2000;
/** If the last step lies further back than this, one more point is asked for. */
const TAIL_AFTER_MS = 60_000;
/** A server younger than this shows a newcomer its whole life at first. */
const YOUNG_MS = 5 * 60_000;
const TABS: { tab: Tab; label: string }[] = [
  { tab: 'graph', label: 'Graph' },
  { tab: 'table', label: 'Table' },
];

class Page {
  private state: PageState;
  private readonly editor: QueryEditor;
  private readonly picker: RangePicker;
  private readonly view = byId('view');
  private readonly messages = byId('messages');
  private readonly status = byId('status');
  private readonly execute = byId('execute');
  private readonly tabs = new Map<Tab, HTMLElement>();
  private graph: Graph | null = null;
  /** The query that the graph on the page belongs to. */
  private drawn = '';
  private running: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private emptyTries = 0;
  /** Opened without any address, and nothing done yet: the range may still be chosen for the person. */
  private untouched = location.search === '';

  constructor() {
    this.state = parseState(location.search, EXAMPLES[0].query);
    this.editor = new QueryEditor(byId('editor'), this.state.query, () => this.submit());
    this.picker = new RangePicker(byId('controls'), byId('custom-range'), Date.now, {
      onRange: range => this.go({ range }),
      onStep: stepMs => this.go({ stepMs }),
      onRefresh: () => this.schedule(false),
    });
    this.buildTabs();
    this.buildExamples();
    this.execute.addEventListener('click', () => this.submit());
    addEventListener('popstate', () => this.restore());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => void this.run(true));
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.timer !== undefined) void this.run(true);
    });
    void serverVersion().then(version => {
      if (version !== '') byId('server-note').textContent = version;
    });
    void this.run(false);
  }

  private submit(): void {
    this.go({ query: this.editor.query.trim() });
  }

  /** A change by the person: a new entry in the history unless nothing changed. */
  private go(change: Partial<PageState>): void {
    this.untouched = false;
    const query = change.query ?? this.editor.query.trim();
    this.state = { ...this.state, ...change, query };
    const address = formatState(this.state);
    if (address !== location.search) history.pushState(null, '', address);
    void this.run(false);
  }

  private restore(): void {
    this.state = parseState(location.search, EXAMPLES[0].query);
    this.editor.query = this.state.query;
    void this.run(false);
  }

  /** Asks the server and shows the answer. `quietly`: a refresh, which keeps the old picture until the new one is there. */
  private async run(quietly: boolean): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.running?.abort();
    const { query } = this.state;
    const stepMs = this.step();
    this.picker.show(this.state, stepMs);
    for (const [tab, button] of this.tabs) button.setAttribute('aria-selected', String(tab === this.state.tab));
    document.title = query === '' ? 'Sightline' : `${query.slice(0, 60)} – Sightline`;
    if (query === '') {
      this.clear();
      this.view.append(
        element('p', { className: 'empty', textContent: 'Type an expression, or pick an example above.' }),
      );
      return;
    }
    const running = new AbortController();
    this.running = running;
    if (!quietly) this.emptyTries = 0;
    this.execute.classList.toggle('is-busy', !quietly);
    try {
      const span = resolve(this.state.range, Date.now());
      const grid = this.grid(span, stepMs);
      const answer = await (this.state.tab === 'graph'
        ? askGraph(query, grid, running.signal)
        : queryInstant(query, span.endMs, running.signal));
      const empty = this.show(answer, grid);
      this.schedule(empty);
    } catch (error) {
      if (running.signal.aborted) return;
      this.fail(error);
      // Only a server that is away may come back by itself.
      if (error instanceof QueryFailure && error.kind === 'unreachable') this.schedule(false);
    } finally {
      if (this.running === running) this.execute.classList.remove('is-busy');
    }
  }

  private step(): number {
    const span = spanOf(this.state.range);
    return allowedStep(this.state.stepMs ?? autoStep(span, this.view.clientWidth || 1000), span);
  }

  private grid(span: Span, stepMs: number): Grid {
    const aligned = alignToStep(span, stepMs);
    const late = this.state.range.kind === 'last' && span.endMs - aligned.endMs > TAIL_AFTER_MS;
    return { ...aligned, stepMs, tailMs: late ? span.endMs : null };
  }

  /** True if there was nothing to show. */
  private show(answer: QueryAnswer, grid: Grid): boolean {
    const shown = this.graph && this.drawn === this.state.query ? this.graph.shown : null;
    this.clear();
    showNotes(this.messages, answer);
    const { data } = answer;
    const count = data.resultType === 'scalar' || data.resultType === 'string' ? 1 : data.result.length;
    const took = `${answer.tookMs < 10 ? answer.tookMs.toFixed(1) : Math.round(answer.tookMs)} ms`;
    const facts = [count === 1 ? '1 series' : `${count} series`, took];
    if (this.state.tab === 'graph') facts.splice(1, 0, `a point each ${formatSpan(grid.stepMs)}`);
    this.status.textContent = facts.join(' · ');
    if (count === 0) {
      this.showEmpty();
      return true;
    }
    if (this.state.tab === 'table' || data.resultType !== 'matrix') {
      showTable(this.view, data);
      return false;
    }
    const columns = chartData(data.result, grid);
    this.noteLeftOut(columns.hidden, columns.histograms);
    if (columns.series.length === 0) return false;
    if (this.untouched) {
      this.untouched = false;
      if (beginsWithin(columns, grid.endMs - YOUNG_MS)) {
        this.state = { ...this.state, range: { kind: 'last', spanMs: YOUNG_MS } };
        void this.run(true);
        return false;
      }
    }
    this.graph = new Graph(this.view, columns, {
      onZoom: (startMs, endMs) => {
        if (endMs - startMs >= 1000) this.go({ range: { kind: 'fixed', startMs, endMs } });
      },
      onZoomOut: () => this.go({ range: zoomOut(this.state.range, 2, Date.now()) }),
    });
    this.drawn = this.state.query;
    if (shown) this.graph.restoreShown(shown);
    return false;
  }

  private noteLeftOut(hidden: number, histograms: number): void {
    const infos: string[] = [];
    if (hidden > 0) infos.push(`${hidden} more series are not drawn. Aggregate them, or take topk(10, …).`);
    if (histograms > 0) {
      infos.push(
        `${histograms} series hold native histograms, which have no single line. ` +
          'Take histogram_quantile(0.95, …) or histogram_avg(…), or look at the table.',
      );
    }
    showNotes(this.messages, { warnings: [], infos });
  }

  private showEmpty(): void {
    this.emptyTries++;
    const first = this.isFirstQuery();
    this.view.append(
      element(
        'div',
        { className: 'empty' },
        element('strong', { textContent: first ? 'Waiting for the first samples…' : 'No data' }),
        element('p', {
          textContent: first
            ? 'A rate needs two samples of this host. They are on their way; the graph appears by itself.'
            : 'No series matches in this time range. A wider range, or another name, may.',
        }),
      ),
    );
  }

  private isFirstQuery(): boolean {
    return this.state.query === EXAMPLES[0].query && this.state.range.kind === 'last' && this.emptyTries < 60;
  }

  private fail(error: unknown): void {
    this.clear();
    this.status.textContent = '';
    showFailure(this.messages, error, this.state.query);
    if (error instanceof QueryFailure && error.position) this.editor.markError(error.position, error.message);
  }

  private clear(): void {
    this.graph?.destroy();
    this.graph = null;
    this.view.replaceChildren();
    this.messages.replaceChildren();
  }

  /** The next refresh: soon while the first samples are awaited, else as chosen, and only if the range ends now. */
  private schedule(empty: boolean): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const periodMs = empty && this.isFirstQuery() ? FIRST_DATA_POLL_MS : this.picker.refreshMs;
    if (periodMs === 0 || this.state.range.kind === 'fixed') return;
    this.timer = setTimeout(() => {
      if (document.hidden) return;
      void this.run(true);
    }, periodMs);
  }

  private buildTabs(): void {
    for (const { tab, label } of TABS) {
      const button = element('button', { type: 'button', className: 'tab', textContent: label });
      button.setAttribute('role', 'tab');
      button.addEventListener('click', () => this.go({ tab }));
      this.tabs.set(tab, button);
      byId('tabs').append(button);
    }
  }

  private buildExamples(): void {
    for (const { label, query } of EXAMPLES) {
      const chip = element('button', { type: 'button', className: 'chip', textContent: label, title: query });
      chip.addEventListener('click', () => {
        this.editor.query = query;
        this.go({ query });
      });
      byId('examples').append(chip);
    }
  }
}

/** A grid of long steps ends well before now: the values of this moment then follow as one more point. */
async function askGraph(query: string, grid: Grid, signal: AbortSignal): Promise<QueryAnswer> {
  const [answer, tail] = await Promise.all([
    queryRange(query, grid.startMs, grid.endMs, grid.stepMs, signal),
    grid.tailMs === null ? null : queryInstant(query, grid.tailMs, signal),
  ]);
  if (tail?.data.resultType !== 'vector' || answer.data.resultType !== 'matrix') return answer;
  return { ...answer, data: { resultType: 'matrix', result: withTail(answer.data.result, tail.data.result) } };
}

function beginsWithin(data: ChartData, sinceMs: number): boolean {
  return data.series.every(series =>
    series.values.every((value, i) => value === null || (data.times[i] as number) * 1000 >= sinceMs),
  );
}

new Page();

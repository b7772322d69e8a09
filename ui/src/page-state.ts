/**
 * What the page shows, and its form in the address: ?q=...&range=1h (or &from=...&to=... in milliseconds) &step=30s
 * &tab=table. Whatever is missing or senseless falls back to the default, so that any old link opens. No DOM in here.
 */
import { formatSpan, isMoment, parseSpan, SPAN_MIN_MS, type TimeRange } from './time-range.ts';

export type Tab = 'graph' | 'table';

export interface PageState {
  query: string;
  range: TimeRange;
  /** Null: chosen by range and width. */
  stepMs: number | null;
  tab: Tab;
}

export const DEFAULT_RANGE: TimeRange = { kind: 'last', spanMs: 15 * 60_000 };

export function parseState(search: string, defaultQuery: string): PageState {
  const params = new URLSearchParams(search);
  const step = params.get('step');
  return {
    query: params.get('q') ?? defaultQuery,
    range: parseRange(params) ?? DEFAULT_RANGE,
    stepMs: step === null ? null : parseSpan(step),
    tab: params.get('tab') === 'table' ? 'table' : 'graph',
  };
}

function parseRange(params: URLSearchParams): TimeRange | null {
  const from = params.get('from');
  const to = params.get('to');
  if (from !== null && to !== null) {
    const startMs = Number(from);
    const endMs = Number(to);
    if (isMoment(startMs) && isMoment(endMs) && endMs - startMs >= SPAN_MIN_MS)
      return { kind: 'fixed', startMs, endMs };
    return null;
  }
  const spanMs = parseSpan(params.get('range') ?? '');
  return spanMs === null || spanMs < SPAN_MIN_MS ? null : { kind: 'last', spanMs };
}

export function formatState(state: PageState): string {
  const params = new URLSearchParams({ q: state.query });
  if (state.range.kind === 'last') params.set('range', formatSpan(state.range.spanMs));
  else {
    params.set('from', String(Math.round(state.range.startMs)));
    params.set('to', String(Math.round(state.range.endMs)));
  }
  if (state.stepMs !== null) params.set('step', formatSpan(state.stepMs));
  if (state.tab !== 'graph') params.set('tab', state.tab);
  return `?${params}`;
}

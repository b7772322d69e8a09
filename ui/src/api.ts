/**
 * Client of the query API. Addresses are relative to the page, so that it works under any sub-path. Every failure becomes
 * a QueryFailure with words for a person and, where the server gave one, the place in the query.
 */
import type { Metric } from './format.ts';

export type Sample = [timeSeconds: number, value: string];

export interface HistogramValue {
  count: string;
  sum: string;
  /** [boundary rule, lower, upper, count] */
  buckets?: [number, string, string, string][];
}

export type HistogramSample = [timeSeconds: number, value: HistogramValue];

export interface VectorItem {
  metric: Metric;
  value?: Sample;
  histogram?: HistogramSample;
}

export interface MatrixItem {
  metric: Metric;
  values?: Sample[];
  histograms?: HistogramSample[];
}

export type QueryData =
  | { resultType: 'vector'; result: VectorItem[] }
  | { resultType: 'matrix'; result: MatrixItem[] }
  | { resultType: 'scalar'; result: Sample }
  | { resultType: 'string'; result: Sample };

export interface QueryAnswer {
  data: QueryData;
  warnings: string[];
  infos: string[];
  /** From request to parsed answer, milliseconds. */
  tookMs: number;
}

export interface Position {
  /** From 1; columns count characters as the server does. */
  line: number;
  column: number;
}

export class QueryFailure extends Error {
  readonly kind: string;
  readonly position: Position | null;

  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
    this.position = errorPosition(message);
  }
}

export function queryRange(
  query: string,
  startMs: number,
  endMs: number,
  stepMs: number,
  signal: AbortSignal,
): Promise<QueryAnswer> {
  const params = { query, start: seconds(startMs), end: seconds(endMs), step: seconds(stepMs) };
  return post('api/v1/query_range', params, signal);
}

export function queryInstant(query: string, timeMs: number, signal: AbortSignal): Promise<QueryAnswer> {
  return post('api/v1/query', { query, time: seconds(timeMs) }, signal);
}

/** Version of the server, for the header; empty when it cannot be had. */
export async function serverVersion(): Promise<string> {
  try {
    const response = await fetch('api/v1/status/buildinfo');
    const body = (await response.json()) as { data?: { version?: string; applicationVersion?: string } };
    return body.data?.applicationVersion ?? body.data?.version ?? '';
  } catch {
    return '';
  }
}

interface Envelope {
  status: string;
  data?: QueryData;
  errorType?: string;
  error?: string;
  warnings?: string[];
  infos?: string[];
}

async function post(path: string, params: Record<string, string>, signal: AbortSignal): Promise<QueryAnswer> {
  const began = performance.now();
  let response: Response;
  try {
    response = await fetch(path, { method: 'POST', body: new URLSearchParams(params), signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new QueryFailure('unreachable', 'The server does not answer. Is it still running?');
  }
  const text = await response.text();
  const body = parseEnvelope(text);
  if (!body) throw new QueryFailure(`HTTP ${response.status}`, text.slice(0, 500) || response.statusText);
  if (body.status !== 'success' || !body.data) {
    throw new QueryFailure(body.errorType ?? `HTTP ${response.status}`, body.error ?? 'The server gave no reason.');
  }
  return {
    data: body.data,
    warnings: body.warnings ?? [],
    infos: body.infos ?? [],
    tookMs: performance.now() - began,
  };
}

function parseEnvelope(text: string): Envelope | null {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null && 'status' in body ? (body as Envelope) : null;
  } catch {
    return null;
  }
}

function seconds(ms: number): string {
  return String(ms / 1000);
}

/** The "line:column:" that the message of a parse error begins with, after the name of the parameter. */
export function errorPosition(message: string): Position | null {
  const match = /(?:^|: )(\d{1,6}):(\d{1,6}): /.exec(message);
  return match ? { line: Number(match[1]), column: Number(match[2]) } : null;
}

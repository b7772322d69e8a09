/**
 * /api/v1/export: raw samples as JSON lines, at the client's pace, of any size.
 *
 *     {"metric":{"__name__":"up","job":"x"},"values":[1,1.5],"timestamps":[1549891472010,1549891487724]}
 *
 * Timestamps are milliseconds. NaN is null and infinities are "Infinity" and "-Infinity", since JSON has none; staleness markers
 * stay out. A series with native histograms has lines of their own with "histograms" (ingest/json-lines/histogram.ts) in place of "values".
 * A line holds a bounded number of samples, so a series may have several.
 */

import type { RawSeries } from '../../contracts/leaf-source.ts';
import type { QueryResponse } from '../../contracts/query-service.ts';
import { TimeSlice } from '../../lib/yield.ts';
import type { Matcher } from '../../model/matcher.ts';
import { isStale } from '../../model/stale.ts';
import { ByteWriter } from '../encoding/byte-writer.ts';
import { FLOAT_BYTES_MAX, writeFloat, writeInteger } from '../encoding/float.ts';
import { badData, invalidParam } from '../errors.ts';
import { writeLabels } from './encode-result.ts';
import type { HandlerContext } from './handler-context.ts';
import { parseMatcherSets } from './matchers.ts';
import { TIME_MAX_MS, TIME_MIN_MS } from './params.ts';

/** Bounds what an importer must hold: about 250 KB of text. */
const LINE_SAMPLES_MAX = 10_000;
/** A line of histograms ends behind this. */
const LINE_HISTOGRAM_BYTES = 256 * 1024;

export async function exportSeries(c: HandlerContext): Promise<QueryResponse> {
  const selectors = c.params.all('match[]');
  if (selectors.length === 0) throw badData('no match[] parameter provided');
  const minT = c.params.timeOr('start', TIME_MIN_MS);
  const maxT = c.params.timeOr('end', TIME_MAX_MS);
  if (maxT < minT) throw invalidParam('end', 'end timestamp must not be before start time');
  let sets: Matcher[][];
  try {
    sets = parseMatcherSets(selectors);
  } catch (error) {
    throw invalidParam('match[]', error instanceof Error ? error.message : String(error));
  }
  const timeoutMaxMs = c.deps.exportTimeoutMs;
  const timeoutMs = c.params.durationOr('timeout', timeoutMaxMs);
  const what = { query: selectors.join(' or '), startMs: minT, endMs: maxT, timeoutMs, timeoutMaxMs };
  return c.run(what, async signal => ({
    headers: { 'content-type': 'application/stream+json; charset=utf-8' },
    body: lines(c, sets, minT, maxT, signal),
    readsWhileSending: true,
  }));
}

async function* lines(
  c: HandlerContext,
  sets: readonly Matcher[][],
  minT: number,
  maxT: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const w = new ByteWriter();
  const slice = new TimeSlice();
  // A series that several selectors match is given out for the first of them.
  const earlier = new Set<string>();
  for (const [index, matchers] of sets.entries()) {
    const request = { matchers, minT, maxT, sorted: false, whole: false, maxSamples: 0 };
    const found = new Set<string>();
    for await (const batch of c.deps.raw.read(c.request.tenant, request, signal)) {
      for (const series of batch) {
        const key = sets.length > 1 ? JSON.stringify(series.labels) : '';
        if (earlier.has(key)) continue;
        if (index < sets.length - 1) found.add(key);
        writeFloatLines(w, series);
        writeHistogramLines(w, series);
        yield* w.take();
        if (slice.due()) await slice.pause(signal);
      }
    }
    for (const key of found) earlier.add(key);
  }
  yield* w.finish();
}

function writeFloatLines(w: ByteWriter, series: RawSeries): void {
  const rows: number[] = [];
  for (let i = 0; i < series.timestamps.length; i++) if (!isStale(series.values, i)) rows.push(i);
  for (let from = 0; from < rows.length; from += LINE_SAMPLES_MAX) {
    const part = rows.slice(from, from + LINE_SAMPLES_MAX);
    w.latin1('{"metric":');
    writeLabels(w, series.labels);
    w.latin1(',"values":[');
    part.forEach((row, k) => {
      if (k > 0) w.latin1(',');
      writeJsonFloat(w, series.values[row] as number);
    });
    w.latin1('],"timestamps":[');
    part.forEach((row, k) => {
      if (k > 0) w.latin1(',');
      writeMs(w, series.timestamps[row] as number);
    });
    w.latin1(']}\n');
  }
}

function writeHistogramLines(w: ByteWriter, series: RawSeries): void {
  const { histograms, histogramTimestamps } = series;
  for (let from = 0; from < histograms.length; ) {
    w.latin1('{"metric":');
    writeLabels(w, series.labels);
    w.latin1(',"histograms":[');
    let bytes = 0;
    let to = from;
    for (; to < histograms.length && bytes < LINE_HISTOGRAM_BYTES; to++) {
      const text = JSON.stringify(histograms[to], jsonNumber);
      if (to > from) w.latin1(',');
      w.latin1(text);
      bytes += text.length;
    }
    w.latin1(`],"timestamps":[${histogramTimestamps.slice(from, to).join(',')}]}\n`);
    from = to;
  }
}

/** Numbers that JSON does not have, as texts. */
function jsonNumber(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function writeJsonFloat(w: ByteWriter, v: number): void {
  if (v !== v) w.latin1('null');
  else if (v === Number.POSITIVE_INFINITY) w.latin1('"Infinity"');
  else if (v === Number.NEGATIVE_INFINITY) w.latin1('"-Infinity"');
  else {
    w.room(FLOAT_BYTES_MAX);
    w.at = writeFloat(w.bytes, w.at, v);
  }
}

function writeMs(w: ByteWriter, ms: number): void {
  w.room(FLOAT_BYTES_MAX);
  w.at = writeInteger(w.bytes, w.at, ms);
}

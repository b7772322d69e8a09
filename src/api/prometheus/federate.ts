/**
 * /federate: the latest sample of every matching series in a text format (federate-format.ts), with its own timestamp.
 *
 * A sample counts if it lies within the look-back and is no staleness marker. Every metric is `untyped`. External labels come behind
 * those of the series; an absent `instance` is written as `instance=""` so that the scraper does not put its own in. Native histograms have no text form and stay out.
 */
import type { QueryResponse } from '../../contracts/query-service.ts';
import { compareLabels, compareStrings, EMPTY_LABELS, getLabel, type Labels, METRIC_NAME } from '../../model/labels.ts';
import type { Matcher } from '../../model/matcher.ts';
import { isStale } from '../../model/stale.ts';
import { ByteWriter } from '../encoding/byte-writer.ts';
import { formatFloat } from '../encoding/float.ts';
import { badData } from '../errors.ts';
import { withExternalLabels } from './external-labels.ts';
import { federateFormat } from './federate-format.ts';
import type { HandlerContext } from './handler-context.ts';
import { parseMatcherSets } from './matchers.ts';

interface LatestSample {
  name: string;
  labels: Labels;
  value: number;
  timestampMs: number;
}

const LEGACY_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export async function federate(c: HandlerContext): Promise<QueryResponse> {
  const selectors = c.params.all('match[]');
  let sets: Matcher[][];
  try {
    sets = parseMatcherSets(selectors);
  } catch (error) {
    throw badData(error instanceof Error ? error.message : String(error));
  }
  const format = federateFormat(c.request.accept);
  const maxT = c.deps.clock.now();
  return c.run({ query: selectors.join(' or '), startMs: maxT, endMs: maxT }, async signal => {
    const samples = await latest(c, sets, maxT, signal);
    samples.sort((a, b) => compareStrings(a.name, b.name) || compareLabels(a.labels, b.labels));
    const external = externalOf(c.request.externalLabels ?? EMPTY_LABELS);
    const w = new ByteWriter();
    let family = '';
    for (const sample of samples) {
      const name =
        format.quoted || LEGACY_METRIC.test(sample.name) ? sample.name : escapeName(sample.name, /[^a-zA-Z0-9_:]/g);
      if (name !== family) w.utf8(`# TYPE ${LEGACY_METRIC.test(name) ? name : quoteText(name)} ${format.untyped}\n`);
      family = name;
      w.utf8(`${lineOf(sample, name, external, format.quoted)} ${format.timestamp(sample.timestampMs)}\n`);
    }
    w.latin1(format.end);
    return {
      headers: { 'content-type': format.contentType },
      body: Buffer.concat(w.finish()),
      samplesRead: samples.length,
    };
  });
}

async function latest(
  c: HandlerContext,
  sets: readonly Matcher[][],
  maxT: number,
  signal: AbortSignal,
): Promise<LatestSample[]> {
  const out: LatestSample[] = [];
  const seen = new Set<string>();
  for (const matchers of sets) {
    const bounds = {
      minT: maxT - c.deps.lookbackMs,
      maxT,
      sorted: false,
      whole: true,
      maxSamples: c.deps.rawSamplesMax,
    };
    for await (const batch of c.deps.raw.read(c.request.tenant, { matchers, ...bounds }, signal)) {
      for (const { labels, timestamps, values, histogramTimestamps } of batch) {
        const last = timestamps.length - 1;
        if (last < 0 || isStale(values, last)) continue;
        const timestampMs = timestamps[last] as number;
        // The latest sample is a histogram.
        if ((histogramTimestamps[histogramTimestamps.length - 1] ?? -1) > timestampMs) continue;
        const key = JSON.stringify(labels);
        if (seen.has(key)) continue;
        seen.add(key);
        out.push({ name: getLabel(labels, METRIC_NAME), labels, value: values[last] as number, timestampMs });
      }
    }
  }
  return out;
}

/** With `instance`, sorted. */
function externalOf(labels: Labels): Labels {
  return withExternalLabels(labels, ['instance', '']);
}

/** Without its timestamp. */
function lineOf(sample: LatestSample, name: string, external: Labels, quoted: boolean): string {
  const legacy = LEGACY_METRIC.test(name);
  const parts: string[] = legacy ? [] : [quoteText(name)];
  const put = (labels: Labels, unless: Labels): void => {
    for (let i = 0; i < labels.length; i += 2) {
      const label = labels[i] as string;
      if (label === METRIC_NAME || getLabel(unless, label) !== '') continue;
      const odd = quoted ? quoteText : (text: string): string => escapeName(text, /[^a-zA-Z0-9_]/g);
      const text = LEGACY_LABEL.test(label) ? label : odd(label);
      parts.push(`${text}=${quoteText(labels[i + 1] as string)}`);
    }
  };
  put(sample.labels, EMPTY_LABELS);
  put(external, sample.labels);
  return `${legacy ? name : ''}{${parts.join(',')}} ${formatFloat(sample.value)}`;
}

function escapeName(name: string, invalid: RegExp): string {
  const escaped = name.replace(invalid, '_');
  return /^[0-9]/.test(escaped) ? `_${escaped.slice(1)}` : escaped;
}

function quoteText(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

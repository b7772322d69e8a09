/**
 * Data like a real node_exporter's: its exposition is scraped a few times on this machine, each series is described by
 * how it moved meanwhile (constant, counter with a rate, gauge with a drift and a spread, decimals), and evolves by that
 * description for as long as the benchmark wants. Most series of a real host hardly move, which is what makes this data
 * unlike any generated one.
 */
import { spawn } from 'node:child_process';
import { freePort } from '../contestants/contestant.ts';
import { executable } from '../contestants/prometheus.ts';
import { callText, sleep } from '../lib/http.ts';
import { mixUnit } from '../lib/random.ts';
import { LabelSlab } from '../lib/write-request.ts';
import type { Family } from './query-series.ts';

const BINARY = process.env.BENCH_NODE_EXPORTER ?? '/usr/bin/prometheus-node-exporter';
const SCRAPES = 12;
const SCRAPE_PAUSE_MS = 1000;
/** More decimals than this: the value is any double. */
const DECIMALS_MAX = 9;

export interface NodeSeries {
  labels: Record<string, string>;
  counter: boolean;
  first: number;
  /** Mean change a second. */
  drift: number;
  /** Deviation of the change over one second, around the drift. */
  spread: number;
  /** Digits after the point, or -1 for any double. */
  decimals: number;
}

export function nodeExporterMissing(): string | null {
  return executable(BINARY) ? null : `needs ${BINARY} (bench/setup.sh installs it)`;
}

export async function captureNode(): Promise<NodeSeries[]> {
  const port = await freePort();
  const child = spawn(BINARY, [`--web.listen-address=127.0.0.1:${port}`, '--log.level=error'], { stdio: 'ignore' });
  try {
    const scrapes: string[] = [];
    for (let tries = 0; scrapes.length < SCRAPES && tries < SCRAPES * 5; tries++) {
      const text = await callText(`http://127.0.0.1:${port}/metrics`).catch(() => '');
      if (text !== '') scrapes.push(text);
      await sleep(text === '' ? 100 : SCRAPE_PAUSE_MS);
    }
    return describeSeries(scrapes);
  } finally {
    child.kill('SIGKILL');
  }
}

function describeSeries(scrapes: string[]): NodeSeries[] {
  const counters = new Set<string>();
  const seen = new Map<string, string[]>();
  for (const text of scrapes) {
    for (const line of text.split('\n')) {
      const type = /^# TYPE (\S+) (\S+)/.exec(line);
      if (type?.[2] === 'counter') counters.add(type[1] as string);
      const sample = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line);
      if (sample) seen.set(sample[1] as string, [...(seen.get(sample[1] as string) ?? []), sample[2] as string]);
    }
  }
  const series: NodeSeries[] = [];
  for (const [id, texts] of seen) {
    const values = texts.map(Number);
    if (values.length < scrapes.length || values.some(value => !Number.isFinite(value))) continue;
    const labels = parseLabels(id);
    const changes = values.slice(1).map((value, i) => value - (values[i] as number));
    const drift = changes.reduce((a, b) => a + b, 0) / changes.length;
    const spread = Math.sqrt(changes.reduce((sum, change) => sum + (change - drift) ** 2, 0) / changes.length);
    const decimals = Math.max(...values.map(decimalsOf));
    series.push({
      labels,
      counter: counters.has(labels.__name__ as string),
      first: values[0] as number,
      drift,
      spread,
      decimals: decimals > DECIMALS_MAX ? -1 : decimals,
    });
  }
  return series;
}

function parseLabels(id: string): Record<string, string> {
  const brace = id.indexOf('{');
  const labels: Record<string, string> = { __name__: brace < 0 ? id : id.slice(0, brace) };
  if (brace < 0) return labels;
  for (const match of id.slice(brace).matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    labels[match[1] as string] = JSON.parse(`"${match[2]}"`) as string;
  }
  return labels;
}

function decimalsOf(value: number): number {
  if (Number.isInteger(value)) return 0;
  const text = String(value);
  return text.includes('e') ? DECIMALS_MAX + 1 : text.length - text.indexOf('.') - 1;
}

/** `hosts` copies of the captured host, each evolving in its own way. */
export function nodeFamily(
  capture: NodeSeries[],
  hosts: number,
  stepMs: number,
  startMs: number,
  seed: number,
): Family {
  const count = capture.length * hosts;
  const state = new Float64Array(count);
  const labels = new LabelSlab();
  const of = (index: number): NodeSeries => capture[index % capture.length] as NodeSeries;
  for (let i = 0; i < count; i++) {
    state[i] = of(i).first;
    labels.add({ ...ascii(of(i).labels), instance: `host-${Math.floor(i / capture.length)}:9100`, job: 'node' });
  }
  const seconds = stepMs / 1000;
  return {
    name: 'node',
    stepMs,
    startMs,
    count,
    labels,
    offsetMs: index => (Math.floor(index / capture.length) * 7919) % stepMs,
    fill(index, times, values, samples) {
      let value = state[index] as number;
      for (let k = 0; k < samples; k++) {
        const tick = Math.floor((times[k] as number) / stepMs);
        value = evolve(of(index), value, seconds, mixUnit(index ^ seed, tick));
        values[k] = value;
      }
      state[index] = value;
    },
  };
}

function evolve(series: NodeSeries, value: number, seconds: number, random: number): number {
  if (series.drift === 0 && series.spread === 0) return value;
  // A uniform number of deviation 1 around 0.
  const noise = (random - 0.5) * 3.464;
  let change = series.drift * seconds + series.spread * Math.sqrt(seconds) * noise;
  if (series.counter) change = Math.max(0, change);
  const next = series.first >= 0 ? Math.max(0, value + change) : value + change;
  if (series.decimals < 0) return next;
  const scale = 10 ** series.decimals;
  return Math.round(next * scale) / scale;
}

/** The slab takes ASCII only. */
function ascii(labels: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [name, value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 120)]),
  );
}

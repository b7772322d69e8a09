/**
 * Everything a tenant has, exactly: floats by remote read (which keeps every bit, staleness markers too), native histograms by
 * export. Samples are texts, so that a difference shows itself: `f` + 16 hex digits, or `h` + the histogram as JSON.
 */
import { ProtobufReader, ProtobufWriter } from '../../src/lib/protobuf.ts';
import { snappyCompress, snappyDecompress } from '../../src/lib/snappy.ts';
import type { FloatHistogram } from '../../src/model/histogram.ts';

/** Series key -> timestamp (ms) -> sample text. */
export type Contents = Map<string, Map<number, string>>;

/** Of labels in any order. */
export function keyOf(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function floatText(values: Float64Array, i: number): string {
  const words = new Uint32Array(values.buffer, values.byteOffset + i * 8, 2);
  return `f${hex(words[1] as number)}${hex(words[0] as number)}`;
}

export const STALE_TEXT = 'f7ff0000000000002';

function hex(word: number): string {
  return word.toString(16).padStart(8, '0');
}

/** What must come back of a histogram; the reset hint may be found out anew. */
export function histogramText(h: FloatHistogram): string {
  const { schema, zeroThreshold, zeroCount, count, sum, integer } = h;
  const { positiveSpans, positiveBuckets, negativeSpans, negativeBuckets, customValues } = h;
  const spans = [positiveSpans, positiveBuckets, negativeSpans, negativeBuckets, customValues];
  return `h${JSON.stringify([schema, zeroThreshold, zeroCount, count, sum, integer, ...spans])}`;
}

/** Anything with `url`. */
export interface Endpoint {
  url: string;
}

export async function readContents(
  server: Endpoint,
  tenant: string,
  name = '.+',
  minT = 0,
  maxT = 4e12,
): Promise<Contents> {
  const out = await readFloatContents(server, tenant, name, minT, maxT);
  await readHistograms(server, tenant, name, minT, maxT, out);
  return out;
}

/** Floats alone, which any Prometheus gives too. */
export async function readFloatContents(
  server: Endpoint,
  tenant: string,
  name = '.+',
  minT = 0,
  maxT = 4e12,
): Promise<Contents> {
  const out: Contents = new Map();
  const w = new ProtobufWriter();
  const query = w.begin(1);
  w.varint(1, minT);
  w.varint(2, maxT);
  const matcher = w.begin(3);
  w.varint(1, 2);
  w.string(2, '__name__');
  w.string(3, name);
  w.close(matcher);
  w.close(query);
  const response = await fetch(`${server.url}/api/v1/read`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-protobuf',
      'content-encoding': 'snappy',
      'x-prometheus-remote-read-version': '0.1.0',
      'x-scope-orgid': tenant,
    },
    body: snappyCompress(w.finish()) as never,
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`remote read: ${response.status} ${Buffer.from(bytes).toString()}`);
  const r = new ProtobufReader(snappyDecompress(bytes, 2 ** 31 - 1));
  while (r.more()) {
    if (r.field() !== 1) {
      r.skip();
      continue;
    }
    const result = r.enter();
    while (r.more()) {
      if (r.field() === 1) readSeries(r, out);
      else r.skip();
    }
    r.leave(result);
  }
  return out;
}

function readSeries(r: ProtobufReader, out: Contents): void {
  const labels: Record<string, string> = {};
  const samples = new Map<number, string>();
  const view = new DataView(r.bytes.buffer, r.bytes.byteOffset, r.bytes.byteLength);
  const series = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1: {
        const label = r.enter();
        let name = '';
        let value = '';
        while (r.more()) {
          const field = r.field();
          const text = Buffer.from(r.bytes.subarray(r.span(), r.at)).toString();
          if (field === 1) name = text;
          else value = text;
        }
        r.leave(label);
        labels[name] = value;
        break;
      }
      case 2: {
        const sample = r.enter();
        let bits = '0000000000000000';
        let t = 0;
        while (r.more()) {
          if (r.field() === 1) {
            const at = r.fixed64();
            bits = hex(view.getUint32(at + 4, true)) + hex(view.getUint32(at, true));
          } else t = r.signed();
        }
        r.leave(sample);
        samples.set(t, `f${bits}`);
        break;
      }
      default:
        r.skip();
    }
  }
  r.leave(series);
  if (samples.size > 0) add(out, keyOf(labels), samples);
}

function add(out: Contents, key: string, samples: Map<number, string>): void {
  const known = out.get(key);
  if (known === undefined) {
    out.set(key, samples);
    return;
  }
  for (const [t, text] of samples) {
    if (known.has(t)) throw new Error(`${key} came twice at ${t}: ${known.get(t)} and ${text}`);
    known.set(t, text);
  }
}

async function readHistograms(
  server: Endpoint,
  tenant: string,
  name: string,
  minT: number,
  maxT: number,
  out: Contents,
): Promise<void> {
  const match = encodeURIComponent(`{__name__=~${JSON.stringify(name)}}`);
  const path = `/api/v1/export?match[]=${match}&start=${minT / 1000}&end=${maxT / 1000}`;
  const response = await fetch(server.url + path, { headers: { 'x-scope-orgid': tenant } });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`export: ${response.status} ${text}`);
  for (const line of text.split('\n')) {
    if (!line.includes('"histograms"')) continue;
    const row = JSON.parse(line) as {
      metric: Record<string, string>;
      histograms: FloatHistogram[];
      timestamps: number[];
    };
    add(
      out,
      keyOf(row.metric),
      new Map(row.timestamps.map((t, i) => [t, histogramText(row.histograms[i] as FloatHistogram)])),
    );
  }
}

/**
 * Imports of any length: exposition text, JSON lines and native exports, decoded chunk by chunk into batches, each stored before the next is
 * read. What came before a bad line is stored; the answer names the line.
 *
 * Parameters: `timestamp` (ms) for lines without one, `extra_label=name=value` (repeatable) set on every series.
 */
import { Readable } from 'node:stream';
import zlib from 'node:zlib';
import type { IngestRequest, IngestResponse } from '../contracts/ingest-service.ts';
import type { Rejection, SampleSink } from '../contracts/sample-sink.ts';
import type { IdentityHasher, TenantSeed } from '../lib/identity-hash.ts';
import type { SampleBatch } from '../model/sample-batch.ts';
import type { TenantId } from '../model/tenant.ts';
import { ImportParser } from './exposition/import.ts';
import { JsonLinesParser } from './json-lines/decode.ts';
import type { LabelSet } from './label-set.ts';
import { NativeParser } from './victoria-native/decode.ts';

export interface StreamImportDeps {
  hasher: IdentityHasher;
  sink: SampleSink;
  now(): number;
  /** What a decoder left out; what the sink refuses is counted there. */
  onRejected?(tenant: TenantId, rejected: readonly Rejection[]): void;
}

/** What both parsers offer: batches from chunks, valid until the generator goes on. */
interface StreamParser {
  feed(chunk: Uint8Array): Iterable<SampleBatch>;
  end(): Iterable<SampleBatch>;
}

export interface Totals {
  samples: number;
  histograms: number;
  exemplars: number;
  rejected: Rejection[];
}

const EXTRA_LABELS_MAX = 32;

export async function importStream(
  deps: StreamImportDeps,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<IngestResponse> {
  const totals: Totals = { samples: 0, histograms: 0, exemplars: 0, rejected: [] };
  try {
    const parser = parserOf(deps, request);
    for await (const chunk of decompressed(request.contentEncoding, body)) {
      for (const batch of parser.feed(chunk)) await store(deps.sink, request.tenant, batch, totals);
    }
    for (const batch of parser.end()) await store(deps.sink, request.tenant, batch, totals);
  } catch (error) {
    const e = error as Error;
    if (!isCallersMistake(e)) throw e;
    return { status: 400, headers: {}, body: `${e.message}\nbefore it ${storedText(totals)}\n` };
  }
  if (totals.rejected.length === 0) return { status: 204, headers: {}, body: '' };
  const lines = totals.rejected.map(r => `${r.count} refused, ${r.reason}: ${r.example}`);
  return { status: 400, headers: {}, body: `${lines.join('\n')}\n${storedText(totals)}\n` };
}

/** The request itself cannot be understood. HTTP 400. */
export class ImportRequestError extends Error {
  override name = 'ImportRequestError';
}

export function isCallersMistake(error: Error): boolean {
  if (['ExpositionError', 'JsonLinesError', 'NativeFormatError', 'ImportRequestError'].includes(error.name))
    return true;
  // zlib's own, for a body that is not what Content-Encoding says.
  return String((error as NodeJS.ErrnoException).code ?? '').match(/^(Z_|ZSTD_|ERR_ZSTD)/) !== null;
}

function parserOf(deps: StreamImportDeps, request: IngestRequest): StreamParser {
  const params = new URLSearchParams(request.params);
  const seed: TenantSeed = deps.hasher.tenantSeed(request.tenant);
  const timestampMs = timestampOf(params.get('timestamp'), deps.now());
  const finishLabels = extraLabels(params.getAll('extra_label'));
  const finish = finishLabels === null ? {} : { finishLabels };
  if (request.protocol === 'victoria-native') return new NativeParser(deps.hasher, seed, finish);
  if (request.protocol === 'json-lines') return new JsonLinesParser(deps.hasher, seed, finish);
  return new ImportParser(deps.hasher, seed, { timestampMs, ...finish });
}

function timestampOf(text: string | null, nowMs: number): number {
  if (text === null || text === '') return Math.round(nowMs);
  if (!/^\d{1,15}$/.test(text)) {
    throw new ImportRequestError(`timestamp=${JSON.stringify(text)} is not a whole number of milliseconds since 1970`);
  }
  return Number(text);
}

export function extraLabels(texts: readonly string[]): ((labels: LabelSet) => boolean) | null {
  if (texts.length === 0) return null;
  if (texts.length > EXTRA_LABELS_MAX)
    throw new ImportRequestError(`more than ${EXTRA_LABELS_MAX} extra_label parameters`);
  const pairs = texts.map((text): [string, string] => {
    const at = text.indexOf('=');
    if (at < 1) throw new ImportRequestError(`extra_label=${JSON.stringify(text)} is not name=value`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return labels => {
    const map = new Map<string, string>();
    const flat = labels.toFlat();
    for (let i = 0; i < flat.length; i += 2) map.set(flat[i] as string, flat[i + 1] as string);
    for (const [name, value] of pairs) map.set(name, value);
    labels.clear();
    for (const [name, value] of map) if (value !== '') labels.addStrings(name, value);
    return true;
  };
}

export function decompressed(encoding: string, body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  switch (encoding) {
    case '':
    case 'identity':
      return body;
    case 'gzip':
      return piped(body, zlib.createGunzip());
    case 'zstd':
      return piped(body, zlib.createZstdDecompress());
    case 'deflate':
      return piped(body, zlib.createInflate());
    default:
      throw new ImportRequestError(
        `Content-Encoding ${JSON.stringify(encoding)} is not supported; send gzip, zstd, deflate or none`,
      );
  }
}

function piped(body: AsyncIterable<Uint8Array>, through: NodeJS.ReadWriteStream & Readable): AsyncIterable<Uint8Array> {
  const source = Readable.from(body, { objectMode: false });
  source.on('error', error => through.destroy(error));
  return source.pipe(through);
}

export async function store(sink: SampleSink, tenant: string, batch: SampleBatch, totals: Totals): Promise<void> {
  const result = await sink.append(tenant, batch);
  totals.samples += result.samples;
  totals.histograms += result.histograms;
  totals.exemplars += result.exemplars;
  for (const rejection of result.rejected) {
    const same = totals.rejected.find(r => r.reason === rejection.reason);
    if (same === undefined) totals.rejected.push({ ...rejection });
    else same.count += rejection.count;
  }
}

export function storedText(totals: Totals): string {
  return `stored: ${totals.samples} samples, ${totals.histograms} histograms, ${totals.exemplars} exemplars`;
}

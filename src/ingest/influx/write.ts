/**
 * A write of Influx line protocol: 204 when every line was stored, 400 naming the lines that were not (the others are stored: senders
 * know this as a partial write and do not repeat it). The body of a refusal satisfies clients of v1 (`error`) and v2 (`code`,
 * `message`, `line`).
 */
import type { IngestRequest, IngestResponse, PushNaming } from '../../contracts/ingest-service.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { writeLines } from '../line-write.ts';
import { extraLabels, isCallersMistake, type StreamImportDeps } from '../stream-import.ts';
import { TextLines } from '../text-lines.ts';
import { InfluxLineReader, precisionOf } from './line.ts';

export const INFLUX_NAMING: PushNaming['influx'] = Object.freeze({ separator: '_', dbLabel: 'db' });

export async function writeInflux(
  deps: StreamImportDeps,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<IngestResponse> {
  const params = new URLSearchParams(request.params);
  const precision = precisionOf(params.get('precision') ?? '');
  if (precision === null) {
    return refusal(`precision=${JSON.stringify(params.get('precision'))} is not known: ns, us, ms, s, m or h`, 0);
  }
  const naming = request.push?.influx ?? INFLUX_NAMING;
  try {
    const builder = new BatchBuilder(deps.hasher, deps.hasher.tenantSeed(request.tenant));
    const reader = new InfluxLineReader(builder, new LabelSet(), {
      ...naming,
      precision,
      nowMs: Math.round(deps.now()),
      db: params.get('db') ?? params.get('bucket') ?? '',
      finishLabels: extraLabels(params.getAll('extra_label')),
    });
    const lines = new TextLines({ builder, readLine: line => reader.read(line) });
    const result = await writeLines(deps, request, body, lines);
    const { rejected, samples } = result;
    if (rejected.length === 0) return { status: 204, headers: {}, body: '', stored: samples };
    const message = `partial write: ${result.message}; stored ${samples} samples`;
    return { ...refusal(message, result.firstLine), rejected, stored: samples };
  } catch (error) {
    if (!isCallersMistake(error as Error)) throw error;
    return refusal((error as Error).message, 0);
  }
}

function refusal(message: string, line: number): IngestResponse {
  const body = { error: message, code: 'invalid', message, ...(line > 0 ? { line } : {}) };
  return {
    status: 400,
    headers: { 'content-type': 'application/json', 'x-influxdb-error': headerText(message) },
    body: JSON.stringify(body),
  };
}

/** A header holds no line breaks and nothing outside of ASCII. */
function headerText(message: string): string {
  return message.slice(0, 500).replace(/[^\x20-\x7e]/g, '?');
}

/** A body of Graphite plaintext lines, from the door that gathers them or over HTTP: good lines are stored, bad ones named. */
import type { IngestRequest, IngestResponse } from '../../contracts/ingest-service.ts';
import { BatchBuilder } from '../batch-builder.ts';
import { LabelSet } from '../label-set.ts';
import { writeLines } from '../line-write.ts';
import { extraLabels, isCallersMistake, type StreamImportDeps } from '../stream-import.ts';
import { TextLines } from '../text-lines.ts';
import { GraphiteLineReader } from './line.ts';

export async function writeGraphite(
  deps: StreamImportDeps,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<IngestResponse> {
  try {
    const params = new URLSearchParams(request.params);
    const builder = new BatchBuilder(deps.hasher, deps.hasher.tenantSeed(request.tenant));
    const reader = new GraphiteLineReader(builder, new LabelSet(), {
      nowMs: Math.round(deps.now()),
      dots: request.push?.dots ?? 'keep',
      finishLabels: extraLabels(params.getAll('extra_label')),
    });
    const lines = new TextLines({ builder, readLine: line => reader.read(line) });
    const { rejected, samples, message } = await writeLines(deps, request, body, lines);
    if (rejected.length === 0) return { status: 204, headers: {}, body: '', stored: samples };
    return { status: 400, headers: {}, body: `${message}\nstored: ${samples} samples\n`, rejected, stored: samples };
  } catch (error) {
    if (!isCallersMistake(error as Error)) throw error;
    return { status: 400, headers: {}, body: `${(error as Error).message}\n` };
  }
}

/**
 * One write in a line protocol, from compressed bytes to what the sender is told: good lines are stored, bad ones named.
 *
 * Shared by Influx and Graphite; each words the answer itself.
 */
import type { IngestRequest } from '../contracts/ingest-service.ts';
import type { Rejection } from '../contracts/sample-sink.ts';
import { decompressed, type StreamImportDeps, store, type Totals } from './stream-import.ts';
import { describeBadLines, type TextLines } from './text-lines.ts';

export interface LineWriteResult {
  samples: number;
  /** Bad lines and what the store refused, by reason. */
  rejected: Rejection[];
  /** '' where nothing was refused. */
  message: string;
  /** Number of the first bad line, 0 if none. */
  firstLine: number;
}

export async function writeLines(
  deps: StreamImportDeps,
  request: IngestRequest,
  body: AsyncIterable<Uint8Array>,
  lines: TextLines,
): Promise<LineWriteResult> {
  const totals: Totals = { samples: 0, histograms: 0, exemplars: 0, rejected: [] };
  for await (const chunk of decompressed(request.contentEncoding, body)) {
    for (const batch of lines.feed(chunk)) await store(deps.sink, request.tenant, batch, totals);
  }
  for (const batch of lines.end()) await store(deps.sink, request.tenant, batch, totals);
  const badLines: Rejection[] = [];
  for (const [reason, count] of lines.badByReason) {
    const first = lines.bad.find(bad => bad.reason === reason);
    badLines.push({ reason, count, example: first === undefined ? '' : `line ${first.line}: ${first.message}` });
  }
  if (badLines.length > 0) deps.onRejected?.(request.tenant, badLines);
  const rejected = [...totals.rejected, ...badLines];
  const parts = totals.rejected.map(r => `${r.count} refused, ${r.reason}: ${r.example}`);
  if (lines.badCount > 0) parts.unshift(describeBadLines(lines));
  return { samples: totals.samples, rejected, message: parts.join('; '), firstLine: lines.bad[0]?.line ?? 0 };
}

/**
 * PromqlParseError: what is wrong with a query text, and where.
 *
 * All findings are kept; the message shows the first, as `line:column: parse error: text`, which is what Prometheus'
 * API answers. Offsets count UTF-8 bytes, and so does the column.
 */

/** One finding; [start, end) in bytes of the query. */
export interface ParseProblem {
  start: number;
  end: number;
  message: string;
}

export class PromqlParseError extends Error {
  override name = 'PromqlParseError';
  readonly errors: readonly ParseProblem[];

  /** `message` replaces the usual form, where Prometheus gives no position. */
  constructor(query: Uint8Array, errors: readonly ParseProblem[], message?: string) {
    super(message ?? formatFirst(query, errors));
    this.errors = errors;
  }
}

function formatFirst(query: Uint8Array, errors: readonly ParseProblem[]): string {
  const first = errors[0];
  if (first === undefined) return 'parse error without a message';
  return `${lineAndColumn(query, first.start)}: parse error: ${first.message}`;
}

/** `line:column` of a byte offset, both from 1. */
export function lineAndColumn(query: Uint8Array, offset: number): string {
  if (query.length === 0) return 'unknown position';
  if (offset < 0 || offset > query.length) return 'invalid position';
  let line = 1;
  let lastBreak = -1;
  for (let i = 0; i < offset; i++) {
    if (query[i] !== 10) continue;
    lastBreak = i;
    line++;
  }
  return `${line}:${offset - lastBreak}`;
}

/** Thrown inside the parser where it cannot go on; the findings are in its state. Never leaves this folder. */
export class ParseAbort extends Error {
  override name = 'ParseAbort';
}

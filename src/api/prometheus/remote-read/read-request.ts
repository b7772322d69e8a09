/**
 * Decodes prometheus.ReadRequest. Everything in it is a stranger's: sizes and counts are bounded before they are used.
 *
 *     ReadRequest { repeated Query queries = 1; repeated ResponseType accepted_response_types = 2 }
 *     Query { int64 start_ms = 1; int64 end_ms = 2; repeated LabelMatcher matchers = 3; ReadHints hints = 4 }
 *     LabelMatcher { Type type = 1; string name = 2; string value = 3 }
 */
import { ProtobufReader } from '../../../lib/protobuf.ts';
import type { Matcher, MatchOp } from '../../../model/matcher.ts';
import { regexProblem } from '../../../query/promql/matcher-check.ts';

export interface ReadQuery {
  startMs: number;
  endMs: number;
  matchers: Matcher[];
}

export interface ReadRequest {
  queries: ReadQuery[];
  /** As sent; empty means samples. */
  accepted: ('samples' | 'chunks')[];
}

const QUERIES_MAX = 100;
const MATCHERS_MAX = 1000;
const ACCEPTED_MAX = 16;
const OPS: readonly MatchOp[] = ['=', '!=', '=~', '!~'];
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Throws an Error that says what is wrong. */
export function decodeReadRequest(bytes: Uint8Array): ReadRequest {
  const r = new ProtobufReader(bytes);
  const request: ReadRequest = { queries: [], accepted: [] };
  while (r.more()) {
    switch (r.field()) {
      case 1:
        if (request.queries.length === QUERIES_MAX) throw r.error(`more than ${QUERIES_MAX} queries in one request`);
        request.queries.push(query(r));
        break;
      case 2: {
        const types: number[] = [];
        r.unsignedsInto(types, ACCEPTED_MAX);
        for (const type of types) {
          if (request.accepted.length === ACCEPTED_MAX) break;
          if (type === 0) request.accepted.push('samples');
          else if (type === 1) request.accepted.push('chunks');
        }
        break;
      }
      default:
        r.skip();
    }
  }
  return request;
}

function query(r: ProtobufReader): ReadQuery {
  const out: ReadQuery = { startMs: 0, endMs: 0, matchers: [] };
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        out.startMs = clampMs(r.signed());
        break;
      case 2:
        out.endMs = clampMs(r.signed());
        break;
      case 3:
        if (out.matchers.length === MATCHERS_MAX) throw r.error(`more than ${MATCHERS_MAX} matchers in one query`);
        out.matchers.push(matcher(r));
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  return out;
}

function matcher(r: ProtobufReader): Matcher {
  let type = 0;
  let name = '';
  let value = '';
  const outer = r.enter();
  while (r.more()) {
    switch (r.field()) {
      case 1:
        type = r.unsigned();
        break;
      case 2:
        name = text(r);
        break;
      case 3:
        value = text(r);
        break;
      default:
        r.skip();
    }
  }
  r.leave(outer);
  const op = OPS[type];
  if (op === undefined) throw r.error(`invalid matcher type ${type}`);
  const out: Matcher = { name, op, value };
  const problem = regexProblem(out);
  if (problem !== '') throw r.error(`matcher ${name}${op}${JSON.stringify(value)}: ${problem}`);
  return out;
}

function text(r: ProtobufReader): string {
  const start = r.span();
  return utf8.decode(r.bytes.subarray(start, r.at));
}

function clampMs(ms: number): number {
  return Math.min(Math.max(ms, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
}

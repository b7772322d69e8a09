/**
 * parseKept: parseExpr that remembers the trees of the last texts. A query is parsed by whoever looks at it (limits, result cache,
 * engine), and dashboards send the same ones again and again. Nobody changes a parsed tree: planning makes a new one.
 */
import type { Expr } from './ast.ts';
import { type ParserFeatures, parseExpr } from './parser.ts';

const KEPT_MAX = 256;
/** Longer texts (of which hardly two are the same) are not kept. */
const TEXT_MAX = 4096;

/** By the object that tells the features: few, and never changed. */
const kept = new WeakMap<ParserFeatures, Map<string, Expr>>();

/** Throws as parseExpr does; what does not parse is not kept. */
export function parseKept(text: string, features: ParserFeatures): Expr {
  if (text.length > TEXT_MAX) return parseExpr(text, features);
  let byText = kept.get(features);
  if (byText === undefined) {
    byText = new Map();
    kept.set(features, byText);
  }
  const known = byText.get(text);
  if (known !== undefined) return known;
  const expr = parseExpr(text, features);
  byText.set(text, expr);
  if (byText.size > KEPT_MAX) {
    for (const oldest of byText.keys()) {
      byText.delete(oldest);
      break;
    }
  }
  return expr;
}

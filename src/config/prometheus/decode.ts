/**
 * Decoders for Prometheus' configuration files: small functions over YAML nodes that know where they are.
 *
 * A file for Prometheus is judged as Prometheus judges it: unknown fields, doubled keys and wrong types are errors with
 * Prometheus' words, a null scalar is the zero value (not the default), yes/on are booleans. What is valid but not supported here
 * yet is noted by its path and never an error. All problems of a file are collected, not only the first.
 */
import { isAlias, isMap, isScalar, isSeq, type Node, type Scalar, type YAMLMap } from 'yaml';
import { suggestion } from '../suggest.ts';
import { parseBytes, parseDuration } from '../units.ts';
import { type ConfigProblem, formatPath, type Path, type YamlSource } from '../yaml-source.ts';

/** Something valid that has no effect here (yet). */
export interface UnsupportedKey {
  file: string;
  line: number;
  /** With list indexes left out: `scrape_configs.consul_sd_configs`. */
  key: string;
}

export class DecodeContext {
  readonly source: YamlSource;
  readonly problems: ConfigProblem[] = [];
  readonly unsupported: UnsupportedKey[] = [];

  constructor(source: YamlSource) {
    this.source = source;
  }

  fail(node: unknown, path: Path, message: string): void {
    this.problems.push(this.source.problemAtNode(node, path, message));
  }

  /** As above, for a place given by its path alone. */
  failAt(path: Path, message: string): void {
    this.problems.push(this.source.problem(path, message));
  }

  noteUnsupported(node: unknown, path: Path): void {
    const key = formatPath(path.filter(part => typeof part === 'string'));
    const line = this.source.nodePosition(node)?.line ?? 0;
    this.unsupported.push({ file: this.source.file, line, key });
  }
}

/** Gives the value, or undefined after noting a problem. `node` is null where the file says nothing. */
export type Decoder<T> = (ctx: DecodeContext, node: Node | null, path: Path) => T | undefined;

const DEPTH_MAX = 40;

export function resolve(ctx: DecodeContext, node: unknown): Node | null {
  let at = node;
  for (let depth = 0; isAlias(at) && depth < 16; depth++)
    at = ctx.source.doc === null ? null : at.resolve(ctx.source.doc);
  return isAlias(at) ? null : ((at as Node | null) ?? null);
}

export function isNull(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null);
}

function kindOf(node: Node | null): string {
  if (isMap(node)) return '!!map';
  if (isSeq(node)) return '!!seq';
  return isScalar(node) ? `!!str ${JSON.stringify(String(node.value)).slice(0, 40)}` : 'nothing';
}

function mismatch(ctx: DecodeContext, node: Node | null, path: Path, type: string): undefined {
  ctx.fail(node, path, `unmarshal errors: cannot unmarshal ${kindOf(node)} into ${type}`);
  return undefined;
}

const BINARY_TAG = 'tag:yaml.org,2002:binary';

/** A scalar's text as the file has it (1.10 stays 1.10); bytes of !!binary become U+FFFD where they are not UTF-8. */
function scalarText(ctx: DecodeContext, node: Scalar, path: Path): string | undefined {
  if (node.tag === BINARY_TAG) {
    // The text as it stands: the YAML library would drop what is not base64.
    const text =
      node.source ??
      (node.value instanceof Uint8Array ? Buffer.from(node.value).toString('base64') : String(node.value));
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text.replaceAll(/\s/g, ''))) {
      ctx.fail(node, path, '!!binary value contains invalid base64 data');
      return undefined;
    }
    return Buffer.from(text, 'base64').toString('utf8');
  }
  if (typeof node.value === 'string') return node.value;
  return node.source ?? String(node.value);
}

export const str: Decoder<string> = (ctx, node, path) => {
  if (isNull(node)) return '';
  if (!isScalar(node)) return mismatch(ctx, node, path, 'string');
  return scalarText(ctx, node, path);
};

export const bool: Decoder<boolean> = (ctx, node, path) => {
  if (isNull(node)) return false;
  const text = isScalar(node) ? String(node.value).toLowerCase() : '';
  if (['true', 'yes', 'on', 'y'].includes(text)) return true;
  if (['false', 'no', 'off', 'n'].includes(text)) return false;
  return mismatch(ctx, node, path, 'bool');
};

function number(type: string, accept: (value: number) => boolean): Decoder<number> {
  return (ctx, node, path) => {
    if (isNull(node)) return 0;
    const value = isScalar(node) && typeof node.value !== 'boolean' ? Number(node.value) : Number.NaN;
    if (Number.isNaN(value) || !accept(value)) return mismatch(ctx, node, path, type);
    return value;
  };
}

export const int = number('int', Number.isInteger);
export const uint = number('uint', value => Number.isInteger(value) && value >= 0);
export const float = number('float64', () => true);

/** ms. */
export const duration: Decoder<number> = (ctx, node, path) => parsed(ctx, node, path, parseDuration);

/** A duration that may have a sign, or be in Go's notation; ms. */
export const bytes: Decoder<number> = (ctx, node, path) => parsed(ctx, node, path, parseBytes);

function parsed(
  ctx: DecodeContext,
  node: Node | null,
  path: Path,
  parse: (text: string) => number,
): number | undefined {
  if (isNull(node)) return 0;
  const text = str(ctx, node, path);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    ctx.fail(node, path, (error as Error).message);
    return undefined;
  }
}

/** Anything at all, as plain data. */
export const any: Decoder<unknown> = (_ctx, node) => node?.toJSON() ?? null;

export function oneOf(allowed: readonly string[], message: (got: string) => string): Decoder<string> {
  return (ctx, node, path) => {
    const text = str(ctx, node, path);
    if (text === undefined) return undefined;
    if (allowed.includes(text)) return text;
    ctx.fail(node, path, message(text));
    return undefined;
  };
}

/** `emptyMessage` refuses null items. Where one item fails, the good ones are kept: the file as a whole is refused anyway. */
export function list<T>(item: Decoder<T>, emptyMessage = ''): Decoder<T[]> {
  return (ctx, node, path) => {
    if (isNull(node)) return [];
    if (!isSeq(node)) return mismatch(ctx, node, path, 'a list');
    const out: T[] = [];
    for (let i = 0; i < node.items.length; i++) {
      const child = resolve(ctx, node.items[i]);
      const at = [...path, i];
      if (emptyMessage !== '' && isNull(child)) {
        ctx.fail(node.items[i] ?? node, at, emptyMessage);
        continue;
      }
      const value = item(ctx, child, at);
      if (value !== undefined) out.push(value);
    }
    return out;
  };
}

export function dict<T>(value: Decoder<T>): Decoder<Map<string, T>> {
  return (ctx, node, path) => {
    if (isNull(node)) return new Map();
    if (!isMap(node)) return mismatch(ctx, node, path, 'a map');
    const out = new Map<string, T>();
    for (const { key, keyNode, valueNode } of pairs(ctx, node, path)) {
      if (out.has(key)) ctx.fail(keyNode, [...path, key], `key ${JSON.stringify(key)} already set in map`);
      const child = value(ctx, valueNode, [...path, key]);
      if (child !== undefined) out.set(key, child);
    }
    return out;
  };
}

interface PairView {
  key: string;
  keyNode: Node | null;
  valueNode: Node | null;
}

/** A map's pairs with `<<` merged in behind the keys that are there. */
function pairs(ctx: DecodeContext, map: YAMLMap, path: Path): PairView[] {
  const out: PairView[] = [];
  const merged: PairView[] = [];
  if (path.length > DEPTH_MAX) {
    ctx.fail(map, path, `nested deeper than ${DEPTH_MAX} levels`);
    return out;
  }
  for (const item of map.items) {
    const keyNode = resolve(ctx, item.key);
    const valueNode = resolve(ctx, item.value);
    const isMerge = isScalar(keyNode) && (keyNode.source === '<<' || String(keyNode.value) === 'Symbol(<<)');
    if (isMerge) {
      const sources = isSeq(valueNode) ? valueNode.items.map(source => resolve(ctx, source)) : [valueNode];
      for (const source of sources) if (isMap(source)) merged.push(...pairs(ctx, source, [...path, '<<']));
      continue;
    }
    const key = isScalar(keyNode) ? (scalarText(ctx, keyNode, path) ?? '') : String(keyNode);
    out.push({ key, keyNode, valueNode });
  }
  const own = new Set(out.map(pair => pair.key));
  for (const pair of merged) {
    if (own.has(pair.key)) continue;
    own.add(pair.key);
    out.push(pair);
  }
  return out;
}

export interface Field<T> {
  decode: Decoder<T>;
  /** Valid, but without effect here: noted where it is set. */
  unsupported?: true;
}

type Fields = Record<string, Field<unknown>>;

/** What a struct gives: each field's value where the file sets it and it is right. */
export type Decoded<F extends Fields> = { -readonly [K in keyof F]?: F[K] extends Field<infer T> ? T : never };

export interface StructOptions<F extends Fields> {
  /** Runs when the map is decoded; notes problems about fields together. `fail` takes the field to point at. */
  check?: (value: Decoded<F>, fail: (message: string, field?: string) => void) => void;
  /** Unknown fields are noted as unsupported instead: for sections whose fields we do not know for certain. */
  lenient?: true;
}

export function yes<T>(decode: Decoder<T>): Field<T> {
  return { decode };
}

/** Known to Prometheus, without effect here. */
export function no<T>(decode: Decoder<T>): Field<T> {
  return { decode, unsupported: true };
}

/** `typeName` is for messages, as Prometheus has it. */
export function struct<F extends Fields>(
  typeName: string,
  fields: F,
  options: StructOptions<F> = {},
): Decoder<Decoded<F>> {
  return (ctx, node, path) => {
    const out: Record<string, unknown> = {};
    const fail = (message: string, field?: string): void =>
      field === undefined ? ctx.fail(node, path, message) : ctx.failAt([...path, field], message);
    if (!isNull(node)) {
      if (!isMap(node)) return mismatch(ctx, node, path, typeName);
      decodeFields(ctx, node, path, { typeName, fields, lenient: options.lenient === true }, out);
    }
    options.check?.(out as Decoded<F>, fail);
    return out as Decoded<F>;
  };
}

function decodeFields(
  ctx: DecodeContext,
  node: YAMLMap,
  path: Path,
  type: { typeName: string; fields: Fields; lenient: boolean },
  out: Record<string, unknown>,
): void {
  const seen = new Set<string>();
  for (const { key, keyNode, valueNode } of pairs(ctx, node, path)) {
    const at = [...path, key];
    if (seen.has(key)) {
      ctx.fail(keyNode, at, `field ${key} already set in type ${type.typeName}`);
      continue;
    }
    seen.add(key);
    const field = Object.hasOwn(type.fields, key) ? type.fields[key] : undefined;
    if (field === undefined) {
      if (type.lenient) ctx.noteUnsupported(keyNode, at);
      else {
        const near = suggestion(key, Object.keys(type.fields));
        ctx.fail(keyNode, at, `field ${key} not found in type ${type.typeName}${near}`);
      }
      continue;
    }
    if (field.unsupported === true) ctx.noteUnsupported(keyNode, at);
    const value = field.decode(ctx, valueNode, at);
    if (value !== undefined) out[key] = value;
  }
}

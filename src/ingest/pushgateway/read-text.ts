/**
 * Exposition text of a push -> families. A sample belongs to the family whose TYPE came before and whose name it bears (with _bucket,
 * _sum, _count where the type has them); any other is a family of its own, untyped.
 *
 * Stricter than a scrape: timestamps are refused (a sample that is given out for ever cannot have one), as is a last line without its
 * end, which is a push that was cut off.
 */
import { ENTRY_END, ENTRY_HELP, ENTRY_SERIES, ENTRY_TYPE, ExpositionParser } from '../exposition/parser.ts';
import { readSeries } from '../exposition/series-text.ts';
import { LabelSet } from '../label-set.ts';
import { type PushFamily, sampleOf } from './family.ts';

/** The push is refused: HTTP 400. */
export class PushFormatError extends Error {
  override name = 'PushFormatError';
}

/** Failures that count as a failed push of a group, not only as a bad request. */
export class PushContentError extends PushFormatError {
  override name = 'PushContentError';
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['', '_bucket', '_sum', '_count'],
  gaugehistogram: ['', '_bucket', '_gsum', '_gcount', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

export function readTextPush(bytes: Uint8Array): PushFamily[] {
  const families = new Map<string, PushFamily>();
  if (bytes.length > 0 && bytes[bytes.length - 1] !== 0x0a) {
    throw new PushFormatError('text format parsing error: the last line has no end: the push was cut off');
  }
  const parser = new ExpositionParser('text');
  const set = new LabelSet();
  parser.reset(bytes);
  for (;;) {
    const kind = parser.next();
    if (kind === ENTRY_END) return [...families.values()].filter(family => family.samples.length > 0);
    if (kind === ENTRY_TYPE || kind === ENTRY_HELP) {
      const family = familyCalled(families, parser.metric);
      if (kind === ENTRY_HELP) family.help = parser.text;
      else if (family.samples.length > 0) {
        throw new PushFormatError(`line ${parser.line}: the TYPE of ${parser.metric} comes behind its samples`);
      } else family.type = parser.text === 'unknown' ? 'untyped' : parser.text;
      continue;
    }
    if (kind !== ENTRY_SERIES) continue;
    if (parser.hasTimestamp) throw new PushContentError('pushed metrics must not have timestamps');
    set.clear();
    readSeries(parser.bytes, parser.seriesStart, parser.seriesEnd, 'text', set);
    if (set.tooLarge) throw new PushFormatError(`line ${parser.line}: too many or too long labels`);
    const duplicate = set.sort();
    if (duplicate >= 0) {
      throw new PushFormatError(`line ${parser.line}: label ${JSON.stringify(set.nameText(duplicate))} is given twice`);
    }
    const flat = set.toFlat();
    const labels = new Map<string, string>();
    for (let i = 0; i < flat.length; i += 2) labels.set(flat[i] as string, flat[i + 1] as string);
    const name = labels.get('__name__') ?? '';
    labels.delete('__name__');
    familyOf(families, name).samples.push(sampleOf(name, parser.values[0] as number, labels));
  }
}

function familyOf(families: Map<string, PushFamily>, name: string): PushFamily {
  const own = families.get(name);
  if (own !== undefined) return own;
  for (const suffix of ['_bucket', '_sum', '_count', '_gsum', '_gcount']) {
    if (!name.endsWith(suffix)) continue;
    const base = families.get(name.slice(0, -suffix.length));
    if (base !== undefined && SUFFIXES[base.type]?.includes(suffix)) return base;
  }
  return familyCalled(families, name);
}

function familyCalled(families: Map<string, PushFamily>, name: string): PushFamily {
  let family = families.get(name);
  if (family === undefined) {
    family = { name, type: 'untyped', help: '', samples: [] };
    families.set(name, family);
  }
  return family;
}

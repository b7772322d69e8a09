/**
 * Names: OpenTelemetry metric and attribute names as Prometheus names, by the rules of Prometheus 3's translation strategies.
 *
 * With escaping, a metric name is cut into tokens at everything but letters, digits and colons, and joined by underscores;
 * without, it stays as it is. With suffixes, the unit is spelt out behind it (`By/s` -> `bytes_per_second`), counters end in
 * `_total`, and gauges of unit `1` in `_ratio`; a token that is there already is not repeated.
 */
import type { OtlpSettings } from './settings.ts';

export type NameKind = 'gauge' | 'counter' | 'other';

/** UCUM units that have a Prometheus word; others stand as they are. */
const UNITS: ReadonlyMap<string, string> = new Map([
  ['d', 'days'],
  ['h', 'hours'],
  ['min', 'minutes'],
  ['s', 'seconds'],
  ['ms', 'milliseconds'],
  ['us', 'microseconds'],
  ['ns', 'nanoseconds'],
  ['By', 'bytes'],
  ['KiBy', 'kibibytes'],
  ['MiBy', 'mebibytes'],
  ['GiBy', 'gibibytes'],
  // Sic: the word that Prometheus gives it, and dashboards know.
  ['TiBy', 'tibibytes'],
  ['KBy', 'kilobytes'],
  ['MBy', 'megabytes'],
  ['GBy', 'gigabytes'],
  ['TBy', 'terabytes'],
  ['m', 'meters'],
  ['V', 'volts'],
  ['A', 'amperes'],
  ['J', 'joules'],
  ['W', 'watts'],
  ['g', 'grams'],
  ['Cel', 'celsius'],
  ['Hz', 'hertz'],
  ['1', ''],
  ['%', 'percent'],
]);

/** Behind a slash: singular. */
const PER_UNITS: ReadonlyMap<string, string> = new Map([
  ['s', 'second'],
  ['m', 'minute'],
  ['h', 'hour'],
  ['d', 'day'],
  ['w', 'week'],
  ['mo', 'month'],
  ['y', 'year'],
]);

/** '' where nothing usable is left of the name. */
export function metricName(name: string, unit: string, kind: NameKind, settings: OtlpSettings): string {
  switch (settings.translationStrategy) {
    case 'NoTranslation':
      return name;
    case 'NoUTF8EscapingWithSuffixes':
      return name === '' ? '' : withSuffixes(name, unit, kind);
    case 'UnderscoreEscapingWithoutSuffixes':
      return usable(
        name,
        noLeadingDigit(
          name
            .split(/[^a-zA-Z0-9:_]+/)
            .filter(nonEmpty)
            .join('_'),
        ),
      );
    case 'UnderscoreEscapingWithSuffixes':
      return usable(name, noLeadingDigit(escapedWithSuffixes(name, unit, kind)));
  }
}

/** '' where nothing usable is left of the name. */
export function labelName(name: string, settings: OtlpSettings): string {
  if (name === '' || keepsUtf8(settings)) return name;
  let out = name.replace(/[^a-zA-Z0-9_]/gu, '_');
  if (!settings.labelNamePreserveMultipleUnderscores && !/^__.*__$/.test(out)) out = out.replace(/__+/g, '_');
  if (/^[0-9]/.test(out)) out = `key_${out}`;
  else if (settings.labelNameUnderscoreSanitization && /^_[^_]|^_$/.test(out)) out = `key${out}`;
  return usable(name, out);
}

function keepsUtf8(settings: OtlpSettings): boolean {
  return (
    settings.translationStrategy === 'NoTranslation' || settings.translationStrategy === 'NoUTF8EscapingWithSuffixes'
  );
}

/** A name that escaping made of underscores alone stands for nothing. */
function usable(original: string, translated: string): string {
  return translated !== original && /^_*$/.test(translated) ? '' : translated;
}

function noLeadingDigit(name: string): string {
  return /^[0-9]/.test(name) ? `_${name}` : name;
}

function nonEmpty(token: string): boolean {
  return token !== '';
}

/** The unit's words, main and `per_...`; '' for what it does not say. Annotations in braces count for nothing. */
function unitWords(unit: string): { main: string; per: string } {
  const slash = unit.indexOf('/');
  const main = (slash < 0 ? unit : unit.slice(0, slash)).trim();
  const per = slash < 0 ? '' : unit.slice(slash + 1).trim();
  return {
    main: /[{}]/.test(main) ? '' : (UNITS.get(main) ?? main),
    per: per === '' || /[{}]/.test(per) ? '' : `per_${PER_UNITS.get(per) ?? per}`,
  };
}

/** Letters, digits and colons; runs of anything else are one underscore, none in front. */
function cleanUnit(unit: string): string {
  return unit.replace(/[^a-zA-Z0-9:]+/g, '_').replace(/^_/, '');
}

function escapedWithSuffixes(name: string, unit: string, kind: NameKind): string {
  let tokens = name.split(/[^a-zA-Z0-9:]+/).filter(nonEmpty);
  const words = unitWords(unit);
  let main = cleanUnit(words.main);
  let per = cleanUnit(words.per).replace(/_$/, '');
  if (per === 'per' || tokens.includes(per)) per = '';
  if (tokens.includes(main)) main = '';
  if (per !== '') main = main.replace(/_$/, '');
  if (main !== '') tokens.push(main);
  if (per !== '') tokens.push(per);
  if (kind === 'counter') tokens = [...tokens.filter(t => t !== 'total'), 'total'];
  if (kind === 'gauge' && unit === '1') tokens = [...tokens.filter(t => t !== 'ratio'), 'ratio'];
  return tokens.join('_');
}

function withSuffixes(name: string, unit: string, kind: NameKind): string {
  let base = name;
  let end = '';
  if (kind === 'gauge' && unit === '1') {
    base = withoutSuffix(base, 'ratio');
    end = '_ratio';
  }
  if (kind === 'counter') {
    base = withoutSuffix(base, 'total');
    end = '_total';
  }
  const { main, per } = unitWords(unit);
  if (per !== '') {
    base = withoutSuffix(base, per);
    end = `_${per}${end}`;
  }
  if (main !== '' && !base.endsWith(main)) base = `${base}_${main}`;
  return base + end;
}

/** Without the word at its end and the one character before it. */
function withoutSuffix(name: string, suffix: string): string {
  return name.endsWith(suffix) && name.length > suffix.length + 1 ? name.slice(0, -suffix.length - 1) : name;
}

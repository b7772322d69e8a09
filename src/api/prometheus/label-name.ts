/**
 * Label names in paths: a name that is not a classic identifier comes escaped as `U__...`, where `__` stands for an underscore and
 * `_1F600_` for a code point in hex. A name that only looks escaped stands for itself.
 */

const PREFIX = 'U__';
const HEX_DIGITS_MAX = 6;

export function unescapeName(name: string): string {
  if (!name.startsWith(PREFIX)) return name;
  let out = '';
  let i = PREFIX.length;
  while (i < name.length) {
    const c = name[i] as string;
    i++;
    if (c !== '_') {
      out += c;
      continue;
    }
    if (name[i] === '_') {
      out += '_';
      i++;
      continue;
    }
    const end = name.indexOf('_', i);
    const hex = end === -1 ? '' : name.slice(i, end);
    if (hex.length > HEX_DIGITS_MAX || !/^[0-9a-fA-F]+$/.test(hex)) return name;
    const code = Number.parseInt(hex, 16);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return name;
    out += String.fromCodePoint(code);
    i = end + 1;
  }
  return out;
}

/**
 * Durations and byte sizes in Prometheus' notation, as both its files and ours use them.
 *
 * Durations: lib/duration.ts.
 * Bytes: `15MB`, `1.5GiB`, `512B`; all units are powers of 1024 (as Prometheus reads MB too). A unit is required.
 */

export { formatDuration, parseDuration } from '../lib/duration.ts';

const BYTES = /^(-?\d+(?:\.\d*)?|-?\.\d+)([a-zA-Z]*)$/;
const BYTE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 2 ** 10,
  KiB: 2 ** 10,
  MB: 2 ** 20,
  MiB: 2 ** 20,
  GB: 2 ** 30,
  GiB: 2 ** 30,
  TB: 2 ** 40,
  TiB: 2 ** 40,
  PB: 2 ** 50,
  PiB: 2 ** 50,
  EB: 2 ** 60,
  EiB: 2 ** 60,
};

export function parseBytes(text: string): number {
  if (text === '0') return 0;
  const match = BYTES.exec(text);
  if (match === null) throw new RangeError(`units: invalid ${text}`);
  const unit = BYTE_UNITS[match[2] as string];
  if (unit === undefined) throw new RangeError(`units: unknown unit ${match[2]} in ${text}`);
  return Math.round(Number(match[1]) * unit);
}

export function formatBytes(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  let rest = bytes;
  while (rest >= 1024 && rest % 1024 === 0 && i < names.length - 1) {
    rest /= 1024;
    i++;
  }
  return `${rest}${names[i]}`;
}

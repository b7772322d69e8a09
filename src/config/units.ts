/**
 * Durations and byte sizes in Prometheus' notation, as both its files and ours use them.
 *
 * Duration: `1h30m`, units ms s m h d w y, each at most once, from large to small; `0` needs no unit. Result in ms.
 * Bytes: `15MB`, `1.5GiB`, `512B`; all units are powers of 1024 (as Prometheus reads MB too). A unit is required.
 */

const DURATION = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const DURATION_MS = [365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1000, 1] as const;

/** 2^63 nanoseconds: what a Go duration can hold. */
const DURATION_MS_MAX = 9_223_372_036_854;

/** Throws a RangeError whose message is fit for a user. */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (text === '') throw new RangeError('empty duration string');
  const match = DURATION.exec(text);
  if (match === null) throw new RangeError(`not a valid duration string: ${JSON.stringify(text)}`);
  let ms = 0;
  for (let i = 0; i < DURATION_MS.length; i++) ms += Number(match[i + 1] ?? 0) * (DURATION_MS[i] as number);
  if (ms > DURATION_MS_MAX) throw new RangeError('duration out of range');
  return ms;
}

/** The shortest notation that reads back as the same number: `1h30m`, `0s`. Weeks and years only where they are the whole. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  const names = ['y', 'w', 'd', 'h', 'm', 's', 'ms'] as const;
  for (let i = 0; i < 2; i++) {
    if (ms % (DURATION_MS[i] as number) === 0) return `${ms / (DURATION_MS[i] as number)}${names[i]}`;
  }
  let rest = ms;
  let out = '';
  for (let i = 2; i < names.length; i++) {
    const unit = DURATION_MS[i] as number;
    const count = Math.floor(rest / unit);
    if (count > 0) out += `${count}${names[i]}`;
    rest -= count * unit;
  }
  return out;
}

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

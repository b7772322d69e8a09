/** File patterns as Prometheus' files have them: `*`, `?` and `[...]` in the last part of a path, matched as Go's filepath.Glob does. */
import { readdirSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';

/** Files that a path or pattern names, sorted; a path without wildcards names itself, there or not. */
export function expandGlob(pattern: string): string[] {
  if (!/[*?[]/.test(pattern)) return [pattern];
  let names: string[];
  try {
    names = readdirSync(dirname(pattern));
  } catch {
    return [];
  }
  // In Go `*` and `?` take a leading dot too; `posix.matchesGlob` does not.
  const last = basename(pattern);
  return names
    .filter(name => posix.matchesGlob(name.replace(/^\./, '_'), last.replace(/^\./, '_')))
    .sort()
    .map(name => join(dirname(pattern), name));
}

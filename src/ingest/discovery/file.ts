/**
 * FileDiscoverer: targets from JSON and YAML files.
 *
 * A change is seen by watching the folders (files are replaced, symlinks swapped: the file itself is the wrong thing to watch) and by
 * a look at the files' marks every few seconds, for file systems that tell nothing. A file that cannot be used keeps what
 * it had; one that is gone has no targets.
 */
import { type FSWatcher, watch } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { expandGlob } from '../../lib/glob.ts';
import { errorText } from '../../lib/log.ts';
import type { Discoverer, DiscoveryContext } from './discoverer.ts';
import { parseGroupsJson, parseGroupsYaml } from './group-file.ts';
import type { FileSection } from './sections.ts';
import type { TargetGroup } from './target-group.ts';

const POLL_MS = 5000;
/** Programs write a file in several steps. */
const SETTLE_MS = 200;
const FILE_BYTES_MAX = 64 << 20;
/** Files one section may name. */
const FILES_MAX = 10_000;

interface Known {
  mark: string;
  groups: readonly TargetGroup[];
  /** '' where the file is good. */
  error: string;
}

export class FileDiscoverer implements Discoverer {
  private readonly section: FileSection;
  private readonly patterns: readonly string[];
  private readonly known = new Map<string, Known>();
  private changed = (): void => {};

  constructor(section: FileSection) {
    this.section = section;
    this.patterns = section.files.map(file => resolve(section.baseDir, file));
  }

  async run(context: DiscoveryContext): Promise<void> {
    const watched = new Map<string, FSWatcher>();
    try {
      let readAllAt = 0;
      while (!context.signal.aborted) {
        this.watchFolders(context, watched);
        const now = context.clock.monotonic();
        const all = now >= readAllAt;
        if (all) readAllAt = now + this.section.refreshIntervalMs;
        await this.read(context, all);
        await this.wait(context);
      }
    } finally {
      for (const watcher of watched.values()) watcher.close();
    }
  }

  /** Until a watcher tells of a change and things have settled, or until the next look. */
  private async wait(context: DiscoveryContext): Promise<void> {
    const woken = new Promise<void>(done => {
      this.changed = done;
    });
    await Promise.race([context.sleep(POLL_MS), woken.then(() => context.sleep(SETTLE_MS))]);
  }

  /** Watches those folders that are there and not watched yet; one that went away is watched again when it is back. */
  private watchFolders(context: DiscoveryContext, watched: Map<string, FSWatcher>): void {
    for (const folder of new Set(this.patterns.map(pattern => dirname(pattern)))) {
      if (watched.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, () => this.changed());
        const gone = (): void => {
          watcher.close();
          watched.delete(folder);
        };
        watcher.on('error', gone);
        watched.set(folder, watcher);
      } catch (error) {
        context.log.debug({ folder, error: errorText(error) }, 'cannot watch a folder; it is polled');
      }
    }
  }

  private async read(context: DiscoveryContext, all: boolean): Promise<void> {
    const files = [...new Set(this.patterns.flatMap(pattern => expandGlob(pattern)))];
    const tooMany = files.length > FILES_MAX;
    if (tooMany) files.length = FILES_MAX;
    let changed = this.known.size === 0;
    for (const file of files) if (await this.readOne(file, all)) changed = true;
    const there = new Set(files);
    for (const file of this.known.keys()) {
      if (there.has(file)) continue;
      this.known.delete(file);
      changed = true;
    }
    if (!changed && !all) return;
    context.replace([...this.known.values()].flatMap(({ groups }) => groups));
    const failures = [...this.known].flatMap(([file, { error }]) => (error === '' ? [] : [`${file}: ${error}`]));
    if (tooMany) failures.push(`more than ${FILES_MAX} files; the others are left out`);
    if (failures.length > 0) context.fail(new Error(failures.slice(0, 5).join('; ')));
  }

  /** Whether there is something new. A missing file is forgotten; a bad one keeps its groups and is bad until it changes. */
  private async readOne(file: string, again: boolean): Promise<boolean> {
    const known = this.known.get(file);
    let mark = 'unreadable';
    try {
      mark = await markOf(file);
      if (mark === '') return this.known.delete(file);
      if (!again && known?.mark === mark) return false;
      this.known.set(file, { mark, groups: parseFile(file, await readBounded(file)), error: '' });
      return true;
    } catch (error) {
      const text = errorText(error);
      this.known.set(file, { mark, groups: known?.groups ?? [], error: text });
      return known?.mark !== mark || known.error !== text;
    }
  }
}

function parseFile(file: string, body: Buffer): TargetGroup[] {
  const source = (i: number): string => `${file}:${i}`;
  const json = extname(file).toLowerCase() === '.json';
  const groups = json ? parseGroupsJson(body, source) : parseGroupsYaml(body.toString('utf8'), source);
  return groups.map(group => ({ ...group, labels: new Map([...group.labels, ['__meta_filepath', file]]) }));
}

/** Changes when the file may have; '' where there is none. */
async function markOf(file: string): Promise<string> {
  const found = await stat(file, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (found === null) return '';
  // Opening a pipe would wait for whoever writes into it.
  if (!found.isFile()) throw new Error('this is no plain file');
  return `${found.ino}:${found.size}:${found.mtimeNs}:${found.ctimeNs}`;
}

/** Bounded by what is read, not by what the file system says: it may grow, or be no file at all. */
async function readBounded(file: string): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    if (size > FILE_BYTES_MAX) throw new Error(`larger than ${FILE_BYTES_MAX} bytes`);
    const buffer = Buffer.alloc(size + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > size) throw new Error('it grew while it was read');
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

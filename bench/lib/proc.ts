/**
 * What a process tree costs, read from /proc: CPU seconds, memory, and the bytes of a folder. The whole tree counts, so
 * that a contestant which moves its work into children pays for it too. Linux only.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Clock ticks a second; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Memory {
  /** Resident bytes, file pages included. */
  rssBytes: number;
  /** Resident bytes that are no file's pages: what the kernel could not drop. */
  anonBytes: number;
  /** Highest resident size since the start. */
  peakBytes: number;
}

/** The pids of a tree, root first. A process that ended meanwhile is left out. */
export function tree(rootPid: number): number[] {
  const pids: number[] = [];
  const queue = [rootPid];
  while (queue.length > 0) {
    const pid = queue.shift() as number;
    let tasks: string[];
    try {
      tasks = readdirSync(`/proc/${pid}/task`);
    } catch {
      continue;
    }
    pids.push(pid);
    for (const task of tasks) {
      try {
        const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
        if (children !== '') queue.push(...children.split(' ').map(Number));
      } catch {
        // The thread ended between the two reads.
      }
    }
  }
  return pids;
}

/** CPU seconds of the tree, ended and waited-for children included. */
export function cpuSeconds(rootPid: number): number {
  let ticks = 0;
  for (const pid of tree(rootPid)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // Fields after the command name, which may itself hold spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      for (const index of [11, 12, 13, 14]) ticks += Number(fields[index]);
    } catch {
      // Ended meanwhile; its parent has its ticks.
    }
  }
  return ticks / TICKS_PER_SECOND;
}

export function memory(rootPid: number): Memory {
  const sum: Memory = { rssBytes: 0, anonBytes: 0, peakBytes: 0 };
  for (const pid of tree(rootPid)) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      sum.rssBytes += kilobytes(status, 'VmRSS');
      sum.anonBytes += kilobytes(status, 'RssAnon') + kilobytes(status, 'RssShmem');
      sum.peakBytes += kilobytes(status, 'VmHWM');
    } catch {
      // Ended meanwhile.
    }
  }
  return sum;
}

function kilobytes(status: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status);
  return match ? Number(match[1]) * 1024 : 0;
}

/** Sizes of the regular files under a folder (apparent size, not blocks: preallocated tails count in full). */
export function folderBytes(folder: string, keep: (path: string) => boolean = () => true): number {
  let bytes = 0;
  const seen = new Set<number>();
  const visit = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) visit(child);
      else if (entry.isFile() && keep(child)) {
        try {
          const stat = statSync(child);
          if (stat.nlink > 1 && seen.has(stat.ino)) continue;
          seen.add(stat.ino);
          bytes += stat.size;
        } catch {
          // Merged away meanwhile.
        }
      }
    }
  };
  visit(folder);
  return bytes;
}

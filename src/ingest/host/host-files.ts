/**
 * HostFiles: how collectors read the kernel's files. A root other than `/` serves tests (a copied tree) and containers that
 * have the host mounted somewhere.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';

export interface FileSystemStats {
  blockBytes: number;
  blocks: number;
  blocksFree: number;
  blocksAvailable: number;
  files: number;
  filesFree: number;
}

export class HostFiles {
  private readonly root: string;

  constructor(root = '/') {
    this.root = root;
  }

  /** Throws where the file is missing. */
  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  /** '' where the file is missing or cannot be read: for parts that not every kernel or device has. */
  tryRead(path: string): string {
    try {
      return readFileSync(join(this.root, path), 'utf8');
    } catch {
      return '';
    }
  }

  list(path: string): string[] {
    return readdirSync(join(this.root, path));
  }

  /** On the thread pool: a dead network mount may hang for minutes. */
  async statfs(path: string): Promise<FileSystemStats> {
    const stats = await statfs(join(this.root, path));
    return {
      blockBytes: stats.bsize,
      blocks: stats.blocks,
      blocksFree: stats.bfree,
      blocksAvailable: stats.bavail,
      files: stats.files,
      filesFree: stats.ffree,
    };
  }
}

/** The numbers of a line of columns; NaN where a column is none. */
export function numbers(text: string): number[] {
  return text.trim().split(/\s+/).map(Number);
}

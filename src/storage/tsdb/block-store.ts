/**
 * BlockStore: the blocks of one shard, on disk and open: `blocks/<tenant>/<ulid>.block`.
 *
 * A block that cannot be opened is moved to `quarantine/` and reported; the rest serves. A merge makes its output first and
 * removes its inputs after; if a crash comes between, the output's `sources` tell at the next start which inputs are left over.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BlockCaches } from './block/cache.ts';
import { BlockReader, removeBlock, tombstonesPathOf } from './block/reader.ts';

export interface QuarantinedFile {
  file: string;
  reason: string;
}

export class BlockStore {
  readonly dir: string;
  readonly quarantined: QuarantinedFile[] = [];
  private readonly quarantineDir: string;
  private readonly caches: BlockCaches;
  private readonly byTenant = new Map<string, BlockReader[]>();

  /** @param root the shard's folder */
  constructor(root: string, caches: BlockCaches) {
    this.dir = join(root, 'blocks');
    this.quarantineDir = join(root, 'quarantine');
    this.caches = caches;
    mkdirSync(this.dir, { recursive: true });
    for (const tenant of readdirSync(this.dir, { withFileTypes: true })) {
      if (tenant.isDirectory()) this.openTenant(join(this.dir, tenant.name));
    }
    this.removeLeftovers();
  }

  /** Where a tenant's new blocks are written. */
  tenantDir(tenant: string): string {
    const dir = join(this.dir, tenant);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  /** Of one tenant, in no order. Do not keep across awaits without `retain`. */
  of(tenant: string): readonly BlockReader[] {
    return this.byTenant.get(tenant) ?? [];
  }

  all(): BlockReader[] {
    return [...this.byTenant.values()].flat();
  }

  get bytes(): number {
    let bytes = 0;
    for (const blocks of this.byTenant.values()) for (const b of blocks) bytes += b.bytes;
    return bytes;
  }

  /** Opens a finished block, which is not seen by readers before it is added. */
  open(path: string): BlockReader {
    return new BlockReader(path, this.caches);
  }

  /** Opened blocks appear. */
  add(blocks: readonly BlockReader[]): void {
    for (const block of blocks) {
      const list = this.byTenant.get(block.meta.tenant);
      if (list === undefined) this.byTenant.set(block.meta.tenant, [block]);
      else list.push(block);
    }
  }

  /** In one step for readers: the finished blocks at `paths` appear, `gone` disappear (queries that hold them go on). */
  replace(gone: readonly BlockReader[], paths: readonly string[]): BlockReader[] {
    const added = paths.map(path => this.open(path));
    this.add(added);
    for (const block of gone) {
      const list = (this.byTenant.get(block.meta.tenant) ?? []).filter(b => b !== block);
      if (list.length === 0) this.byTenant.delete(block.meta.tenant);
      else this.byTenant.set(block.meta.tenant, list);
      removeBlock(block.path);
      block.close();
    }
    return added;
  }

  /** Moves a block found corrupt out of the way. */
  quarantine(block: BlockReader, reason: string): void {
    const list = (this.byTenant.get(block.meta.tenant) ?? []).filter(b => b !== block);
    this.byTenant.set(block.meta.tenant, list);
    this.setAside(block.path, reason);
    block.close();
  }

  close(): void {
    for (const block of this.all()) block.close();
    this.byTenant.clear();
  }

  private openTenant(dir: string): void {
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      if (name.endsWith('.tmp')) rmSync(path, { force: true });
      else if (name.endsWith('.block')) this.openBlock(path);
    }
  }

  private openBlock(path: string): void {
    try {
      this.add([this.open(path)]);
    } catch (error) {
      // Out of file descriptors or memory is no fault of the file.
      if ((error as Error).name !== 'CorruptBlockError') throw error;
      this.setAside(path, (error as Error).message);
    }
  }

  private setAside(path: string, reason: string): void {
    mkdirSync(this.quarantineDir, { recursive: true });
    for (const file of [path, tombstonesPathOf(path)]) {
      if (existsSync(file)) renameSync(file, join(this.quarantineDir, basename(file)));
    }
    this.quarantined.push({ file: path, reason });
  }

  private removeLeftovers(): void {
    for (const [tenant, blocks] of this.byTenant) {
      const merged = new Set(blocks.flatMap(b => b.meta.sources.map(source => `${source} ${b.meta.resolutionMs}`)));
      const gone = blocks.filter(b => merged.has(`${b.meta.ulid} ${b.meta.resolutionMs}`));
      if (gone.length === 0) continue;
      this.byTenant.set(
        tenant,
        blocks.filter(b => !gone.includes(b)),
      );
      for (const block of gone) {
        removeBlock(block.path);
        block.close();
      }
    }
  }
}

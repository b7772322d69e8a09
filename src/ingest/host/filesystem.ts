/**
 * Mounted file systems: sizes by statfs.
 *
 * statfs on a dead network mount hangs; it runs on the thread pool, one at a time per mount, and the round does not wait longer than
 * a moment: what has not answered is reported as a device error, and asked again once the hanging call is back.
 */
import type { FileSystemStats, HostFiles } from './host-files.ts';
import type { HostSamples } from './host-writer.ts';

const ANSWER_MS = 1000;
const MOUNTS_MAX = 1000;

interface Mount {
  device: string;
  mountPoint: string;
  fsType: string;
  readOnly: boolean;
}

export class FileSystemCollector {
  private readonly excluded: (mountPoint: string, fsType: string) => boolean;
  private readonly hanging = new Set<string>();

  constructor(excluded: (mountPoint: string, fsType: string) => boolean) {
    this.excluded = excluded;
  }

  async collect(files: HostFiles, out: HostSamples): Promise<void> {
    const mounts = this.mounts(files);
    const answers = await Promise.all(mounts.map(mount => this.ask(files, mount.mountPoint)));
    for (let i = 0; i < mounts.length; i++) this.report(mounts[i] as Mount, answers[i] ?? null, out);
  }

  private mounts(files: HostFiles): Mount[] {
    // Process 1's view is the host's; ours may be a sandbox. Unprivileged users cannot always see it.
    const text = files.tryRead('proc/1/mounts') || files.read('proc/self/mounts');
    const seen = new Set<string>();
    const out: Mount[] = [];
    for (const line of text.split('\n')) {
      const [device, at, fsType, options] = line.split(' ');
      if (device === undefined || at === undefined || fsType === undefined || options === undefined) continue;
      const mountPoint = unescapeOctal(at);
      const key = `${device} ${mountPoint}`;
      if (seen.has(key) || this.excluded(mountPoint, fsType) || out.length >= MOUNTS_MAX) continue;
      seen.add(key);
      out.push({ device: unescapeOctal(device), mountPoint, fsType, readOnly: options.split(',').includes('ro') });
    }
    return out;
  }

  private async ask(files: HostFiles, mountPoint: string): Promise<FileSystemStats | null> {
    if (this.hanging.has(mountPoint)) return null;
    this.hanging.add(mountPoint);
    const answer = files.statfs(mountPoint).catch(() => null);
    void answer.finally(() => this.hanging.delete(mountPoint));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>(resolve => {
      timer = setTimeout(resolve, ANSWER_MS, null);
      timer.unref();
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  private report(mount: Mount, stats: FileSystemStats | null, out: HostSamples): void {
    const labels = ['device', mount.device, 'fstype', mount.fsType, 'mountpoint', mount.mountPoint];
    const failed = stats === null ? 1 : 0;
    out.gauge(
      'node_filesystem_device_error',
      'Whether an error occurred while getting statistics for the given device.',
      failed,
      labels,
    );
    out.gauge('node_filesystem_readonly', 'Filesystem read-only status.', mount.readOnly ? 1 : 0, labels);
    if (stats === null) return;
    out.gauge('node_filesystem_size_bytes', 'Filesystem size in bytes.', stats.blocks * stats.blockBytes, labels);
    out.gauge(
      'node_filesystem_free_bytes',
      'Filesystem free space in bytes.',
      stats.blocksFree * stats.blockBytes,
      labels,
    );
    out.gauge(
      'node_filesystem_avail_bytes',
      'Filesystem space available to non-root users in bytes.',
      stats.blocksAvailable * stats.blockBytes,
      labels,
    );
    out.gauge('node_filesystem_files', 'Filesystem total file nodes.', stats.files, labels);
    out.gauge('node_filesystem_files_free', 'Filesystem total free file nodes.', stats.filesFree, labels);
  }
}

/** The kernel writes blanks and backslashes in mounts as \040. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

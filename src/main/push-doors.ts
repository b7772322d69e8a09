/**
 * Doors for lines over UDP, TCP and Unix stream sockets: StatsD and Graphite come in here.
 *
 * Nobody who sends UDP can be told anything, and nobody may bring the process down: connections, line length and lines per second have
 * bounds, and what is thrown away is counted by reason. TCP is slowed down instead: a connection over its share, or ahead of what the
 * taker has room for, is not read from until there is room. Node has no Unix datagram sockets; clients that can use a stream.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { LineBuffer } from '../ingest/line-buffer.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';

export interface DoorTaker {
  /** Whole lines; the bytes are the taker's only during the call. */
  take(lines: Uint8Array): void;
  /** Resolves when there is room again; null: there is. */
  room(): Promise<void> | null;
}

export interface DoorOptions {
  host: string;
  /** 0 picks a free one, the same for TCP and UDP where that can be had. */
  port: number;
  udp: boolean;
  tcp: boolean;
  /** Path of a Unix stream socket; '' = none. */
  unix: string;
  connectionsMax: number;
  /** Lines per second over all; more wait (TCP) or are dropped (UDP). */
  linesPerSecond: number;
  taker: DoorTaker;
  onDropped: (reason: string, count: number) => void;
  clock: Clock;
  log: Logger;
}

/** A line of Graphite or StatsD is some 100 bytes. */
const LINE_BYTES_MAX = 64 * 1024;
/** A connection that says nothing for so long is closed. ms. */
const IDLE_MS = 10 * 60_000;
const RECEIVE_BUFFER_BYTES = 4 << 20;
const NEWLINE = 0x0a;

export class LineDoor {
  private readonly options: DoorOptions;
  private readonly rate: LineRate;
  private readonly servers: Server[] = [];
  private readonly connections = new Set<Socket>();
  private udp: UdpSocket | null = null;
  port = 0;

  constructor(options: DoorOptions) {
    this.options = options;
    this.rate = new LineRate(options.linesPerSecond, options.clock);
  }

  /** Rejects where an address cannot be had; nothing is left open then. */
  async open(): Promise<void> {
    const { host, port, udp, tcp, unix } = this.options;
    try {
      this.port = port;
      if (tcp) this.port = await this.listen({ host, port });
      if (udp) await this.bind(host, this.port);
      if (unix !== '') {
        removeSocket(unix);
        await this.listen({ path: unix });
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    const closing = this.servers.splice(0).map(server => new Promise<void>(done => server.close(() => done())));
    const { udp } = this;
    this.udp = null;
    if (udp !== null) closing.push(new Promise<void>(done => udp.close(() => done())));
    await Promise.all(closing);
    if (this.options.unix !== '') removeSocket(this.options.unix);
  }

  private listen(address: { host: string; port: number } | { path: string }): Promise<number> {
    const server = createServer(socket => this.accept(socket));
    this.servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, () => {
        server.off('error', reject);
        server.on('error', error => this.options.log.warn({ error: error.message }, 'a door failed'));
        const bound = server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
      });
    });
  }

  private bind(host: string, port: number): Promise<void> {
    const udp = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
    this.udp = udp;
    udp.on('message', packet => this.packet(packet));
    return new Promise((resolve, reject) => {
      udp.once('error', reject);
      udp.bind({ address: host, port }, () => {
        udp.off('error', reject);
        udp.on('error', error => this.options.log.warn({ error: error.message }, 'a door failed'));
        this.port = udp.address().port;
        try {
          udp.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
        } catch {
          // The kernel's bound holds.
        }
        resolve();
      });
    });
  }

  private packet(packet: Buffer): void {
    const { taker, onDropped } = this.options;
    const lines = countLines(packet);
    if (!this.rate.spend(lines)) onDropped('rate_limited', lines);
    else if (taker.room() !== null) onDropped('backlog', lines);
    else taker.take(packet);
  }

  private accept(socket: Socket): void {
    const { onDropped, connectionsMax } = this.options;
    if (this.connections.size >= connectionsMax) {
      onDropped('too_many_connections', 1);
      socket.destroy();
      return;
    }
    this.connections.add(socket);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('close', () => this.connections.delete(socket));
    // A peer that resets its connection is its own business.
    socket.on('error', () => socket.destroy());
    void this.read(socket);
  }

  private async read(socket: Socket): Promise<void> {
    const { onDropped, taker } = this.options;
    const lines = new LineBuffer(LINE_BYTES_MAX, () => onDropped('line_too_long', 1));
    const give = async (bytes: Uint8Array): Promise<void> => {
      await taker.room();
      await this.rate.waitFor(countLines(bytes));
      taker.take(bytes);
    };
    try {
      // Reading only what was taken: the kernel holds the sender back.
      for await (const chunk of socket) {
        for (const { bytes, start, end } of lines.push(chunk as Buffer)) await give(bytes.subarray(start, end));
      }
      for (const { bytes, start, end } of lines.end()) await give(bytes.subarray(start, end));
    } catch {
      // The connection broke: what came before it counts.
    } finally {
      socket.destroy();
    }
  }
}

/** A bucket of lines that a second's worth fills. */
class LineRate {
  private readonly perSecond: number;
  private readonly clock: Clock;
  private left: number;
  private filledMs: number;

  constructor(perSecond: number, clock: Clock) {
    this.perSecond = perSecond;
    this.clock = clock;
    this.left = perSecond;
    this.filledMs = clock.monotonic();
  }

  /** False where there are not so many left. */
  spend(lines: number): boolean {
    this.fill();
    if (this.left < Math.min(lines, this.perSecond)) return false;
    this.left -= lines;
    return true;
  }

  /** Takes them in any case and waits as long as they were not there. */
  async waitFor(lines: number): Promise<void> {
    this.fill();
    this.left -= lines;
    if (this.left >= 0) return;
    const ms = (-this.left / this.perSecond) * 1000;
    await new Promise<void>(done => this.clock.after(ms, done));
  }

  private fill(): void {
    const now = this.clock.monotonic();
    this.left = Math.min(this.perSecond, this.left + ((now - this.filledMs) / 1000) * this.perSecond);
    this.filledMs = now;
  }
}

/** The last one may lack its end. */
export function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (let p = 0; p < bytes.length; count++) {
    const eol = bytes.indexOf(NEWLINE, p);
    if (eol < 0) return count + 1;
    p = eol + 1;
  }
  return count;
}

/** Left behind by a process that was killed. Anything else of that name is not ours to remove. */
function removeSocket(path: string): void {
  try {
    if (statSync(path).isSocket()) rmSync(path);
  } catch {
    // Not there.
  }
}

/**
 * The Graphite door: lines are gathered on the main thread, undecoded, and handed to a worker as bodies, at latest after a moment. While
 * too many bodies are under way there is no room: TCP waits, UDP is dropped.
 */
import type { IngestService, PushNaming } from '../contracts/ingest-service.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorText, type Logger } from '../lib/log.ts';
import type { TenantId } from '../model/tenant.ts';
import { countLines, type DoorTaker } from './push-doors.ts';

export interface LineFeederOptions {
  ingest: IngestService;
  tenant: TenantId;
  naming: () => PushNaming;
  clock: Clock;
  log: Logger;
  onStored: (samples: number) => void;
  onDropped: (reason: string, count: number) => void;
}

const BODY_BYTES = 256 * 1024;
/** How long a line may wait for company. ms. */
const GATHER_MS = 200;
/** Bodies of 256 KiB on their way at once. */
const UNDER_WAY_MAX = 8;
const NEWLINE = Uint8Array.of(0x0a);

export class GraphiteFeeder implements DoorTaker {
  private readonly options: LineFeederOptions;
  private parts: Uint8Array[] = [];
  private bytes = 0;
  private timer: Timer | null = null;
  private readonly underWay = new Set<Promise<void>>();
  private waiting: { promise: Promise<void>; done: () => void } | null = null;
  private failing = false;

  constructor(options: LineFeederOptions) {
    this.options = options;
  }

  take(lines: Uint8Array): void {
    this.parts.push(lines.slice());
    this.bytes += lines.length;
    if (lines[lines.length - 1] !== 0x0a) {
      this.parts.push(NEWLINE);
      this.bytes++;
    }
    if (this.bytes >= BODY_BYTES) this.send();
    else this.timer ??= this.options.clock.after(GATHER_MS, () => this.send());
  }

  room(): Promise<void> | null {
    if (this.underWay.size < UNDER_WAY_MAX) return null;
    if (this.waiting === null) {
      let done = (): void => {};
      const promise = new Promise<void>(resolve => {
        done = resolve;
      });
      this.waiting = { promise, done };
    }
    return this.waiting.promise;
  }

  /** Sends what is there; resolves when all is stored or given up. */
  async drain(): Promise<void> {
    this.send();
    while (this.underWay.size > 0) await Promise.all(this.underWay);
  }

  private send(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.bytes === 0) return;
    const body = new Uint8Array(this.bytes);
    let at = 0;
    for (const part of this.parts) {
      body.set(part, at);
      at += part.length;
    }
    const lines = countLines(body);
    this.parts = [];
    this.bytes = 0;
    const sending = this.store(body, lines).finally(() => {
      this.underWay.delete(sending);
      this.waiting?.done();
      this.waiting = null;
    });
    this.underWay.add(sending);
  }

  private async store(body: Uint8Array, lines: number): Promise<void> {
    const { ingest, tenant, naming, onStored, onDropped, log } = this.options;
    const request = {
      protocol: 'graphite',
      tenant,
      contentType: '',
      contentEncoding: '',
      params: '',
      headers: {},
    } as const;
    try {
      const response = await ingest.ingest({ ...request, push: naming() }, body);
      if (response.stored === undefined) throw new Error(response.body);
      onStored(response.stored);
      for (const { reason, count } of response.rejected ?? []) onDropped(reason, count);
      this.failing = false;
    } catch (error) {
      onDropped('not_stored', lines);
      if (!this.failing) log.warn({ error: errorText(error) }, 'lines cannot be stored');
      this.failing = true;
    }
  }
}

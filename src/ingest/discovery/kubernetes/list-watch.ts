/**
 * ListWatch: keeps a copy of one collection of a Kubernetes API server up to date: a list in pages, then a watch from the list's
 * resource version on.
 *
 *   list -> watch -> (ends, breaks) -> watch from the last version seen -> ... -> (410 Gone, every half hour) -> list again
 *
 * Bookmarks move the version on where nothing changes, so that a watch can go on without a new list. A list says what is gone: objects
 * that it does not name are removed. While nothing can be had the copy stays as it was.
 */
import { errorText } from '../../../lib/log.ts';
import {
  Backoff,
  BODY_BYTES_MAX,
  type DiscoveryContext,
  getJson,
  HttpStatusError,
  type SdHttp,
  withDeadline,
} from '../discoverer.ts';
import { items, num, record, text } from '../untrusted.ts';
import { type Kind, type KubernetesObject, keyOf, objectOf } from './objects.ts';

const PAGE_OBJECTS = 500;
const PAGE_TIMEOUT_MS = 60_000;
/** Of one collection. */
const OBJECTS_MAX = 200_000;
/** How long the server is asked to keep a watch: this and up to as much again. Short, so that a connection that died silently is noticed. */
const WATCH_S = 120;
/** Time for the answer to begin, and beyond the asked time for it to end. */
const WATCH_GRACE_MS = 30_000;
/** One event; an object is at most some 1.5 MB. */
const EVENT_CHARS_MAX = 32 << 20;
/** A whole list all the same, in case something was missed. */
const RESYNC_MS = 30 * 60_000;
const RETRY_MAX_MS = 15_000;
/** Of watches that end at once, so that a server that closes each one is not asked without a pause. */
const WATCH_GAP_MS = 1000;

export interface ListWatchOptions {
  kind: Kind;
  /** Of the collection, without query. */
  url: string;
  labelSelector: string;
  fieldSelector: string;
  http: SdHttp;
  /** An object is new, different, or gone (`object` null). */
  onChange(key: string, object: KubernetesObject | null): void;
  /** After each whole list. */
  onListed(): void;
}

/** The version asked for is too old. */
class GoneError extends Error {}

export class ListWatch {
  private readonly options: ListWatchOptions;
  private readonly context: DiscoveryContext;
  /** What is there, and its version. */
  private versions = new Map<string, string>();
  private version = '';
  private listedAtMs = 0;

  constructor(context: DiscoveryContext, options: ListWatchOptions) {
    this.context = context;
    this.options = options;
  }

  /** Until the context's signal is aborted. */
  async run(): Promise<void> {
    const { signal, clock } = this.context;
    const backoff = new Backoff(this.context, RETRY_MAX_MS);
    const scope = this.options.url;
    while (!signal.aborted) {
      const beganMs = clock.monotonic();
      try {
        if (this.version === '' || clock.monotonic() - this.listedAtMs > RESYNC_MS) await this.list();
        await this.watch();
        backoff.reset();
        if (clock.monotonic() - beganMs < WATCH_GAP_MS) await this.context.sleep(WATCH_GAP_MS);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof GoneError) {
          // As it should be after a long disconnection: a list, soon.
          this.version = '';
          if (clock.monotonic() - beganMs < WATCH_GAP_MS) await backoff.pause();
          continue;
        }
        if (clock.monotonic() - beganMs > RETRY_MAX_MS) backoff.reset();
        this.context.fail(new Error(`${this.options.kind}: ${errorText(error)}`), scope);
        await backoff.pause();
      }
    }
  }

  private async list(): Promise<void> {
    const found = new Map<string, { version: string; object: KubernetesObject }>();
    let next = '';
    let version = '';
    do {
      const query = this.query();
      query.set('limit', String(PAGE_OBJECTS));
      if (next !== '') query.set('continue', next);
      const page = await withDeadline(this.context, PAGE_TIMEOUT_MS, signal =>
        getJson(this.options.http, { url: `${this.options.url}?${query}`, signal, bodyBytesMax: BODY_BYTES_MAX }),
      ).catch(error => {
        throw isGone(error) ? new GoneError('the list was interrupted for too long') : error;
      });
      const all = record(page.value);
      const meta = record(all.metadata);
      if (!Array.isArray(all.items) && all.items !== null) throw new Error('the answer is no list of objects');
      for (const item of items(all.items)) {
        const object = objectOf(this.options.kind, item);
        found.set(keyOf(object.meta), { version: versionOf(item), object });
      }
      if (found.size > OBJECTS_MAX) {
        throw new Error(`more than ${OBJECTS_MAX} objects: narrow the namespaces, or set selectors`);
      }
      next = text(meta.continue);
      version = text(meta.resourceVersion);
    } while (next !== '');
    if (version === '') throw new Error('the list has no resource version');
    for (const key of [...this.versions.keys()]) if (!found.has(key)) this.remove(key);
    for (const [key, { version: own, object }] of found) this.set(key, own, object);
    this.version = version;
    this.listedAtMs = this.context.clock.monotonic();
    this.context.ok(this.options.url);
    this.options.onListed();
  }

  private async watch(): Promise<void> {
    const { clock, signal } = this.context;
    const seconds = Math.round(WATCH_S * (1 + this.context.random()));
    const query = this.query();
    query.set('watch', 'true');
    query.set('allowWatchBookmarks', 'true');
    query.set('resourceVersion', this.version);
    query.set('timeoutSeconds', String(seconds));
    const late = new AbortController();
    const giveUp = (): void => late.abort(new Error('the watch did not end when it should have'));
    const timer = clock.after(seconds * 1000 + WATCH_GRACE_MS, giveUp);
    try {
      const request = {
        url: `${this.options.url}?${query}`,
        headers: { accept: 'application/json' },
        signal: AbortSignal.any([signal, late.signal]),
      };
      const stream = await withDeadline(this.context, WATCH_GRACE_MS, () => this.options.http.stream(request));
      try {
        if (stream.status === 410) throw new GoneError('the resource version is too old');
        if (stream.status !== 200) throw new HttpStatusError(stream, await firstBytes(stream.body));
        this.context.ok(this.options.url);
        for await (const line of lines(stream.body)) this.take(line);
      } finally {
        stream.close();
      }
    } finally {
      timer.cancel();
      // Also where the answer never began.
      late.abort(new Error('the watch is over'));
    }
  }

  private take(line: string): void {
    const { type, object } = record(JSON.parse(line));
    if (type === 'ERROR') {
      const { code, reason, message } = record(object);
      if (num(code) === 410 || reason === 'Expired' || reason === 'Gone') throw new GoneError(text(message));
      throw new Error(`the watch ended with ${num(code)} ${text(reason)} ${text(message)}`);
    }
    const version = versionOf(object);
    if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') {
      const found = objectOf(this.options.kind, object);
      const key = keyOf(found.meta);
      if (type === 'DELETED') this.remove(key);
      else if (found.meta.name !== '' && (this.versions.has(key) || this.versions.size < OBJECTS_MAX)) {
        this.set(key, version, found);
      }
    } else if (type !== 'BOOKMARK') {
      throw new Error(`the watch sent an event of unknown type ${JSON.stringify(type)}`);
    }
    if (version !== '') this.version = version;
  }

  private set(key: string, version: string, object: KubernetesObject): void {
    if (version !== '' && this.versions.get(key) === version) return;
    this.versions.set(key, version);
    this.options.onChange(key, object);
  }

  private remove(key: string): void {
    if (this.versions.delete(key)) this.options.onChange(key, null);
  }

  private query(): URLSearchParams {
    const query = new URLSearchParams();
    if (this.options.labelSelector !== '') query.set('labelSelector', this.options.labelSelector);
    if (this.options.fieldSelector !== '') query.set('fieldSelector', this.options.fieldSelector);
    return query;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof HttpStatusError && error.status === 410;
}

function versionOf(value: unknown): string {
  return text(record(record(value).metadata).resourceVersion);
}

/** Enough of a body to say what went wrong. */
async function firstBytes(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const chunk of body) return chunk;
  return new Uint8Array();
}

/** Lines of a body, empty ones left out; a line cut off by the end is none. */
async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest: string[] = [];
  let length = 0;
  for await (const chunk of body) {
    const parts = decoder.decode(chunk, { stream: true }).split('\n');
    for (const [i, part] of parts.entries()) {
      rest.push(part);
      length += part.length;
      if (length > EVENT_CHARS_MAX) throw new Error(`an event is longer than ${EVENT_CHARS_MAX} characters`);
      if (i === parts.length - 1) break;
      const line = rest.join('').trim();
      rest = [];
      length = 0;
      if (line !== '') yield line;
    }
  }
}

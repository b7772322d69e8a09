/**
 * Serves the page from ui/dist (built by `npm run build:ui`, which `npm install` runs). The few files are read once and
 * held in memory with their gzip and brotli copies, so a request costs a map lookup. Files under assets/ carry a hash in
 * their name and never change; index.html is revalidated by its ETag. All addresses in the page are relative: it works
 * under any sub-path, provided that its own address ends with a slash (the caller strips the sub-path and redirects).
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

const UI_FOLDER = join(import.meta.dirname, '..', '..', 'ui');

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
};

/** Nothing from elsewhere; the editor and the chart set styles from script, hence inline styles. */
const SECURITY_HEADERS: Record<string, string> = {
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
};

interface UiFile {
  type: string;
  etag: string;
  immutable: boolean;
  plain: Buffer;
  gzip: Buffer | null;
  brotli: Buffer | null;
}

export interface UiResponse {
  status: 200 | 304;
  headers: Record<string, string>;
  body: Buffer | null;
}

/** Of the request, what the answer depends on. */
export interface UiRequestHeaders {
  'accept-encoding'?: string | string[] | undefined;
  'if-none-match'?: string | undefined;
}

export class UiStatic {
  /** Why there is no page or an old one, and what to do; null when all is well. For the log at start. */
  readonly problem: string | null;
  private readonly files = new Map<string, UiFile>();

  constructor(folder: string = UI_FOLDER) {
    const dist = join(folder, 'dist');
    if (existsSync(join(dist, 'index.html'))) {
      this.load(dist, dist);
      this.problem = isOlder(join(dist, 'index.html'), join(folder, 'src'))
        ? 'the page in ui/dist is older than ui/src: run "npm run build:ui"'
        : null;
    } else {
      this.problem = 'the page is not built: run "npm run build:ui" (the API works without it)';
      this.files.set('index.html', placeholder());
    }
  }

  /** `path` begins at the page's root ("/", "/assets/x.js"), without the query. Null: not one of ours. */
  respond(path: string, headers: UiRequestHeaders = {}): UiResponse | null {
    const name = path === '/' || path === '' ? 'index.html' : path.slice(1);
    const file = this.files.get(name);
    if (!file) return null;
    const common: Record<string, string> = {
      etag: file.etag,
      vary: 'accept-encoding',
      'cache-control': file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
      ...SECURITY_HEADERS,
    };
    if (headers['if-none-match'] === file.etag) return { status: 304, headers: common, body: null };
    const { body, encoding } = choose(file, String(headers['accept-encoding'] ?? ''));
    common['content-type'] = file.type;
    common['content-length'] = String(body.length);
    if (encoding !== null) common['content-encoding'] = encoding;
    return { status: 200, headers: common, body };
  }

  private load(dist: string, folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) this.load(dist, path);
      else if (!/\.(?:gz|br)$/.test(entry.name)) {
        this.files.set(relative(dist, path).split(sep).join('/'), readUiFile(path, dist));
      }
    }
  }
}

/** The page's routes: "/" and "/assets/*". */
export function uiRoutes(ui: UiStatic): (app: FastifyInstance) => void {
  const handler = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const answer = ui.respond(request.url.split('?')[0] as string, request.headers);
    if (!answer) {
      return reply.status(404).type('text/plain; charset=utf-8').send('the page has no such file; load it again\n');
    }
    return reply
      .status(answer.status)
      .headers(answer.headers)
      .send(answer.body ?? '');
  };
  return app => {
    app.get('/', handler);
    app.get('/assets/*', handler);
  };
}

function readUiFile(path: string, dist: string): UiFile {
  const plain = readFileSync(path);
  return {
    type: TYPES[extname(path)] ?? 'application/octet-stream',
    etag: etagOf(plain),
    immutable: path.startsWith(join(dist, 'assets') + sep),
    plain,
    gzip: readIfThere(`${path}.gz`),
    brotli: readIfThere(`${path}.br`),
  };
}

function etagOf(bytes: Buffer): string {
  return `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
}

function readIfThere(path: string): Buffer | null {
  return existsSync(path) ? readFileSync(path) : null;
}

function choose(file: UiFile, accepted: string): { body: Buffer; encoding: string | null } {
  if (file.brotli && accepts(accepted, 'br')) return { body: file.brotli, encoding: 'br' };
  if (file.gzip && accepts(accepted, 'gzip')) return { body: file.gzip, encoding: 'gzip' };
  return { body: file.plain, encoding: null };
}

function accepts(header: string, encoding: string): boolean {
  return header.split(',').some(item => {
    const [name, ...params] = item.trim().toLowerCase().split(';');
    return name?.trim() === encoding && !params.some(param => /^\s*q=0(?:\.0*)?\s*$/.test(param));
  });
}

/** After a pull without `npm install` the sources are newer than what was built from them. */
function isOlder(built: string, sources: string): boolean {
  if (!existsSync(sources)) return false;
  const builtMs = statSync(built).mtimeMs;
  return readdirSync(sources, { recursive: true, withFileTypes: true }).some(
    entry => entry.isFile() && statSync(join(entry.parentPath, entry.name)).mtimeMs > builtMs,
  );
}

function placeholder(): UiFile {
  const plain = Buffer.from(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sightline</title>' +
      '<body style="font:16px system-ui;max-width:40em;margin:4em auto;padding:0 1em">' +
      '<h1>Sightline runs, its page is not built</h1><p>In its folder, run <code>npm run build:ui</code> and start it again. ' +
      'The API answers at <a href="api/v1/status/buildinfo"><code>api/v1/</code></a> meanwhile.</p></body></html>',
  );
  return {
    type: TYPES['.html'] as string,
    etag: etagOf(plain),
    immutable: false,
    plain,
    gzip: null,
    brotli: null,
  };
}

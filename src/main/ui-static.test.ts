import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { UiStatic } from './ui-static.ts';

const folder = mkdtempSync(join(tmpdir(), 'ui-static-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function built(name: string): string {
  const root = join(folder, name);
  mkdirSync(join(root, 'dist', 'assets'), { recursive: true });
  mkdirSync(join(root, 'src'));
  writeFileSync(join(root, 'src', 'main.ts'), '');
  const page = Buffer.from('<!doctype html><p>page');
  const files: [string, Buffer][] = [
    ['index.html', page],
    ['index.html.gz', gzipSync(page)],
    ['index.html.br', brotliCompressSync(page)],
    ['assets/a-1.js', Buffer.from('1')],
  ];
  for (const [path, bytes] of files) writeFileSync(join(root, 'dist', path), bytes);
  utimesSync(join(root, 'src', 'main.ts'), 1, 1);
  return root;
}

test('serves the page in the best encoding that the client takes', () => {
  const ui = new UiStatic(built('encodings'));
  assert.equal(ui.problem, null);
  const cases: [string | undefined, string | undefined][] = [
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['gzip;q=1.0, br;q=0', 'gzip'],
    ['identity', undefined],
    [undefined, undefined],
  ];
  for (const [accept, encoding] of cases) {
    const answer = ui.respond('/', { 'accept-encoding': accept });
    assert.equal(answer?.status, 200);
    assert.equal(answer?.headers['content-encoding'], encoding);
    assert.equal(answer?.headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(answer?.headers['content-length'], String(answer?.body?.length));
  }
});

test('the page is revalidated, assets are kept for good', () => {
  const ui = new UiStatic(built('caching'));
  const first = ui.respond('/');
  assert.equal(first?.headers['cache-control'], 'no-cache');
  const again = ui.respond('/', { 'if-none-match': first?.headers.etag });
  assert.equal(again?.status, 304);
  assert.equal(again?.body, null);
  assert.match(ui.respond('/assets/a-1.js')?.headers['cache-control'] ?? '', /immutable/);
});

test('nothing but the built files can be had', () => {
  const ui = new UiStatic(built('bounds'));
  for (const path of [
    '/src/main.ts',
    '/../src/main.ts',
    '/assets/../index.html',
    '/index.html.gz',
    '/assets',
    '//',
    '/%2e%2e/',
  ]) {
    assert.equal(ui.respond(path), null, path);
  }
});

test('says what to do when the page is not built or old', () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  const none = new UiStatic(empty);
  assert.match(none.problem ?? '', /npm run build:ui/);
  assert.match(String(none.respond('/')?.body), /npm run build:ui/);
  const root = built('old');
  utimesSync(join(root, 'src', 'main.ts'), Date.now() / 1000 + 60, Date.now() / 1000 + 60);
  assert.match(new UiStatic(root).problem ?? '', /older/);
});

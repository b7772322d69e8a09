/** The page in a real browser: what a person sees and does. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type FakeServer, startFake } from './fake-api.ts';

const CHROMIUM = process.env.SIGHTLINE_CHROMIUM ?? '/usr/bin/chromium';
const BUILT = join(import.meta.dirname, '..', '..', 'ui', 'dist', 'index.html');
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const missing = !existsSync(CHROMIUM)
  ? 'skipped: needs chromium'
  : !existsSync(BUILT)
    ? 'skipped: needs ui/dist (npm run build:ui)'
    : false;

let browser: Browser | undefined;
before(async () => {
  if (missing === false) browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
});
after(() => browser?.close());

interface Visit {
  page: Page;
  server: FakeServer;
}

/** Opens the page, hands it over, and checks afterwards that it complained of nothing and asked nobody else. */
async function visit(
  options: { prefix?: string; emptyAnswers?: number; search?: string; errors?: RegExp },
  work: (visit: Visit) => Promise<void>,
): Promise<void> {
  const server = await startFake(options);
  const context = await (browser as Browser).newContext({ viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', error => complaints.push(error.message));
  page.on('console', message => {
    if (message.type() === 'error' && !options.errors?.test(message.text())) complaints.push(message.text());
  });
  page.on('request', request => {
    if (!request.url().startsWith(server.url)) complaints.push(`a request left the page: ${request.url()}`);
  });
  try {
    await page.goto(server.url + (options.search ?? ''));
    await work({ page, server });
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
    await server.close();
  }
}

async function legendNames(page: Page): Promise<string[]> {
  await page.waitForSelector('.legend-row');
  return page.locator('.legend-name').allTextContents();
}

test('opens with a graph of this host', { skip: missing }, () =>
  visit({}, async ({ page, server }) => {
    assert.deepEqual(await legendNames(page), ['{mode="user"}', '{mode="system"}']);
    assert.match((await page.textContent('.legend-common')) ?? '', /cpu\{instance="host"\}/);
    assert.match((await page.textContent('.editor')) ?? '', /node_cpu_seconds_total/);
    assert.equal(await page.locator('.chart canvas').count(), 1);
    assert.ok(await drawnPixels(page));
    assert.equal(await page.textContent('#server-note'), '1.2.3-test');
    assert.ok(server.requests.some(request => request.startsWith('/api/v1/query_range')));
  }),
);

/** Whether the chart holds anything but background, in a browser's own words: its pixels. */
function drawnPixels(page: Page): Promise<boolean> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('.chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let blue = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] === 0x2f && data[i + 1] === 0x81 && data[i + 2] === 0xf7) blue++;
    return blue > 50;
  })()`) as Promise<boolean>;
}

test('a fresh server says that it waits, then shows the graph by itself', { skip: missing }, () =>
  visit({ emptyAnswers: 1 }, async ({ page }) => {
    await page.waitForSelector('text=Waiting for the first samples');
    await page.waitForSelector('.legend-row');
  }),
);

test('Enter runs the query, the address holds it, Back brings the one before', { skip: missing }, () =>
  visit({ search: '?q=first_query&range=1h' }, async ({ page }) => {
    await page.waitForSelector('.legend-row');
    await page.click('.cm-content');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('sum(second)');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=sum%28second%29&range=1h/);
    await page.goBack();
    await page.waitForURL(/q=first_query/);
    await page.waitForFunction(`document.querySelector('.cm-content').textContent === 'first_query'`);
  }),
);

test('completion offers the metric names of the server', { skip: missing }, () =>
  visit({ search: '?q=' }, async ({ page }) => {
    await page.waitForSelector('text=Type an expression');
    await page.click('.cm-content');
    await page.keyboard.type('node_lo', { delay: 10 });
    await page.click('.cm-tooltip-autocomplete >> text=node_load5');
    assert.equal(await page.textContent('.cm-content'), 'node_load5');
  }),
);

test('a parse error is shown with its place', { skip: missing }, () =>
  visit({ search: '?q=sum(rate(foo[5m)', errors: /status of 400/ }, async ({ page }) => {
    const text = await page.textContent('[role=alert]');
    assert.match(text ?? '', /The query cannot be read/);
    assert.match(text ?? '', /1:16: parse error/);
    assert.match((await page.textContent('.excerpt')) ?? '', /^sum\(rate\(foo\[5m\)\n {15}\^$/);
  }),
);

test('warnings and infos are shown', { skip: missing }, () =>
  visit({ search: '?q=warn' }, async ({ page }) => {
    assert.match((await page.textContent('.is-warning')) ?? '', /mind this/);
    assert.match((await page.textContent('.is-info')) ?? '', /know that/);
  }),
);

test('the table shows an instant query', { skip: missing }, () =>
  visit({ search: '?q=cpu' }, async ({ page }) => {
    await page.click('role=tab[name=Table]');
    await page.waitForURL(/tab=table/);
    await page.waitForSelector('td.number');
    assert.deepEqual(await page.locator('td.number').allTextContents(), ['12.5', 'NaN']);
  }),
);

test('dragging zooms in, zooming out widens', { skip: missing }, () =>
  visit({ search: '?q=cpu&from=1700000000000&to=1700003600000' }, async ({ page }) => {
    await page.waitForSelector('.legend-row');
    const box = await page.locator('.chart .u-over').boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width * 0.25, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 60, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(`!location.search.includes('from=1700000000000')`);
    const zoomed = new URL(page.url()).searchParams;
    assert.ok(Math.abs(Number(zoomed.get('from')) - 1_700_000_900_000) < 20_000, page.url());
    assert.ok(Math.abs(Number(zoomed.get('to')) - 1_700_001_800_000) < 20_000, page.url());
    await page.click('role=button[name="Zoom out"]');
    await page.waitForFunction(`location.search !== ${JSON.stringify(`?${zoomed}`)}`);
    const wider = new URL(page.url()).searchParams;
    assert.ok(Number(wider.get('to')) - Number(wider.get('from')) > 1_700_000);
  }),
);

test('the legend shows one series alone, and all again', { skip: missing }, () =>
  visit({ search: '?q=cpu' }, async ({ page }) => {
    await page.click('.legend-row >> nth=0');
    assert.equal(await page.locator('.legend-row.is-off').count(), 1);
    await page.click('.legend-row >> nth=0');
    assert.equal(await page.locator('.legend-row.is-off').count(), 0);
  }),
);

test('works under a sub-path', { skip: missing }, () =>
  visit({ prefix: '/deep/down' }, async ({ page, server }) => {
    assert.equal((await legendNames(page)).length, 2);
    assert.ok(server.url.endsWith('/deep/down/'));
  }),
);

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { ScrapeOutcome, ScrapeResult, ScrapeStore } from '../contracts/scrape-store.ts';
import { RpcPort } from '../lib/rpc.ts';
import { scrapeHandlers, scrapeStoreOver } from './scrape-link.ts';

const result = (text: string): ScrapeResult => ({
  timestampMs: 1,
  fetchMs: 0,
  body: { contentType: '', contentEncoding: '', bytes: new Uint8Array(Buffer.from(text)) },
  error: '',
  tooLarge: false,
});

const outcome = (scraped: number): ScrapeOutcome => ({ error: '', scraped, added: 0, storeError: '', metadata: null });

test('scrapes go together; one that takes long keeps no other waiting, one that breaks is told of', async t => {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  let finish: () => void = () => {};
  const slow = new Promise<void>(done => {
    finish = done;
  });
  const seen: string[] = [];
  const store: ScrapeStore = {
    open: id => seen.push(`open ${id}`),
    async scrape(id, { body }) {
      seen.push(Buffer.from(body?.bytes ?? []).toString());
      if (id === 2) await slow;
      if (id === 3) throw new Error('broken');
      return outcome(id);
    },
    async close(id, goneAtMs) {
      seen.push(`close ${id} ${goneAtMs}`);
    },
  };
  new RpcPort(port2, scrapeHandlers(store));
  const link = scrapeStoreOver([new RpcPort(port1, {})], error => assert.fail(error));
  for (const id of [1, 2, 3]) link.open(id, { tenant: 't', labels: [], timeoutMs: 1, settings: {} as never });
  const late = link.scrape(2, result('two'));
  const [first, third] = await Promise.all([link.scrape(1, result('one')), link.scrape(3, result('three'))]);
  assert.deepEqual([first, third.storeError], [outcome(1), 'broken']);
  finish();
  assert.deepEqual(await late, outcome(2));
  await link.close(1, 7);
  assert.deepEqual(seen, ['open 1', 'open 2', 'open 3', 'two', 'one', 'three', 'close 1 7']);
});

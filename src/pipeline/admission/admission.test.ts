/** Gate, board, rules and pressure, without a store: what is let in, what is said, and that counts hold over threads' boards. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeLabels, labelsFromRecord } from '../../model/labels.ts';
import { ADMISSION_BYTES, AdmissionBoard, fairShare } from './board.ts';
import { AdmissionGate } from './gate.ts';
import { type LimitsConfig, LimitsTable, NO_LIMITS, type TenantLimits } from './limits.ts';
import { MemoryPressure } from './memory-pressure.ts';

const memory = (): SharedArrayBuffer => new SharedArrayBuffer(ADMISSION_BYTES);

function config(defaults: Partial<TenantLimits>, tenants: LimitsConfig['tenants'] = {}): LimitsConfig {
  return { defaults: { ...NO_LIMITS, ...defaults }, tenants };
}

function gateOf(limits: LimitsConfig, board = new AdmissionBoard()): AdmissionGate {
  return new AdmissionGate(board, new LimitsTable(limits));
}

/** Asks for a series; it counts where it may be made. */
function bring(gate: AdmissionGate, labels: Record<string, string>, tenant = 'a'): string | null {
  const bytes = encodeLabels(labelsFromRecord(labels));
  const padded = new Uint8Array(bytes.length + 7).fill(0x0a);
  padded.set(bytes, 3);
  return gate.admit(tenant, padded, 3, 3 + bytes.length);
}

test('labels: the block-list, counts and lengths, each said with metric, label, limit and remedy', () => {
  const gate = gateOf(
    config(
      { blockedLabels: ['user_id', 'user.id'], labelsPerSeries: 4, labelNameBytes: 10, labelValueBytes: 20 },
      { free: { blockedLabels: [] } },
    ),
  );
  assert.equal(bring(gate, { __name__: 'm', a: '1', b: '2', c: '3' }), null);
  assert.equal(bring(gate, { __name__: 'm', user_id: '1' }), 'label_blocked');
  assert.match(gate.explain(), /metric m: label "user_id" .*limits\.blocked_labels.*labeldrop/);
  assert.equal(bring(gate, { __name__: 'm', 'user.id': '1' }), 'label_blocked');
  assert.equal(bring(gate, { __name__: 'm', user_id: '1' }, 'free'), null);
  assert.equal(bring(gate, { __name__: 'm', user_ids: '1' }), null, 'the whole name counts');
  assert.equal(bring(gate, { __name__: 'm', a: '1', b: '2', c: '3', d: '4' }), 'too_many_labels');
  assert.match(gate.explain(), /has 5 labels, limits\.labels_per_series is 4/);
  assert.equal(bring(gate, { __name__: 'm', abcdefghijk: '1' }), 'label_name_too_long');
  assert.match(gate.explain(), /"abcdefghijk" has 11 bytes, limits\.label_name_length is 10/);
  assert.equal(bring(gate, { __name__: 'm', a: 'x'.repeat(300) }), 'label_value_too_long');
  assert.match(gate.explain(), /value of label "a" has 300 bytes, limits\.label_value_length is 20/);
  assert.equal(bring(gate, { A: '1', __name__: 'up.per', b: '2' }), null, 'the name need not come first');
});

test('any bytes in place of labels are looked at within their bounds', () => {
  const gate = gateOf(
    config({ blockedLabels: ['user_id'], labelsPerSeries: 4, labelNameBytes: 10, labelValueBytes: 20 }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), (bytes, cut) => {
      const end = Math.min(bytes.length, cut);
      gate.admit('a', bytes, 0, end);
      gate.explain();
    }),
    { seed: 11, numRuns: 3000 },
  );
});

test('active series and series per metric are counted over all shards, and room comes back', () => {
  const shared = memory();
  const limits = config({ activeSeries: 1000, seriesPerMetric: 300 }, { big: { activeSeries: 0, seriesPerMetric: 0 } });
  const gates = [0, 1, 2].map(() => gateOf(limits, new AdmissionBoard(shared)));
  let made = 0;
  for (let i = 0; i < 3000; i++) {
    if (bring(gates[i % 3] as AdmissionGate, { __name__: `m${i % 5}`, i: String(i) }) === null) made++;
  }
  assert.equal(made, 1000, 'five metrics of 300 would be 1500');
  const [first, second] = gates as [AdmissionGate, AdmissionGate];
  assert.equal(bring(first, { __name__: 'm1', i: 'x' }), 'too_many_series');
  assert.match(first.explain(), /metric m1: .*tenant "a" has its 1000 active series.*cardinality/);
  for (let i = 0; i < 500; i++) second.gone('a', `m${i % 5}`);
  assert.equal(bring(first, { __name__: 'm1', i: 'x' }), null);
  for (let i = 0; i < 400; i++) bring(second, { __name__: 'm1', j: String(i) });
  assert.equal(bring(first, { __name__: 'm1', i: 'y' }), 'too_many_series_of_metric');
  assert.equal(bring(first, { __name__: 'm2', i: 'y' }), null);
  assert.equal(bring(first, { __name__: 'm1', i: 'y' }, 'big'), null);
  assert.equal(bring(first, { __name__: 'm1', i: 'y' }, '_self'), null);
});

test('what a scrape says about itself is let in above the limit, up to a bound', () => {
  const gate = gateOf(config({ activeSeries: 10 }));
  for (let i = 0; i < 10; i++) assert.equal(bring(gate, { __name__: 'm', i: String(i) }), null);
  assert.equal(bring(gate, { __name__: 'm', i: 'x' }), 'too_many_series');
  for (let i = 0; i < 1000; i++) assert.equal(bring(gate, { __name__: 'up', i: String(i) }), null);
  assert.equal(bring(gate, { __name__: 'scrape_duration_seconds', i: 'x' }), 'too_many_series');
});

test('a reload changes what is let in, and says that refusals of before mean nothing', () => {
  const table = new LimitsTable(config({ activeSeries: 1 }));
  const gate = new AdmissionGate(new AdmissionBoard(), table);
  assert.equal(bring(gate, { __name__: 'm' }), null);
  assert.equal(bring(gate, { __name__: 'n' }), 'too_many_series');
  const before = gate.epoch;
  table.replace(config({ activeSeries: 2, blockedLabels: ['x'] }));
  assert.equal(bring(gate, { __name__: 'n', x: '1' }), 'label_blocked');
  assert.notEqual(gate.epoch, before);
  assert.equal(bring(gate, { __name__: 'n' }), null);
});

test('a bucket gives its rate and its burst, and a request larger than the burst when it is full', () => {
  const board = new AdmissionBoard();
  const row = board.row('a');
  const take = (n: number, at: number): number => board.take(row, 'samples', n, 100, 200, at);
  assert.equal(take(150, 1000), 0);
  assert.equal(take(50, 1000), 0);
  assert.equal(take(10, 1000), 0.1);
  assert.equal(take(10, 1100), 0);
  assert.equal(take(1000, 1100), 2, 'not before it is full');
  assert.equal(take(1000, 3100), 0);
  assert.equal(take(1, 4000), 7.11, 'and then the debt is paid');
  let taken = 0;
  for (let at = 100_000; at < 110_000; at += 10) if (take(7, at) === 0) taken += 7;
  assert.ok(taken >= 1190 && taken <= 1200, `${taken} in 10 s at 100/s with a burst of 200`);
});

test('fair share: whoever uses less than an equal part leaves the rest to the others', () => {
  assert.equal(fairShare([], 1), 0);
  assert.equal(fairShare([7], 1), 7);
  assert.equal(fairShare([500, 990_000, 1_000_000], 0.9), (1_990_500 * 0.9 - 500) / 2);
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 1e6 }), { minLength: 1 }),
      fc.double({ min: 0.1, max: 1, noNaN: true }),
      (used, b) => {
        const share = fairShare(used, b);
        const given = used.reduce((sum, n) => sum + Math.min(n, share), 0);
        const all = used.reduce((sum, n) => sum + n, 0);
        assert.ok(Math.abs(given - all * b) < 1e-6 * all + 1e-6, `${given} of ${all * b}`);
      },
    ),
    { seed: 3 },
  );
});

test('memory pressure: first the large tenants, then their samples, then everyone, and back with some distance', () => {
  const board = new AdmissionBoard();
  board.addSeries(board.row('big'), 900);
  board.addSeries(board.row('small'), 100);
  const pressure = new MemoryPressure(board);
  const gate = gateOf(config({}), board);
  const look = (percent: number) => pressure.look({ residentBytes: percent, limitBytes: 100 });
  assert.equal(look(79), 0);
  assert.equal(bring(gate, { __name__: 'm' }, 'big'), null);
  assert.equal(look(81), 1);
  assert.equal(bring(gate, { __name__: 'n' }, 'big'), 'memory_pressure');
  assert.match(gate.explain(), /metric n: a new series, and memory is short; tenant "big"/);
  assert.equal(bring(gate, { __name__: 'n' }, 'small'), null);
  assert.equal(look(79), 1, 'not yet');
  assert.equal(look(91), 2);
  assert.equal(look(97), 3);
  assert.equal(bring(gate, { __name__: 'o' }, 'small'), 'memory_pressure');
  assert.equal(bring(gate, { __name__: 'o' }, '_self'), null);
  assert.equal(look(90), 2);
  assert.equal(look(50), 0);
  assert.equal(bring(gate, { __name__: 'n' }, 'big'), null);
  board.report(3, 95, 100, 0);
  assert.equal(look(10), 2, 'a full heap is as bad as full memory');
});

test('a full table of metrics or tenants lets in what it cannot count by metric', () => {
  const board = new AdmissionBoard();
  const name = new TextEncoder();
  let full = 0;
  for (let i = 0; i < 60_000; i++) {
    const bytes = name.encode(`metric_${i}`);
    if (board.metricRow(1, bytes, 0, bytes.length) < 0) full++;
  }
  assert.equal(full, 60_000 - Math.ceil(65_536 * 0.8));
  assert.equal(board.metricSeries(-1), 0);
  const rows = new Set(Array.from({ length: 3000 }, (_, i) => board.row(`tenant-${i}`)));
  assert.equal(rows.size, 3000);
});

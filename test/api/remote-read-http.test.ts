import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../src/lib/crc32c.ts';
import { ProtobufReader, ProtobufWriter } from '../../src/lib/protobuf.ts';
import { snappyCompress, snappyDecompress } from '../../src/lib/snappy.ts';
import { labelsFromRecord } from '../../src/model/labels.ts';
import { NOW, sampleData, startServer } from './support.ts';

function requestBody(accepted: number[], labels: Record<string, string> = {}): Buffer {
  const w = new ProtobufWriter();
  const query = w.begin(1);
  w.varint(1, NOW - 30_000);
  w.varint(2, NOW);
  const matcher = w.begin(3);
  w.varint(1, 0);
  w.string(2, '__name__');
  w.string(3, 'up');
  w.close(matcher);
  for (const [name, value] of Object.entries(labels)) {
    const more = w.begin(3);
    w.string(2, name);
    w.string(3, value);
    w.close(more);
  }
  w.close(query);
  w.packedVarints(2, accepted);
  return Buffer.from(snappyCompress(w.finish()));
}

/** Every (path of field numbers, value) of a message, submessages by guess of `deep`. */
function strings(r: ProtobufReader, fields: number): string {
  let out = '';
  while (r.more()) {
    if (r.field() !== fields) r.skip();
    else {
      const start = r.span();
      out = Buffer.from(r.bytes.subarray(start, r.at)).toString();
    }
  }
  return out;
}

function readSeries(r: ProtobufReader): { labels: string[]; samples: [number, number][]; chunks: number[] } {
  const out = { labels: [] as string[], samples: [] as [number, number][], chunks: [] as number[] };
  const outer = r.enter();
  while (r.more()) {
    const field = r.field();
    if (field === 1) {
      const start = r.span();
      const bytes = r.bytes.slice(start, r.at);
      out.labels.push(strings(new ProtobufReader(bytes), 1), strings(new ProtobufReader(bytes), 2));
    } else if (field === 2) {
      const start = r.span();
      const inner = new ProtobufReader(r.bytes.slice(start, r.at));
      const sample: [number, number] = [0, 0];
      let chunk = 0;
      while (inner.more()) {
        const f = inner.field();
        if (f === 1 && inner.wire === 1) sample[1] = inner.double();
        else if (f === 2) sample[0] = inner.signed();
        else if (f === 4) {
          const at = inner.span();
          // The number of samples stands first.
          chunk = (inner.bytes[at] as number) * 256 + (inner.bytes[at + 1] as number);
        } else inner.skip();
      }
      if (chunk > 0) out.chunks.push(chunk);
      else out.samples.push(sample);
    } else r.skip();
  }
  r.leave(outer);
  return out;
}

const headers = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'snappy',
  'x-prometheus-remote-read-version': '0.1.0',
};

test('remote read as samples', async () => {
  const server = await startServer();
  try {
    const response = await fetch(`${server.url}/api/v1/read`, {
      method: 'POST',
      headers,
      body: requestBody([]) as never,
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'application/x-protobuf');
    assert.equal(response.headers.get('content-encoding'), 'snappy');
    const r = new ProtobufReader(snappyDecompress(new Uint8Array(await response.arrayBuffer()), 1e6));
    assert.equal(r.field(), 1);
    const outer = r.enter();
    const series = [];
    while (r.more()) {
      assert.equal(r.field(), 1);
      series.push(readSeries(r));
    }
    r.leave(outer);
    assert.deepEqual(series[2], {
      labels: ['__name__', 'up', 'instance', 'host-2:80', 'job', 'api'],
      samples: [
        [NOW - 30_000, 0],
        [NOW - 15_000, 0],
        [NOW, 0],
      ],
      chunks: [],
    });
    assert.equal(series.length, 3);
  } finally {
    await server.close();
  }
});

test('remote read knows the external labels: in what is asked for and in the answer', async () => {
  const external = labelsFromRecord({ cluster: 'eu', job: 'other' });
  const server = await startServer(sampleData(), {}, { externalLabels: () => external });
  const read = async (accepted: number[], labels: Record<string, string>): Promise<Uint8Array> => {
    const body = requestBody(accepted, labels) as never;
    return new Uint8Array(
      await (await fetch(`${server.url}/api/v1/read`, { method: 'POST', headers, body })).arrayBuffer(),
    );
  };
  try {
    const r = new ProtobufReader(snappyDecompress(await read([], { cluster: 'eu', instance: 'host-2:80' }), 1e6));
    r.field();
    const outer = r.enter();
    const series = [];
    for (; r.more(); ) {
      r.field();
      series.push(readSeries(r).labels);
    }
    r.leave(outer);
    assert.deepEqual(series, [['__name__', 'up', 'cluster', 'eu', 'instance', 'host-2:80', 'job', 'api']]);
    assert.equal(snappyDecompress(await read([], { cluster: 'us' }), 1e6).length, 2);
    const chunked = Buffer.from(await read([1], { cluster: 'eu' })).toString('latin1');
    assert.equal(chunked.split('cluster\x12\x02eu').length - 1, 3);
  } finally {
    await server.close();
  }
});

test('remote read as streamed chunks', async () => {
  const server = await startServer();
  try {
    const response = await fetch(`${server.url}/api/v1/read`, {
      method: 'POST',
      headers,
      body: requestBody([1, 0]) as never,
    });
    assert.equal(response.status, 200);
    assert.equal(
      response.headers.get('content-type'),
      'application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse',
    );
    const bytes = new Uint8Array(await response.arrayBuffer());
    const series = [];
    let at = 0;
    while (at < bytes.length) {
      // Frames here are short: one byte of length or two.
      let size = bytes[at++] as number;
      if (size >= 0x80) size = (size & 0x7f) | ((bytes[at++] as number) << 7);
      const sum = new DataView(bytes.buffer).getUint32(at);
      at += 4;
      const data = bytes.slice(at, at + size);
      at += size;
      assert.equal(crc32c(data), sum);
      const r = new ProtobufReader(data);
      assert.equal(r.field(), 1);
      series.push(readSeries(r));
      assert.equal(r.field(), 2);
      assert.equal(r.signed(), 0);
    }
    assert.deepEqual(
      series.map(s => [s.labels[3], s.chunks]),
      [
        ['host-0:80', [3]],
        ['host-1:80', [3]],
        ['host-2:80', [3]],
      ],
    );
  } finally {
    await server.close();
  }
});

test('a body that is none is refused as text', async () => {
  const server = await startServer();
  try {
    const response = await fetch(`${server.url}/api/v1/read`, { method: 'POST', headers, body: 'x' });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /snappy/);
    const large = Buffer.alloc(5 * 1024 * 1024);
    const tooLarge = await fetch(`${server.url}/api/v1/read`, { method: 'POST', headers, body: large as never });
    assert.equal(tooLarge.status, 413);
  } finally {
    await server.close();
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyFor } from './proxy.ts';

test('which hosts no_proxy names', () => {
  const direct = (list: string, url: string): boolean =>
    proxyFor(new URL(url), { proxy_url: 'http://proxy:3128', no_proxy: list }, {}) === null;
  for (const [list, url, expected] of [
    ['example.com', 'http://example.com/', true],
    ['example.com', 'http://a.example.com/', true],
    ['example.com', 'http://badexample.com/', false],
    ['.example.com', 'http://example.com/', false],
    ['*.example.com', 'http://b.example.com/', true],
    ['example.com:81', 'http://example.com/', false],
    ['example.com:81', 'http://example.com:81/', true],
    ['10.0.0.0/8', 'http://10.200.3.4/', true],
    ['10.0.0.0/8', 'http://11.0.0.1/', false],
    ['10.0.0.0/99', 'http://10.0.0.1/', false],
    ['fd00::/8', 'http://[fd12::1]:9100/', true],
    ['192.0.2.1', 'http://192.0.2.1:9/', true],
    ['a, *', 'http://whatever/', true],
    ['x', 'http://localhost/', true],
    ['x', 'http://127.9.9.9/', true],
  ] as const) {
    assert.equal(direct(list, url), expected, `${list} ${url}`);
  }
});

test('without a list, everything goes through proxy_url; other schemes of proxies are refused', () => {
  assert.equal(proxyFor(new URL('http://127.0.0.1/'), { proxy_url: 'http://p:1' }, {})?.host, 'p:1');
  assert.equal(proxyFor(new URL('https://a/'), {}, { HTTPS_PROXY: 'http://p:1' }), null);
  assert.throws(() => proxyFor(new URL('http://a/'), { proxy_url: 'socks5://u:secret@p:1' }, {}), /socks5 are not/);
});

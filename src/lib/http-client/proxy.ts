/**
 * Which proxy a request goes through: `proxy_url`, with `no_proxy` naming hosts that are reached directly, or what the
 * environment says (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in small letters too).
 *
 * no_proxy is a list of names (with their subdomains; `.name` means the subdomains only), addresses, networks in CIDR form, each with
 * a port if need be, or `*`. Where such a list or the environment decides, this machine itself is always reached directly.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { ProxySettings } from './settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** null: directly. Throws where the proxy's URL is none. */
export function proxyFor(url: URL, settings: ProxySettings, environment: Environment): URL | null {
  if (settings.proxy_from_environment === true) {
    const from = (name: string): string => environment[name] || environment[name.toLowerCase()] || '';
    const text = from(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
    return text === '' || isExcluded(url, from('NO_PROXY')) ? null : proxyUrl(text);
  }
  const text = settings.proxy_url ?? '';
  if (text === '') return null;
  const exclusions = settings.no_proxy ?? '';
  return exclusions !== '' && isExcluded(url, exclusions) ? null : proxyUrl(text);
}

function proxyUrl(text: string): URL {
  const full = text.includes('://') ? text : `http://${text}`;
  if (!URL.canParse(full)) throw new Error('the proxy URL is not a URL');
  const url = new URL(full);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Error(`proxies of scheme ${url.protocol.slice(0, -1)} are not supported: use http or https`);
  }
  return url;
}

function isExcluded(url: URL, list: string): boolean {
  const host = bareHost(url);
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  if (host === 'localhost' || isLoopback(host)) return true;
  return list.split(',').some(item => matches(item.trim().toLowerCase(), host, port));
}

/** Without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

function matches(item: string, host: string, port: string): boolean {
  if (item === '') return false;
  if (item === '*') return true;
  if (item.includes('/')) return inNetwork(item, host);
  const withPort = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(item);
  if (withPort !== null && withPort[2] !== port) return false;
  const name = (withPort?.[1] ?? item).replace(/^\[|\]$/g, '').replace(/^\*\./, '.');
  if (isIP(host) !== 0) return name === host;
  return name.startsWith('.') ? host.endsWith(name) : host === name || host.endsWith(`.${name}`);
}

function inNetwork(item: string, host: string): boolean {
  const [network = '', bits = ''] = item.split('/');
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128))
    return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const networks = new BlockList();
  networks.addSubnet(network, Number(bits), type);
  return networks.check(host, type);
}

/** The Proxy-Authorization header for the user named in a proxy's URL. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '') return undefined;
  const text = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

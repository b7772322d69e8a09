/**
 * crossSiteProblem: keeps other web sites from changing things through a visitor's browser (and, with a name that suddenly points
 * to this machine, from passing as this site). Programs send neither Origin nor Sec-Fetch-Site and are not concerned.
 */
export interface BrowserRequest {
  /** The Host header, or ''. */
  host: string;
  /** Origin, or ''. */
  origin: string;
  /** Sec-Fetch-Site, or ''. */
  site: string;
}

export interface TrustedHosts {
  /** Host names (without port) by which people reach this server: of the external URL, and http.allowed_hosts. */
  names: ReadonlySet<string>;
}

/** Why a change must be refused; '' where nothing speaks against it. */
export function crossSiteProblem(request: BrowserRequest, trusted: TrustedHosts): string {
  const { host, origin, site } = request;
  if (origin === '' && site === '') return '';
  const name = nameOf(host);
  if (!isOwnName(name, trusted)) {
    return `changes from a browser are taken only under a known host name, not ${JSON.stringify(name)}: add it to http.allowed_hosts`;
  }
  // A proxy may speak TLS or another port to the outside: names are compared, not whole origins.
  const from = origin === '' ? name : nameOf(origin.replace(/^[a-z][a-z0-9+.-]*:\/\//i, ''));
  const same = from === name || trusted.names.has(from);
  if (origin !== '' && !same) {
    return `a page of ${JSON.stringify(origin.slice(0, 200))} may not change anything here: add its host to http.allowed_hosts where it is yours`;
  }
  if (origin === '' && site !== 'same-origin' && site !== 'none')
    return 'a page of another site may not change anything here';
  return '';
}

/** An address is what it is; only names can be made to point elsewhere. */
function isOwnName(name: string, trusted: TrustedHosts): boolean {
  if (name === 'localhost' || name.endsWith('.localhost') || trusted.names.has(name)) return true;
  return /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}

function nameOf(hostAndPort: string): string {
  return hostAndPort.toLowerCase().replace(/:\d{1,5}$/, '');
}

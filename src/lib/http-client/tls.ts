/** TLS options of a client from its settings, as node:tls takes them; made anew when one of the files changes. */
import { isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity, rootCertificates, type SecureVersion } from 'node:tls';
import { fileMarks, readSmallFile } from './secret-file.ts';
import type { TlsSettings } from './settings.ts';

const VERSIONS: Readonly<Record<string, SecureVersion>> = {
  TLS10: 'TLSv1',
  TLS11: 'TLSv1.1',
  TLS12: 'TLSv1.2',
  TLS13: 'TLSv1.3',
};

/** Equal as long as the options would be equal. */
export function tlsMark(settings: TlsSettings | undefined, baseDir: string): string {
  if (settings === undefined) return '';
  return fileMarks(baseDir, [settings.ca_file, settings.cert_file, settings.key_file]);
}

/** Throws where a file cannot be read. `withIdentity` false leaves the client certificate out: for hosts it was not meant for. */
export function tlsOptions(settings: TlsSettings | undefined, baseDir: string, withIdentity = true): ConnectionOptions {
  if (settings === undefined) return {};
  const out: ConnectionOptions = {};
  const pem = (text: string | undefined, file: string | undefined): string | Buffer | undefined => {
    if (text !== undefined && text !== '') return text;
    return file === undefined || file === '' ? undefined : readSmallFile(baseDir, file);
  };
  const ca = pem(settings.ca, settings.ca_file);
  // A CA of one's own takes the place of the public ones, as for other clients of these settings.
  if (ca !== undefined) out.ca = [ca];
  else out.ca = [...rootCertificates];
  if (withIdentity) {
    const cert = pem(settings.cert, settings.cert_file);
    const key = pem(settings.key, settings.key_file);
    if (cert !== undefined) out.cert = cert;
    if (key !== undefined) out.key = key;
  }
  const name = settings.server_name ?? '';
  if (name !== '') {
    // An address is no name to ask for (SNI), but it is one to check the certificate against.
    if (isIP(name) === 0) out.servername = name;
    else out.checkServerIdentity = (_host, certificate) => checkServerIdentity(name, certificate);
  }
  if (settings.insecure_skip_verify === true) out.rejectUnauthorized = false;
  const min = VERSIONS[settings.min_version ?? ''];
  const max = VERSIONS[settings.max_version ?? ''];
  if (min !== undefined) out.minVersion = min;
  if (max !== undefined) out.maxVersion = max;
  return out;
}

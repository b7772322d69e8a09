/** For tests: a server on a free port, and certificates made on the spot. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { TlsOptions } from 'node:tls';

async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

export async function serveHttp(t: TestContext, listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listening(t, createServer(listener))}`;
}

/** Gives the port and the server, whose certificate may be changed by `setSecureContext`. */
export async function serveHttps(t: TestContext, options: TlsOptions, listener: RequestListener) {
  const server = createTlsServer(options, listener);
  return { port: await listening(t, server), server };
}

export function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-http-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface Certificates {
  folder: string;
  /** Of the authority that signed the others; for the name test.local. */
  ca: string;
  /** Puts one of the files into another folder. */
  copyTo(file: string, other: string): void;
  /** Signs one more pair; the files are NAME.crt and NAME.key in the folder. */
  sign(name: string, subject: string, alternatives?: string): { cert: string; key: string };
}

export function makeCertificates(t: TestContext): Certificates {
  const folder = tempFolder(t);
  const run = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  run('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test authority', '-days', '2');
  return {
    folder,
    ca: readFileSync(join(folder, 'ca.crt'), 'utf8'),
    copyTo: (file, other) => copyFileSync(join(folder, file), join(other, file)),
    sign(name, subject, alternatives = '') {
      run('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${subject}`);
      writeFileSync(join(folder, `${name}.ext`), alternatives === '' ? '' : `subjectAltName=${alternatives}\n`);
      const files = ['-in', `${name}.csr`, '-out', `${name}.crt`, '-extfile', `${name}.ext`];
      run('x509', '-req', ...files, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2');
      return {
        cert: readFileSync(join(folder, `${name}.crt`), 'utf8'),
        key: readFileSync(join(folder, `${name}.key`), 'utf8'),
      };
    },
  };
}

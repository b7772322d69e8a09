/**
 * The running configuration as YAML for people and tools to look at: what the files say, defaults filled in for ours, secrets
 * masked by the names of their keys, and passwords inside URLs too.
 */
import { readFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import type { LoadedConfig } from '../config/load.ts';

const MASK = '<secret>';

/** Keys whose values are secrets in our and in Prometheus' files. Files that hold secrets (`*_file`) are named, not read. */
const SECRET_KEY =
  /^(?:password|secrets?|token|credentials|bearer_token|auth_token|client_secret|client_certificate_key|secret_key|private_key|service_account_key|key_passphrase|key|consumer_key|application_key|application_secret|shared_key|account_token|api_key)$/i;

export function maskedConfigYaml(loaded: LoadedConfig): string {
  const own = stringify(mask(loaded.config));
  if (loaded.config.prometheus === undefined) return own;
  const documents = [own];
  for (const file of loaded.files.slice(1)) {
    let content: unknown = null;
    try {
      content = parse(readFileSync(file, 'utf8'), { merge: true, uniqueKeys: false });
    } catch {
      // Changed or removed since it was loaded: the reload tells.
    }
    documents.push(`# ${file}\n${stringify(mask(content))}`);
  }
  return documents.join('---\n');
}

export function mask(value: unknown, depth = 0): unknown {
  if (depth > 40) return MASK;
  if (typeof value === 'string') return value.replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:)[^/\s@]+@/gi, `$1${MASK}@`);
  if (Array.isArray(value)) return value.map(item => mask(item, depth + 1));
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === 'proxy_connect_header') {
      // Any of these headers may hold a password.
      out[key] = maskLeaves(item);
      continue;
    }
    const secret =
      SECRET_KEY.test(key) && item !== null && item !== '' && !(typeof item === 'object' && !Array.isArray(item));
    out[key] = secret ? (Array.isArray(item) ? item.map(() => MASK) : MASK) : mask(item, depth + 1);
  }
  return out;
}

/** All values, whatever their names. */
function maskLeaves(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskLeaves);
  if (typeof value !== 'object' || value === null) return MASK;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, maskLeaves(item)]));
}

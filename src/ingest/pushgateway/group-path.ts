/**
 * The path of a push -> the labels that name its group: `job/NAME{/LABEL/VALUE}`, where `job@base64` and `LABEL@base64` say that the
 * value behind is base64url (padding may be left out, a lone `=` is the empty value), for values that hold a slash or are empty.
 *
 * The job in front wins over a label called job further on; of a label given twice the last counts.
 */

export class GroupPathError extends Error {
  override name = 'GroupPathError';
}

const LABELS_MAX = 64;
const SUFFIX = '@base64';

/** `path` as in the URL, percent-encoded, without the leading `/metrics/`. Sorted by name; empty values are kept. */
export function groupLabels(path: string): [string, string][] {
  const parts = path.split('/');
  if (parts.at(-1) === '') parts.pop();
  const [jobKey = '', jobText = '', ...rest] = parts;
  if (jobKey !== 'job' && jobKey !== `job${SUFFIX}`)
    throw new GroupPathError('the path is /metrics/job/NAME{/LABEL/VALUE}');
  const job = decoded(jobKey, jobText, 'job name');
  if (job === '') throw new GroupPathError('job name is required');
  if (rest.length % 2 !== 0) {
    throw new GroupPathError(`odd number of components in label string ${JSON.stringify(`/${rest.join('/')}`)}`);
  }
  if (rest.length / 2 > LABELS_MAX) throw new GroupPathError(`more than ${LABELS_MAX} labels in the path`);
  const labels = new Map<string, string>();
  for (let i = 0; i < rest.length; i += 2) {
    const key = percentDecoded(rest[i] as string);
    const name = key.endsWith(SUFFIX) ? key.slice(0, -SUFFIX.length) : key;
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name.startsWith('__')) {
      throw new GroupPathError(`improper label name ${JSON.stringify(name)}`);
    }
    labels.set(name, decoded(key, rest[i + 1] as string, `label ${name}`));
  }
  labels.set('job', job);
  return [...labels].sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

function decoded(key: string, text: string, what: string): string {
  const plain = percentDecoded(text);
  if (!key.endsWith(SUFFIX)) return plain;
  const bare = plain.replace(/=+$/, '');
  if (!/^[A-Za-z0-9_-]*$/.test(bare) || bare.length % 4 === 1) {
    throw new GroupPathError(
      `invalid base64 encoding in ${what}: ${JSON.stringify(plain.slice(0, 100))} is not base64url`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(bare, 'base64url'));
  } catch {
    throw new GroupPathError(`${what} is not UTF-8`);
  }
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new GroupPathError(`${JSON.stringify(text.slice(0, 100))} is not well percent-encoded`);
  }
}

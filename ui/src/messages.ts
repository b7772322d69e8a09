/** Errors (with the place in the query), warnings and infos above the result. */
import { type Position, type QueryAnswer, QueryFailure } from './api.ts';
import { element } from './dom.ts';

/** More notes of one kind than this are counted, not listed. */
const NOTES_MAX = 5;

const KIND_TITLES: Record<string, string> = {
  bad_data: 'The query cannot be read',
  execution: 'The query failed',
  timeout: 'The query took too long',
  canceled: 'The query was cancelled',
  unavailable: 'The server cannot answer now',
  unreachable: 'No connection',
  internal: 'The server failed',
};

export function showFailure(parent: HTMLElement, failure: unknown, query: string): void {
  const known = failure instanceof QueryFailure;
  const title = known ? (KIND_TITLES[failure.kind] ?? failure.kind) : 'The page failed';
  const text = failure instanceof Error ? failure.message : String(failure);
  const box = element(
    'div',
    { className: 'message is-error' },
    element('strong', { textContent: title }),
    element('p', { textContent: text }),
  );
  box.setAttribute('role', 'alert');
  const excerpt = known && failure.position ? excerptAt(query, failure.position) : null;
  if (excerpt) box.append(excerpt);
  parent.append(box);
}

/** The line of the error with a caret under the place. */
function excerptAt(query: string, { line, column }: Position): HTMLElement | null {
  const text = query.split('\n')[line - 1];
  if (text === undefined || column > text.length + 1) return null;
  return element(
    'pre',
    { className: 'excerpt' },
    `${text}\n`,
    element('span', { textContent: `${' '.repeat(column - 1)}^` }),
  );
}

export function showNotes(parent: HTMLElement, answer: Pick<QueryAnswer, 'warnings' | 'infos'>): void {
  notes(parent, answer.warnings, 'is-warning', 'Warning');
  notes(parent, answer.infos, 'is-info', 'Note');
}

function notes(parent: HTMLElement, texts: string[], style: string, title: string): void {
  for (const text of texts.slice(0, NOTES_MAX)) {
    // The server may or may not begin with the kind itself.
    const words = text.replace(/^PromQL (?:warning|info): /, '');
    parent.append(
      element(
        'div',
        { className: `message ${style}` },
        element('strong', { textContent: title }),
        element('p', { textContent: words }),
      ),
    );
  }
  const more = texts.length - NOTES_MAX;
  if (more > 0)
    parent.append(element('div', { className: `message ${style}`, textContent: `and ${more} more of this kind` }));
}

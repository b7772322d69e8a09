/**
 * The PromQL box: CodeMirror with Prometheus' own language package for highlighting, completion (names and labels come
 * from our API) and checks while typing. Enter runs the query, Shift+Enter breaks the line, Ctrl+Space completes.
 */
import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap, setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import type { Position } from './api.ts';

/** How far back names for completion are looked up. */
const COMPLETION_LOOKBACK_MS = 12 * 3_600_000;

const highlightStyle = HighlightStyle.define([
  { tag: tags.variableName, color: 'var(--syntax-name)' },
  { tag: tags.labelName, color: 'var(--syntax-label)' },
  { tag: tags.string, color: 'var(--syntax-string)' },
  { tag: tags.number, color: 'var(--syntax-number)' },
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: 'var(--syntax-keyword)' },
  { tag: tags.function(tags.variableName), color: 'var(--syntax-function)' },
  { tag: tags.operator, color: 'var(--syntax-keyword)' },
  { tag: tags.comment, color: 'var(--faint)', fontStyle: 'italic' },
  { tag: tags.invalid, color: 'var(--error)' },
]);

export class QueryEditor {
  private readonly view: EditorView;

  constructor(parent: HTMLElement, query: string, onExecute: () => void) {
    const promql = new PromQLExtension().setComplete({
      remote: { url: '', apiPrefix: 'api/v1', httpMethod: 'GET', lookbackInterval: COMPLETION_LOOKBACK_MS },
    });
    const execute = (): boolean => {
      onExecute();
      return true;
    };
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: query,
        extensions: [
          history(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ maxRenderedOptions: 100 }),
          syntaxHighlighting(highlightStyle),
          promql.asExtension(),
          placeholder('PromQL expression: start typing a metric name'),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': 'PromQL expression', spellcheck: 'false' }),
          keymap.of([
            ...closeBracketsKeymap,
            ...defaultKeymap,
            ...historyKeymap,
            ...completionKeymap,
            ...lintKeymap,
            { key: 'Tab', run: acceptCompletion },
          ]),
          // Below the completion list's own Enter, above the editor's line break.
          Prec.high(
            keymap.of([
              { key: 'Enter', run: execute },
              { key: 'Mod-Enter', run: execute },
              { key: 'Shift-Enter', run: insertNewlineAndIndent },
            ]),
          ),
        ],
      }),
    });
  }

  get query(): string {
    return this.view.state.doc.toString();
  }

  set query(text: string) {
    if (text === this.query) return;
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  focus(): void {
    this.view.focus();
    this.view.dispatch({ selection: { anchor: this.view.state.doc.length } });
  }

  /** Underlines the place of a server's error until the text changes. */
  markError(position: Position, message: string): void {
    const { doc } = this.view.state;
    if (position.line > doc.lines) return;
    const line = doc.line(Math.max(1, position.line));
    const from = Math.min(line.from + position.column - 1, Math.max(line.from, line.to - 1));
    const word = /^[\w:.]+/.exec(doc.sliceString(from, line.to));
    const to = Math.min(doc.length, from + (word ? word[0].length : 1));
    this.view.dispatch(setDiagnostics(this.view.state, [{ from, to, severity: 'error', message }]));
  }
}

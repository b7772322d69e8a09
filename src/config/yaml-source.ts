/**
 * YamlSource: one configuration file, parsed, with the place of everything in it.
 *
 * Errors carry file, line, column and the path of keys, all of them at once where possible: nobody wants to mend a file
 * one error per try. Aliases are bounded against "billion laughs"; the file's size too.
 */
import { readFileSync } from 'node:fs';
import { type Document, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';

const FILE_BYTES_MAX = 16 << 20;

export type Path = readonly (string | number)[];

export interface ConfigProblem {
  file: string;
  /** 1-based; 0 where unknown. */
  line: number;
  column: number;
  /** `scrape_configs[2].job_name`, '' for the whole file. */
  path: string;
  message: string;
}

/** A file cannot be used. `problems` has at least one entry. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }
}

export function formatProblem(problem: ConfigProblem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  return `${place}: ${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`;
}

export function formatPath(path: Path): string {
  let out = '';
  for (const key of path) {
    if (typeof key === 'number') out += `[${key}]`;
    else if (/^[\w-]+$/.test(key)) out += `${out === '' ? '' : '.'}${key}`;
    else out += `[${JSON.stringify(key)}]`;
  }
  return out;
}

export class YamlSource {
  readonly file: string;
  readonly text: string;
  readonly doc: Document.Parsed | null;
  private readonly lines: LineCounter;

  private constructor(file: string, text: string, doc: Document.Parsed | null, lines: LineCounter) {
    this.file = file;
    this.text = text;
    this.doc = doc;
    this.lines = lines;
  }

  static read(file: string): YamlSource {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      const what = code === 'ENOENT' ? 'there is no such file' : `cannot read it (${code ?? String(error)})`;
      throw new ConfigError([{ file, line: 0, column: 0, path: '', message: what }]);
    }
    return YamlSource.parse(file, text);
  }

  static parse(file: string, text: string): YamlSource {
    const lines = new LineCounter();
    const source = (doc: Document.Parsed | null): YamlSource => new YamlSource(file, text, doc, lines);
    if (text.length > FILE_BYTES_MAX) {
      const message = `the file is larger than ${FILE_BYTES_MAX} bytes`;
      throw new ConfigError([{ file, line: 0, column: 0, path: '', message }]);
    }
    // `<<` merges, as in YAML 1.1; doubled keys are the reader's to judge, with their names.
    const docs = parseAllDocuments(text, {
      lineCounter: lines,
      merge: true,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'error',
    });
    if (!Array.isArray(docs) || docs.length === 0) return source(null);
    const doc = docs[0] as Document.Parsed;
    const problems = doc.errors.map(error => {
      const at = lines.linePos(error.pos[0]);
      return { file, line: at.line, column: at.col, path: '', message: `not valid YAML: ${error.message}` };
    });
    if (problems.length > 0) throw new ConfigError(problems);
    return source(doc);
  }

  /** The file's contents as plain values. */
  value(): unknown {
    if (this.doc === null) return null;
    try {
      return this.doc.toJS({ maxAliasCount: 1000 });
    } catch (error) {
      throw new ConfigError([this.problem([], error instanceof Error ? error.message : String(error))]);
    }
  }

  /** A problem at the place of `path`, or of the nearest key above it that is there. */
  problem(path: Path, message: string): ConfigProblem {
    const at = this.position(path);
    return { file: this.file, line: at.line, column: at.column, path: formatPath(path), message };
  }

  problemAtNode(node: unknown, path: Path, message: string): ConfigProblem {
    const at = this.nodePosition(node) ?? this.position(path);
    return { file: this.file, line: at.line, column: at.column, path: formatPath(path), message };
  }

  nodePosition(node: unknown): { line: number; column: number } | null {
    const range = (node as Node | null)?.range;
    if (!range) return null;
    const at = this.lines.linePos(range[0]);
    return { line: at.line, column: at.col };
  }

  position(path: Path): { line: number; column: number } {
    let node: unknown = this.doc?.contents ?? null;
    let found: unknown = node;
    for (const key of path) {
      if (isMap(node)) {
        const pair = node.items.find(
          item => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key),
        );
        if (pair === undefined) break;
        found = pair.key;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(key)] ?? null;
        if (node === null) break;
        found = node;
      } else {
        break;
      }
    }
    return this.nodePosition(found) ?? { line: 0, column: 0 };
  }
}

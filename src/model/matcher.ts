/** Matcher: one condition on a label. Regular expressions are fully anchored, RE2 syntax, dot matches newline. */

export type MatchOp = '=' | '!=' | '=~' | '!~';

export interface Matcher {
  name: string;
  op: MatchOp;
  value: string;
}

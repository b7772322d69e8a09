/**
 * Log: structured records (pino), one JSON object a line on stdout.
 *
 * Parts get a child logger with their name in `part`. Fields that may carry secrets are masked by name at the two
 * depths at which ours occur; nothing should log a whole configuration or request header set in the first place.
 */
import { type DestinationStream, pino } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

type LogMethod = (fields: Record<string, unknown> | string, message?: string) => void;

/** What parts may do with a logger; pino's logger fits, and so does a test's. */
export interface Logger {
  trace: LogMethod;
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  fatal: LogMethod;
  child(fields: Record<string, unknown>): Logger;
}

/** A logger whose level, and that of all its children, can be changed. */
export interface LevelLogger extends Logger {
  setLevel(level: LogLevel): void;
}

const SECRET_FIELDS = ['password', 'secret', 'token', 'authorization', 'cookie', 'credentials', 'bearer_token'];

export function createLogger(options: { level: LogLevel; destination?: DestinationStream }): LevelLogger {
  const settings = {
    // Pino's children keep the level they were made with: what is written is decided here.
    level: 'trace',
    // pid and hostname on each line say nothing to a reader of one process' log.
    base: {},
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRET_FIELDS.flatMap(name => [name, `*.${name}`]), censor: '<secret>' },
  };
  // Synchronous: the lines before an exit or a crash are the ones that matter.
  const root = pino(settings, options.destination ?? pino.destination({ fd: 1, sync: true })) as unknown as Logger;
  const gate = { least: LOG_LEVELS.indexOf(options.level) };
  const setLevel = (level: LogLevel): void => {
    gate.least = LOG_LEVELS.indexOf(level);
  };
  return { ...gated(root, gate), setLevel };
}

/** Lets through what is at or above the level that the gate has at the time. */
function gated(to: Logger, gate: { least: number }): Logger {
  const method = (level: LogLevel): LogMethod => {
    const rank = LOG_LEVELS.indexOf(level);
    return (fields, message) => {
      if (rank >= gate.least) to[level](fields, message);
    };
  };
  return {
    trace: method('trace'),
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
    fatal: method('fatal'),
    child: fields => gated(to.child(fields), gate),
  };
}

/** For tests and for parts that run where nobody listens. */
export const silentLogger: Logger = (() => {
  const nothing = (): void => {};
  const logger: Logger = {
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    fatal: nothing,
    child: () => logger,
  };
  return logger;
})();

/** An error's text with its causes, for a field `error`; stacks only where they are a bug's. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const bug = error.message.startsWith('BUG:') || error instanceof TypeError || error instanceof ReferenceError;
  let text = bug ? (error.stack ?? error.message) : error.message;
  let cause = error.cause;
  for (let depth = 0; cause !== undefined && depth < 5; depth++) {
    text += `: ${cause instanceof Error ? cause.message : String(cause)}`;
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return text;
}

/** How much an operator should care. */
export type LogLevel = 'info' | 'warn' | 'error'

/** Facts about an event. Never keys, tokens, records or payloads. */
export type LogFields = Readonly<Record<string, string | number | boolean>>

/** Receives one entry per event that an operator needs to know about. Must not throw. */
export type Logger = (level: LogLevel, event: string, fields?: LogFields) => void

/** Writes each entry as one line of JSON: time, level, event, and its fields. */
export function jsonLogger(write: (line: string) => void, wallMs: () => number = Date.now): Logger {
  return (level, event, fields) => {
    write(`${JSON.stringify({ time: new Date(wallMs()).toISOString(), level, event, ...fields })}\n`)
  }
}

/** Drops everything: the default of a server that is embedded in another program. */
export const silentLogger: Logger = () => {}

/** What a log may say about a failure: name, message and stack, of errors only. */
export function describeCause(cause: unknown): LogFields {
  if (!(cause instanceof Error)) return { cause: String(cause) }
  return { cause: `${cause.name}: ${cause.message}`, ...(cause.stack === undefined ? {} : { stack: cause.stack }) }
}

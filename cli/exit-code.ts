/** How a command ended. Documented in every `--help`. */
export const ExitCode = { ok: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 } as const

/** One of the values of `ExitCode`. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** What the help says about them. */
export const EXIT_CODES: readonly (readonly [code: string, meaning: string])[] = [
  ['0', 'done'],
  ['1', 'failed; the message says why'],
  ['2', 'wrong usage: an unknown command or option, or a value that cannot be'],
  ['130', 'interrupted (Ctrl+C) before it was done; 143 when ended by SIGTERM'],
]

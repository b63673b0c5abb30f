import { ErrorReason, MeshError } from '@mesh/core'
import { ExitCode } from './exit-code.ts'

/** The command line itself is wrong: exit code 2. */
export class UsageError extends Error {
  /** What to do instead, in one sentence. */
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.name = 'UsageError'
    this.hint = hint
  }
}

/** A signal ended the command before it was done: exit code 130 or 143. */
export class Interrupted extends Error {
  readonly exitCode: ExitCode

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(signal === 'SIGINT' ? 'interrupted' : 'terminated')
    this.name = 'Interrupted'
    this.exitCode = signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated
  }
}

/** What a command could not do, in words for its user: exit code 1. */
export class CommandError extends Error {
  /** For programs: a name like `CHECKSUM_MISMATCH`. */
  readonly reason: string
  readonly hint: string | undefined

  constructor(reason: string, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'CommandError'
    this.reason = reason
    this.hint = options.hint
  }
}

/** An error as people and programs are told about it. */
export interface Failure {
  /** `ErrorReason` name, a `CommandError` reason, the system's error code, or `USAGE`, `INTERRUPTED`, `UNEXPECTED`. */
  readonly reason: string
  readonly message: string
  readonly hint: string | undefined
  readonly exitCode: ExitCode
}

const HINTS: Partial<Record<ErrorReason, string>> = {
  [ErrorReason.UNREACHABLE]: 'Is a server running there? `mesh serve` starts one; --server names another.',
  [ErrorReason.SERVER_KEY_MISMATCH]: 'The server is not the one whose key was given with --server-key.',
  [ErrorReason.SESSION_REPLACED]: 'Another process uses the same identity; --identity gives this one its own.',
  [ErrorReason.IDENTITY_UNAVAILABLE]: 'Keys are kept in $MESH_HOME or ~/.mesh; --identity ephemeral needs no file.',
  [ErrorReason.ADMISSION_REFUSED]: 'Both sides must have joined the same party: compare its name or key.',
  [ErrorReason.ORIGIN_MISMATCH]: 'Use a name of the server that its --allowed-host lists.',
}

/** Mistakes that only another command line can correct. */
const WRONG_USAGE = new Set<ErrorReason>([
  ErrorReason.ADDRESS_INVALID,
  ErrorReason.PEER_ID_INVALID,
  ErrorReason.CONFIGURATION,
])

/** Puts any thrown value into words, and decides the exit code. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof UsageError) {
    return { reason: 'USAGE', message: error.message, hint: error.hint, exitCode: ExitCode.usage }
  }
  if (error instanceof Interrupted) {
    return { reason: 'INTERRUPTED', message: error.message, hint: undefined, exitCode: error.exitCode }
  }
  if (error instanceof CommandError) {
    return { reason: error.reason, message: error.message, hint: error.hint, exitCode: ExitCode.failed }
  }
  if (error instanceof MeshError) return describeMeshError(error)
  const code = systemErrorCode(error)
  const message = error instanceof Error ? error.message : String(error)
  const hint = code === undefined ? 'This was not foreseen. MESH_DEBUG=1 shows where it comes from.' : undefined
  return { reason: code ?? 'UNEXPECTED', message, hint, exitCode: ExitCode.failed }
}

function describeMeshError(error: MeshError): Failure {
  const interrupt = error.reason === ErrorReason.ABORTED ? error.cause : undefined
  if (interrupt instanceof Interrupted) return describeFailure(interrupt)
  return {
    reason: error.reasonName,
    message: error.message,
    hint: HINTS[error.reason],
    exitCode: WRONG_USAGE.has(error.reason) ? ExitCode.usage : ExitCode.failed,
  }
}

/** `EADDRINUSE`, `ENOENT` and the like, of an error of the operating system or of its cause. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : systemErrorCode(error.cause)
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { CommandError } from '../failure.ts'

/** What a process of the cluster is doing. */
export type ServerState =
  | { readonly kind: 'starting' | 'running' | 'suspended' | 'stopping'; readonly child: ChildProcess }
  | { readonly kind: 'dead'; readonly how: string }

/** One line of JSON from `mesh serve --json`. */
export type ServerEvent = Readonly<Record<string, unknown>> & { readonly event: string }

export interface ClusterServerOptions {
  /** 1 for the first. */
  readonly number: number
  /** Public key, hexadecimal. */
  readonly key: string
  readonly port: number
  /** What starts it: a program and its arguments, `mesh serve --json --until-eof` and so on. */
  readonly command: readonly string[]
  /** Gets the server's log, at its end. */
  readonly logFile: string
  onState(server: ClusterServer): void
  onEvent(server: ClusterServer, event: ServerEvent): void
}

/** A server that does not stop by itself within this time is killed: twice the time it gives its streams. */
const STOP_MS = 10_000

/** One server of the cluster, in a process of its own that ends with this one. */
export class ClusterServer {
  readonly number: number
  readonly key: string
  readonly port: number
  readonly #options: ClusterServerOptions
  #state: ServerState = { kind: 'dead', how: 'not started' }
  /** Why it did not start, in its own words. */
  #failure: string | undefined
  #exited: Promise<unknown> = Promise.resolve()

  constructor(options: ClusterServerOptions) {
    this.#options = options
    this.number = options.number
    this.key = options.key
    this.port = options.port
  }

  get state(): ServerState {
    return this.#state
  }

  get pid(): number | undefined {
    return this.#state.kind === 'dead' ? undefined : this.#state.child.pid
  }

  /** Resolves once it takes calls; rejects with what went wrong when its process ends before. Only for a dead one. */
  async start(): Promise<void> {
    const { command, logFile, number } = this.#options
    const [program = '', ...args] = command
    const log = openSync(logFile, 'a', 0o600)
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', log] })
    closeSync(log)
    child.stdin?.on('error', () => {}) // It died before its stdin was closed.
    this.#failure = undefined
    this.#become({ kind: 'starting', child })
    const listening = new Promise<void>((resolve) => this.#read(child, resolve))
    this.#exited = this.#watch(child)
    await Promise.race([listening, this.#exited])
    if (this.#state.kind !== 'dead') return
    const why = this.#failure ?? `it ended (${this.#state.how}); its log is ${logFile}`
    throw new CommandError('SERVER_FAILED', `server ${number} did not start: ${why}`)
  }

  /** As a power failure would. */
  kill(): void {
    this.#signal('SIGKILL')
  }

  /** Freezes the process: to others it is silent, its connections stay. */
  suspend(): void {
    if (this.#state.kind !== 'running') return
    this.#signal('SIGSTOP')
    this.#become({ kind: 'suspended', child: this.#state.child })
  }

  resume(): void {
    if (this.#state.kind !== 'suspended') return
    this.#signal('SIGCONT')
    this.#become({ kind: 'running', child: this.#state.child })
  }

  /** Lets it tell its clients and finish. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.resume()
    if (this.#state.kind === 'dead') return
    const { child } = this.#state
    this.#become({ kind: 'stopping', child })
    child.stdin?.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await this.#exited
    clearTimeout(timer)
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#state.kind !== 'dead') this.#state.child.kill(signal)
  }

  #read({ stdout }: ChildProcess, onListening: () => void): void {
    if (!stdout) throw new Error('no pipe')
    createInterface({ input: stdout }).on('line', (line) => {
      const event = eventOf(line)
      if (event === undefined) return
      if (event.event === 'error') this.#failure = String(event.message)
      if (event.event === 'listening' && this.#state.kind === 'starting') {
        this.#become({ kind: 'running', child: this.#state.child })
        onListening()
      }
      this.#options.onEvent(this, event)
    })
  }

  async #watch(child: ChildProcess): Promise<void> {
    const how = await once(child, 'close').then(
      ([code, signal]) => (signal === null ? `exit code ${code}` : String(signal)),
      (error: Error) => error.message,
    )
    this.#become({ kind: 'dead', how })
  }

  #become(state: ServerState): void {
    this.#state = state
    this.#options.onState(this)
  }
}

function eventOf(line: string): ServerEvent | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && 'event' in value ? (value as ServerEvent) : undefined
  } catch {
    return undefined // Not from the server: a warning of Node's, for example.
  }
}

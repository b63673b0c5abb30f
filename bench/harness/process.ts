import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Usage, WorkerAnswer } from './worker.ts'

export interface WorkerOptions {
  /** Shown in errors and used for the name of a CPU profile. */
  readonly name: string
  /** Writes a V8 CPU profile of the whole life of the process into this folder when it ends. */
  readonly profileDir?: string | undefined
}

/** A running child process that serves methods (see worker.ts). */
export interface Worker extends AsyncDisposable {
  readonly name: string
  /** Rejects with the child's own stack when the method throws, and when the child ends first. */
  call<Result>(method: string, argument?: unknown): Promise<Result>
  usage(options?: { collect?: boolean }): Promise<Usage>
  /** Ends the process and waits until it is gone. Idempotent. */
  stop(): Promise<void>
}

/** How long a child may take to leave by itself after its parent disconnected; profiles are written in this time. */
const STOP_MS = 10_000

/** Starts `module` (a URL of a file that calls `serveWorker`) on the same Node, from sources. */
export function startWorker(module: URL, options: WorkerOptions): Worker {
  const profiling = options.profileDir
    ? ['--cpu-prof', `--cpu-prof-dir=${options.profileDir}`, `--cpu-prof-name=${options.name}-${Date.now()}.cpuprofile`]
    : []
  const child = fork(fileURLToPath(module), [], {
    execArgv: ['-C', 'source', '--expose-gc', '--disable-warning=ExperimentalWarning', ...profiling],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  return new ForkedWorker(child, options.name)
}

interface PendingCall {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
}

class ForkedWorker implements Worker {
  readonly name: string
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #pending = new Map<number, PendingCall>()
  #nextId = 1

  constructor(child: ChildProcess, name: string) {
    this.name = name
    this.#child = child
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()))
    child.on('message', (answer: WorkerAnswer) => this.#settle(answer))
    child.once('exit', (code, signal) => this.#failAll(new Error(`${name} ended (${signal ?? code}) during a call`)))
  }

  call<Result>(method: string, argument?: unknown): Promise<Result> {
    const id = this.#nextId++
    return new Promise<Result>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.send({ id, method, argument }, (error) => {
        if (error && this.#pending.delete(id)) reject(error)
      })
    })
  }

  usage(options?: { collect?: boolean }): Promise<Usage> {
    return this.call<Usage>('usage', options)
  }

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await this.#exited
    clearTimeout(killer)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #settle(answer: WorkerAnswer): void {
    const call = this.#pending.get(answer.id)
    if (!call) return
    this.#pending.delete(answer.id)
    if (answer.error === undefined) call.resolve(answer.value as never)
    else call.reject(new Error(`${this.name}: ${answer.error}`))
  }

  #failAll(error: Error): void {
    for (const call of this.#pending.values()) call.reject(error)
    this.#pending.clear()
  }
}

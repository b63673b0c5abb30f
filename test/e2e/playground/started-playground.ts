import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, '../../../playground/start.ts')
const START_LIMIT_MS = 45_000

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** `npm start` as a process of its own, with identities in a folder of its own. */
export class StartedPlayground {
  readonly #home: string
  #child: ChildProcess
  #stdout = ''
  #stderr = ''

  static async start(...args: string[]): Promise<StartedPlayground> {
    return new StartedPlayground(await mkdtemp(join(tmpdir(), 'mesh-playground-')), args)
  }

  private constructor(home: string, args: readonly string[]) {
    this.#home = home
    this.#child = this.#spawn(args)
  }

  /** What it has printed so far. */
  get stdout(): string {
    return this.#stdout
  }

  /** The address of the page, once it is printed. */
  async url(): Promise<string> {
    const deadline = performance.now() + START_LIMIT_MS
    for (;;) {
      const url = /page\s+(http:\S+)/.exec(this.#stdout)?.[1]
      if (url !== undefined) return url
      if (this.#hasEnded || performance.now() > deadline) {
        throw new Error(`no page was served:\n${this.#stdout}${this.#stderr}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a signal, or none, and waits for the end. */
  async end(signal?: NodeJS.Signals): Promise<Ended> {
    if (!this.#hasEnded) {
      const exited = once(this.#child, 'close')
      if (signal) this.#child.kill(signal)
      await exited
    }
    return { code: this.#child.exitCode, stdout: this.#stdout, stderr: this.#stderr }
  }

  /** Starts again after the end, with the same identities. */
  restart(...args: string[]): void {
    this.#stdout = ''
    this.#stderr = ''
    this.#child = this.#spawn(args)
  }

  /** Ends it, however it is, and removes its identities. */
  async dispose(): Promise<void> {
    await this.end('SIGKILL')
    await rm(this.#home, { recursive: true, force: true })
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  #spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, ['--conditions=source', PROGRAM, ...args], {
      env: { ...process.env, MESH_HOME: this.#home },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.on('data', (chunk) => {
      this.#stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      this.#stderr += chunk
    })
    return child
  }
}

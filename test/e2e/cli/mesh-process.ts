import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url))

/** One line of `--json`. */
export type CliEvent = Readonly<Record<string, unknown>> & { readonly event: string }

/** A running `mesh`, in a process of its own with its own pipes. */
export class MeshProcess {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiting = new Set<() => void>()
  readonly #exited: Promise<number>
  #stderr = ''

  /** `launcher`: a command that runs the one after it, such as `ip netns exec NAME`. */
  constructor(args: readonly string[], env: Readonly<Record<string, string>>, launcher: readonly string[] = []) {
    const [command = '', ...rest] = [...launcher, process.execPath, '-C', 'source', MAIN, ...args]
    this.#child = spawn(command, rest, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const { stdout, stderr } = this.#child
    if (!stdout || !stderr) throw new Error('no pipes')
    createInterface({ input: stdout }).on('line', (line) => {
      this.#lines.push(line)
      this.#wake()
    })
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      this.#wake()
    })
    this.#exited = once(this.#child, 'close').then(([code, signal]) => {
      this.#wake()
      return (code as number | null) ?? 128 + (signal === 'SIGKILL' ? 9 : 15)
    })
  }

  /** The exit code, once both pipes are closed as well. */
  get exited(): Promise<number> {
    return this.#exited
  }

  get stdout(): string {
    return this.#lines.map((line) => `${line}\n`).join('')
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Stdout of `--json`. */
  get events(): CliEvent[] {
    return this.#lines.map((line) => JSON.parse(line) as CliEvent)
  }

  /** The first event of that name that fits; waits for it. Rejects when the process ends without. */
  event(name: string, fits: (event: CliEvent) => boolean = () => true): Promise<CliEvent> {
    return this.#until(`the event "${name}"`, () => this.events.find((event) => event.event === name && fits(event)))
  }

  /** Waits until stderr has the text. */
  said(text: string): Promise<true> {
    return this.#until(`"${text}"`, () => (this.#stderr.includes(text) ? true : undefined))
  }

  type(text: string): void {
    this.#child.stdin?.write(text)
  }

  endInput(): void {
    this.#child.stdin?.end()
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends the process whatever it does; resolves when it is gone. */
  async dispose(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#exited
  }

  #until<T>(what: string, look: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      let ended = false
      const check = (): void => {
        const found = look()
        if (found === undefined && !ended) return
        this.#waiting.delete(check)
        if (found !== undefined) resolve(found)
        else reject(new Error(`mesh ended without ${what}; stdout: ${this.stdout}; stderr: ${this.#stderr}`))
      }
      this.#waiting.add(check)
      void this.#exited.then(() => {
        ended = true
        check()
      })
      check()
    })
  }

  #wake(): void {
    for (const check of [...this.#waiting]) check()
  }
}

/** The processes and folders of one test file; all gone after `dispose`. */
export class MeshBench {
  readonly #processes = new Set<MeshProcess>()
  readonly #folders: string[] = []

  /** Starts `mesh` with a home of its own, so that identities do not meet. */
  async start(...args: string[]): Promise<MeshProcess> {
    return this.startIn(await this.folder(), ...args)
  }

  /** Starts `mesh` with a given home. */
  startIn(home: string, ...args: string[]): MeshProcess {
    const started = new MeshProcess(args, { MESH_HOME: home, MESH_SERVER: '', MESH_DEBUG: '' })
    this.#processes.add(started)
    return started
  }

  /** Runs `mesh` to its end. */
  async run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const finished = await this.start(...args)
    finished.endInput()
    const code = await finished.exited
    return { code, stdout: finished.stdout, stderr: finished.stderr }
  }

  /** A server on any free port, and its origin. */
  async serve(...args: string[]): Promise<{ server: MeshProcess; origin: string }> {
    const server = await this.start('serve', '--port', '0', '--json', ...args)
    const { origin } = await server.event('listening')
    return { server, origin: String(origin) }
  }

  /** An empty folder. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-cli-'))
    this.#folders.push(folder)
    return folder
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#processes].map((started) => started.dispose()))
    await Promise.all(this.#folders.map((folder) => rm(folder, { recursive: true, force: true })))
  }
}

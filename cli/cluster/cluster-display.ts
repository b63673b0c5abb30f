import type { Output } from '../terminal/output.ts'
import { printable } from '../terminal/style.ts'
import { KEYS } from './cluster-commands.ts'
import type { ClusterServer } from './cluster-server.ts'
import { clusterTable } from './cluster-table.ts'
import { originsSeenBy, type ServerView, streamsOf } from './cluster-view.ts'

/** What a server said about another one: its number, or its key when it is none of the cluster. */
export interface Contact {
  readonly kind: 'connected' | 'lost' | 'refused'
  readonly other: number | string
  readonly reason: string | undefined
}

/** Shows what happens in a cluster, to people or to programs. */
export interface ClusterDisplay {
  /** All servers take calls. */
  ready(servers: readonly ClusterServer[]): void
  state(server: ClusterServer): void
  contact(server: ClusterServer, contact: Contact): void
  view(servers: readonly ServerView[]): void
  /** A command could not be understood or done. */
  problem(message: string): void
  /** The question that pressed keys have opened. */
  question(text: string | undefined): void
  /** Leaves what was shown last. Idempotent. */
  close(): void
}

/** One line of JSON per change, and one per view. */
export class JsonDisplay implements ClusterDisplay {
  readonly #output: Output

  constructor(output: Output) {
    this.#output = output
  }

  ready(servers: readonly ClusterServer[]): void {
    this.#say('ready', {
      servers: servers.map(({ number, key, port, pid }) => ({ number, key, pid, origin: originOf(port) })),
    })
  }

  state({ number, pid, state }: ClusterServer): void {
    this.#say('server', { number, state: state.kind, pid, how: state.kind === 'dead' ? state.how : undefined })
  }

  contact({ number }: ClusterServer, { kind, other, reason }: Contact): void {
    this.#say(kind, { number, other, reason })
  }

  view(servers: readonly ServerView[]): void {
    this.#say('view', {
      servers: servers.map((server) => ({
        number: server.number,
        state: server.state,
        pid: server.pid,
        answers: server.page !== undefined,
        sessions: server.page?.stats.sessions,
        streams: streamsOf(server, servers),
        origins: originsSeenBy(server, servers),
      })),
    })
  }

  problem(message: string): void {
    this.#say('problem', { message })
  }

  question(): void {}

  close(): void {}

  /** Without --json too: this display is for whatever is no terminal. */
  #say(event: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#output.json) this.#output.event(event, fields)
    else this.#output.text(JSON.stringify({ event, ...fields }))
  }
}

/** A table that stays at the bottom of the terminal; what happens scrolls by above it. */
export class ScreenDisplay implements ClusterDisplay {
  readonly #output: Output
  readonly #unstick: () => void
  #servers: readonly ServerView[] = []
  #question: string | undefined
  #drawn = 0

  constructor(output: Output) {
    this.#output = output
    this.#unstick = output.stick({ draw: () => this.#draw(), clear: () => this.#clear() })
  }

  ready(servers: readonly ClusterServer[]): void {
    const { bold, dim } = this.#output.style
    this.#output.text(`${bold(`${servers.length} servers work as one.`)} Peers at different ones find each other:`)
    for (const { number, port } of servers) {
      this.#output.text(
        `  ${dim(`at server ${String(number).padEnd(2)}`)}  mesh chat mesh://127.0.0.1:${port}/our-party`,
      )
    }
  }

  state({ number, state }: ClusterServer): void {
    const { bad, good, warning } = this.#output.style
    if (state.kind === 'starting') return
    const paint = state.kind === 'dead' ? bad : state.kind === 'running' ? good : warning
    const how = state.kind === 'dead' ? ` (${printable(state.how)})` : ''
    this.#happened(`server ${number} ${paint(state.kind)}${how}`)
  }

  contact({ number }: ClusterServer, { kind, other, reason }: Contact): void {
    const why = reason === undefined ? '' : `: ${printable(reason)}`
    const words = { connected: 'is connected with', lost: 'lost', refused: 'refused' }
    this.#happened(`server ${number} ${words[kind]} ${printable(String(other)).slice(0, 8)}${why}`)
  }

  view(servers: readonly ServerView[]): void {
    this.#servers = servers
    this.#redraw()
  }

  problem(message: string): void {
    this.#happened(this.#output.style.bad(printable(message)))
  }

  question(text: string | undefined): void {
    this.#question = text
    this.#redraw()
  }

  close(): void {
    this.#unstick()
  }

  #happened(text: string): void {
    this.#output.text(`${this.#output.style.dim(new Date().toTimeString().slice(0, 8))}  ${text}`)
  }

  #redraw(): void {
    this.#clear()
    this.#draw()
  }

  #draw(): void {
    if (this.#servers.length === 0) return
    const { columns, rows, style } = this.#output
    // Two lines for the keys, and one for the cursor, which stays below.
    const table = clusterTable(this.#servers, { columns, rows: rows - 3, style })
    const last = this.#question === undefined ? style.dim(KEYS) : style.bold(this.#question)
    const lines = [...table, '', last]
    this.#drawn = lines.length
    this.#output.raw(lines.map((line) => `${line}\n`).join(''))
  }

  #clear(): void {
    if (this.#drawn > 0) this.#output.raw(`\u001b[${this.#drawn}A\r\u001b[J`)
    this.#drawn = 0
  }
}

/** Where a server of the cluster is reached. */
function originOf(port: number): string {
  return `http://127.0.0.1:${port}`
}

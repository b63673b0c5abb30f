import { styleText } from 'node:util'
import { formatBytes, formatRtt, shortChecksum } from '../peer/format.ts'
import type { ResidentEvent } from '../resident/resident-event.ts'

export interface TerminalOptions {
  readonly write: (text: string) => void
  readonly now: () => Date
  /** ANSI colours; false for pipes and NO_COLOR. */
  readonly colour: boolean
}

const NAME_COLUMN = 20

/** Tells in the terminal what happens in the swarm, one line per event. */
export class Terminal {
  readonly #options: TerminalOptions

  constructor(options: TerminalOptions) {
    this.#options = options
  }

  /** The block at the start. */
  welcome(facts: { readonly url: string; readonly party: string; readonly resident: string }): void {
    const { url, party, resident } = facts
    this.#line('')
    this.#line(`  ${this.#style('bold', 'MESH playground')}`)
    this.#line('')
    this.#line(`  ${this.#style('dim', 'page    ')}  ${this.#style('cyan', url)}`)
    this.#line(`  ${this.#style('dim', 'party   ')}  ${party}`)
    this.#line(`  ${this.#style('dim', 'resident')}  ${resident}`)
    this.#line('')
    this.#line(`  Open the page in two tabs: each is a peer of its own. Ctrl-C stops everything.`)
    this.#line('')
  }

  /** Something that is not about one peer. */
  note(text: string): void {
    this.#line(`  ${this.#time()}  ${this.#style('yellow', '!')} ${printable(text)}`)
  }

  event(event: ResidentEvent): void {
    const { sign, colour, text } = describe(event)
    const name = printable(event.name).padEnd(NAME_COLUMN)
    this.#line(`  ${this.#time()}  ${this.#style(colour, sign)} ${this.#style('bold', name)} ${text}`)
  }

  #time(): string {
    return this.#style('dim', this.#options.now().toTimeString().slice(0, 8))
  }

  #style(format: Colour, text: string): string {
    return this.#options.colour ? styleText(format, text, { validateStream: false }) : text
  }

  #line(text: string): void {
    this.#options.write(`${text.trimEnd()}\n`)
  }
}

type Colour = 'bold' | 'dim' | 'cyan' | 'green' | 'yellow' | 'red' | 'blue' | 'magenta'

function describe(event: ResidentEvent): { sign: string; colour: Colour; text: string } {
  switch (event.kind) {
    case 'join':
      return { sign: '+', colour: 'green', text: `joined   ${event.id}` }
    case 'leave':
      return { sign: '-', colour: 'red', text: 'left' }
    case 'away':
      return { sign: '~', colour: 'yellow', text: 'is away' }
    case 'online':
      return { sign: '~', colour: 'green', text: 'is back' }
    case 'restart':
      return { sign: '+', colour: 'green', text: 'is back after a restart' }
    case 'path':
      return { sign: '~', colour: 'cyan', text: describePath(event.path, event.rttMs) }
    case 'message':
      return { sign: '>', colour: 'blue', text: printable(event.text) }
    case 'file':
      return { sign: '#', colour: 'magenta', text: describeFile(event) }
  }
}

function describePath(path: 'none' | 'relay' | 'direct', rttMs: number | undefined): string {
  const rtt = rttMs === undefined ? '' : `, ${formatRtt(rttMs)}`
  if (path === 'direct') return `connected directly${rtt}`
  return path === 'relay' ? `connected through the server${rtt}` : 'connection lost, trying again'
}

function describeFile({ file, result }: Extract<ResidentEvent, { kind: 'file' }>): string {
  const what = `${printable(file.name)} (${formatBytes(file.sizeBytes)})`
  if (result.kind === 'stored') return `${what} arrived, SHA-256 ${shortChecksum(result.checksum)} is right`
  return `${what} did not arrive: ${printable(result.why)}`
}

const MAX_TEXT = 120

/** What a peer sent, on one line and without anything that a terminal would obey. */
function printable(text: string): string {
  const plain = text.slice(0, MAX_TEXT * 4).replace(/[\p{Cc}\p{Cf}\p{Cn}\p{Co}\u2028\u2029]+/gu, ' ')
  return plain.length > MAX_TEXT ? `${plain.slice(0, MAX_TEXT)}…` : plain
}

/** What a person can do to the cluster. */
export type ClusterCommand =
  | { readonly verb: 'kill' | 'restart' | 'suspend' | 'continue'; readonly number: number }
  | { readonly verb: 'quit' }

const VERBS = ['kill', 'restart', 'suspend', 'continue', 'quit'] as const
type Verb = (typeof VERBS)[number]

/** What the keys do, for the last line of a screen. */
export const KEYS = 'k kill -9 · r restart · s suspend · c continue, then a number · q quit'

/** Reads "kill 2", "k 2" or "quit". Returns what is wrong with anything else. */
export function parseCommand(line: string, servers: number): ClusterCommand | string {
  const [, word = '', digits] = /^\s*([a-z]+)\s*(\d*)\s*$/i.exec(line) ?? []
  const verb = VERBS.find((name) => word !== '' && (name === word.toLowerCase() || name[0] === word.toLowerCase()))
  if (verb === undefined) return `"${line.slice(0, 80)}" is none of ${VERBS.join(', ')}`
  if (verb === 'quit') return { verb }
  const number = Number(digits)
  if (number >= 1 && number <= servers) return { verb, number }
  return `${verb} needs the number of a server, 1 to ${servers}`
}

/** Puts pressed keys together: a letter, then the digits of a number. */
export class CommandKeys {
  readonly #servers: number
  #verb: Exclude<Verb, 'quit'> | undefined
  #digits = ''

  constructor(servers: number) {
    this.#servers = servers
  }

  /** What was pressed so far, as a question; undefined when nothing is open. */
  get question(): string | undefined {
    return this.#verb && `${this.#verb} which one, 1 to ${this.#servers}? ${this.#digits}`
  }

  /** The command that the key completes. Keys that mean nothing take back what was pressed before. */
  press(key: string): ClusterCommand | undefined {
    const verb = VERBS.find((name) => name[0] === key)
    if (this.#verb === undefined || verb !== undefined) {
      this.#verb = verb === 'quit' ? undefined : verb
      this.#digits = ''
      return verb === 'quit' ? { verb } : undefined
    }
    if (/^\d$/.test(key)) this.#digits += key
    const number = Number(this.#digits)
    const known = number >= 1 && number <= this.#servers
    // A second digit may follow only where there are so many servers.
    if (/^\d$/.test(key) && known && number * 10 <= this.#servers) return undefined
    const command = known && /^[\d\r\n]$/.test(key) ? { verb: this.#verb, number } : undefined
    this.#verb = undefined
    this.#digits = ''
    return command
  }
}

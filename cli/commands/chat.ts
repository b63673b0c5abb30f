import type { MeshError, Message, Peer, SendReport, Swarm } from '@mesh/client'
import { systemClock } from '@mesh/core'
import type { Command, CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, describeFailure, UsageError } from '../failure.ts'
import { joinParty, PARTY_ARGUMENT, PARTY_OPTIONS, type PartySession } from '../party-session.ts'
import { MAX_NAME_LENGTH, peerLabel, stateWithName } from '../peer-name.ts'
import { LineReader } from '../terminal/line-reader.ts'
import { printable, printableLines, shortPeerId } from '../terminal/style.ts'
import { reportPeers } from './peer-report.ts'
import { peerRow } from './peers.ts'

/** Lines that may be on their way at once: enough to fill a slow link, few enough to hold in memory. */
const MAX_SENDING = 64

const COMMANDS_HELP = [
  '/peers   who is here, and how they are connected',
  '/quit    leave (Ctrl+D does the same)',
  '/help    this list',
  '//text   send a line that begins with a slash',
].join('\n')

export const chat: Command = {
  description:
    'Joins a party and makes the terminal a peer of it: what you type goes to everybody there, and what they write appears. When stdin is not a terminal, its lines are sent, and the command ends after the last one; it fails when a line reached nobody.',
  arguments: [PARTY_ARGUMENT],
  options: {
    name: { value: 'name', meaning: 'how the others should call you' },
    wait: {
      value: 'time',
      meaning: 'before sending lines that are not typed, wait this long for somebody to come',
      fallback: '0',
    },
    ...PARTY_OPTIONS,
  },
  examples: [
    { command: 'mesh chat our-party', meaning: 'talk; /help lists the commands' },
    { command: 'echo "build is green" | mesh chat our-party --wait 30s', meaning: 'send a line from a script' },
    { command: 'mesh chat our-party --json', meaning: 'everything that happens, for a program' },
  ],
  async run(context) {
    const name = readName(context)
    const waitMs = context.input.durationMs('wait') ?? 0
    const session = await joinParty(context, name === undefined ? {} : { state: stateWithName(name) })
    try {
      return await new Conversation(context, session).run(waitMs)
    } finally {
      await session.close()
    }
  },
}

function readName({ input }: CommandContext): string | undefined {
  const name = input.text('name')
  if (name === undefined || (name.length <= MAX_NAME_LENGTH && printable(name) === name)) return name
  throw new UsageError(`--name takes up to ${MAX_NAME_LENGTH} printable characters`)
}

/** One chat, from joining to leaving. */
class Conversation {
  readonly #context: CommandContext
  readonly #swarm: Swarm
  readonly #session: PartySession
  readonly #reader: LineReader
  readonly #sending = new Set<Promise<void>>()
  #lost = 0
  #lastError: MeshError | undefined

  constructor(context: CommandContext, session: PartySession) {
    this.#context = context
    this.#session = session
    this.#swarm = session.swarm
    const { stdin, stdout, output, interrupts } = context
    this.#reader = new LineReader({
      stdin,
      stdout,
      output,
      prompt: output.style.bold('› '),
      onInterrupt: () => interrupts.trigger('SIGINT'),
    })
  }

  async run(waitMs: number): Promise<ExitCode> {
    const { interrupts } = this.#context
    this.#greet()
    this.#swarm.on('message', (message) => this.#show(message))
    this.#swarm.on('error', (error) => this.#onError(error))
    reportPeers(this.#swarm, this.#context.output, systemClock)
    const stop = new AbortController()
    this.#swarm.on('status', (status) => {
      if (status === 'closed') stop.abort(this.#lastError)
    })
    const ended = AbortSignal.any([interrupts.signal, stop.signal])
    ended.addEventListener('abort', () => this.#reader.close(), { once: true })
    if (ended.aborted) this.#reader.close()
    if (!this.#reader.interactive && waitMs > 0) await this.#waitForSomebody(waitMs, ended)
    await this.#readLines(ended)
    await Promise.all(this.#sending)
    if (stop.signal.aborted && this.#lastError) throw this.#lastError
    // A chat is left, by /quit as by Ctrl+C; only a script that was cut short has failed.
    if (interrupts.signal.aborted && !this.#reader.interactive) throw interrupts.signal.reason
    if (this.#lost > 0 && !this.#reader.interactive) {
      throw new CommandError('NOT_DELIVERED', `${this.#lost === 1 ? 'one line' : `${this.#lost} lines`} reached nobody`)
    }
    return ExitCode.ok
  }

  async #readLines(ended: AbortSignal): Promise<void> {
    for await (const line of this.#reader.lines()) {
      if (ended.aborted) return
      if (this.#reader.interactive && /^\/(?!\/)/.test(line)) {
        if (this.#obey(line.trim()) === 'quit') return
      } else if (line !== '') {
        this.#send(this.#reader.interactive ? line.replace(/^\/\//, '/') : line)
      }
      if (this.#sending.size >= MAX_SENDING) await Promise.race(this.#sending)
    }
  }

  #greet(): void {
    const { output } = this.#context
    const { swarm, address } = this.#session
    const { bold } = output.style
    const help = this.#reader.interactive ? '\n/help lists the commands, Ctrl+D leaves.' : ''
    const text = `You are ${bold(shortPeerId(swarm.id))} in ${bold(printable(address.label))} at ${address.origin}.${help}`
    output.remark(
      'joined',
      { id: swarm.id, party: address.label, server: address.origin, members: swarm.memberCount },
      text,
    )
    if (swarm.memberCount === 0) output.remark('alone', {}, 'Nobody else is here yet.')
  }

  #show({ from, bytes, text: readText }: Message): void {
    const { output } = this.#context
    let text: string | undefined
    try {
      text = readText()
    } catch {
      text = undefined // not UTF-8: shown by its size
    }
    const { style } = output
    const time = this.#reader.interactive
      ? `${style.dim(new Date(systemClock.wallMs()).toTimeString().slice(0, 5))} `
      : ''
    const shown =
      text === undefined ? style.dim(`${bytes.length} bytes that are not text`) : printableLines(text, '    ')
    const content = text === undefined ? { base64: Buffer.from(bytes).toString('base64') } : { text }
    output.event('message', { from: from.id, ...content }, `${time}${peerLabel(from, style)}: ${shown}`)
  }

  #send(text: string): void {
    const sending = this.#swarm
      .send(text)
      .then(
        (report) => this.#onSent(text, report),
        (error: unknown) => this.#onLost(describeFailure(error).message),
      )
      .finally(() => this.#sending.delete(sending))
    this.#sending.add(sending)
  }

  #onSent(text: string, { delivered, failed }: SendReport): void {
    const { output } = this.#context
    const failures = failed.map(({ peer, error }) => ({ peer: peer.id, reason: error.reasonName }))
    output.event('sent', { text, delivered: delivered.map(({ id }) => id), failed: failures })
    for (const { peer, error } of failed) {
      output.warning('undelivered', { peer: peer.id }, `${shortPeerId(peer.id)} did not get it: ${error.message}`)
    }
    if (delivered.length === 0) this.#onLost(failed.length === 0 ? 'nobody else is here' : 'nobody could be reached')
  }

  #onLost(why: string): void {
    this.#lost++
    this.#context.output.warning('lost', { why }, `Not delivered: ${why}.`)
  }

  #onError(error: MeshError): void {
    this.#lastError = error
    this.#context.output.warning(
      'problem',
      { reason: error.reasonName, message: error.message },
      printable(error.message),
    )
  }

  #obey(line: string): 'quit' | undefined {
    const { output } = this.#context
    switch (line) {
      case '/quit':
      case '/exit':
        return 'quit'
      case '/peers':
        output.text(this.#peerList())
        return undefined
      case '/help':
        output.text(COMMANDS_HELP)
        return undefined
      default:
        output.text(`There is no command ${printable(line.split(' ')[0] ?? '')}.\n${COMMANDS_HELP}`)
    }
  }

  #peerList(): string {
    const peers: Peer[] = [...this.#swarm.peers.values()]
    if (peers.length === 0) return 'Nobody else is here.'
    return peers.map((peer) => peerRow(peer, this.#context.output.style)).join('\n')
  }

  async #waitForSomebody(waitMs: number, ended: AbortSignal): Promise<void> {
    if (this.#swarm.peers.size > 0) return
    const signal = AbortSignal.any([ended, AbortSignal.timeout(waitMs)])
    await this.#swarm.once('join', { signal }).catch(() => undefined)
  }
}

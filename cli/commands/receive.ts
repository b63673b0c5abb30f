import { mkdir } from 'node:fs/promises'
import type { Channel, Swarm } from '@mesh/client'
import { ErrorReason, MeshError, systemClock, toHex } from '@mesh/core'
import type { Command, CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, describeFailure, UsageError } from '../failure.ts'
import { FILE_CHANNEL, FileChannel } from '../file/file-channel.ts'
import { safeFileName } from '../file/file-name.ts'
import { freeBytes, IncomingFile } from '../file/incoming-file.ts'
import { type OfferedFile, receiveContent, receiveOffer, refuseOffer } from '../file/receive-file.ts'
import { joinParty, PARTY_ARGUMENT, PARTY_OPTIONS } from '../party-session.ts'
import { peerLabel } from '../peer-name.ts'
import { formatBytes, formatDuration, formatRate } from '../quantity.ts'
import { confirm } from '../terminal/line-reader.ts'
import { ProgressDisplay } from '../terminal/progress.ts'
import { printable, shortPeerId } from '../terminal/style.ts'

const OFFER_TIMEOUT_MS = 10_000
const DEFAULT_MAX_BYTES = 4 * 1_024 ** 3
/** Left free on the disk of the folder. */
const SPARE_BYTES = 16 * 1_024 ** 2

export const receive: Command = {
  description:
    'Waits for a file that somebody in the party sends, asks whether to accept it, and writes it into a folder. Compares the SHA-256 checksum with the sender’s and keeps only what is right. A name that is taken gets a number; nothing is overwritten. Ends after one file, unless --keep-on is given.',
  arguments: [PARTY_ARGUMENT],
  options: {
    out: {
      value: 'dir',
      short: 'o',
      meaning: 'folder for the file, created when missing',
      fallback: 'the current one',
    },
    yes: { short: 'y', meaning: 'accept without asking' },
    from: { value: 'peer id', multiple: true, meaning: 'accept from this peer only' },
    'max-size': { value: 'size', meaning: 'refuse larger files', fallback: '4GiB' },
    'keep-on': { short: 'k', meaning: 'go on with the next file, until Ctrl+C' },
    ...PARTY_OPTIONS,
  },
  examples: [
    { command: 'mesh receive our-party', meaning: 'one file, into the current folder' },
    { command: 'mesh receive our-party --out ~/inbox --yes --keep-on --max-size 100MB', meaning: 'a mailbox' },
  ],
  async run(context) {
    const { input, output, stdin, interrupts } = context
    const from = input.peerIds('from')
    const maxBytes = input.bytes('max-size') ?? DEFAULT_MAX_BYTES
    const directory = input.text('out') ?? '.'
    const yes = input.flag('yes') === true
    if (!yes && !(stdin.isTTY && output.interactive)) {
      throw new UsageError(
        'there is no terminal to ask whether a file is welcome',
        'Give --yes to accept without asking.',
      )
    }
    await mkdir(directory, { recursive: true })
    const session = await joinParty(context)
    try {
      const { swarm, address } = session
      const text = `You are ${swarm.id}\nWaiting for a file in ${printable(address.label)} at ${address.origin}.`
      output.remark('waiting-for-file', { id: swarm.id, party: address.label, server: address.origin }, text)
      const inbox = new Inbox(context, swarm, { from, maxBytes, directory, yes })
      return await inbox.run(input.flag('keep-on') === true, interrupts.signal)
    } finally {
      await session.close()
    }
  },
}

interface InboxRules {
  /** Peer ids; empty for everybody. */
  readonly from: readonly string[]
  readonly maxBytes: number
  readonly directory: string
  /** Accept without asking. */
  readonly yes: boolean
}

/** Takes offers one at a time; who comes meanwhile is told that this peer is busy. */
class Inbox {
  readonly #context: CommandContext
  readonly #swarm: Swarm
  readonly #rules: InboxRules
  readonly #over = Promise.withResolvers<void>()
  #busy = false
  #received = 0
  #failure: unknown

  constructor(context: CommandContext, swarm: Swarm, rules: InboxRules) {
    this.#context = context
    this.#swarm = swarm
    this.#rules = rules
  }

  /** Resolves after one file, or with `keepOn` at an interrupt. Rejects with what went wrong, or the interrupt. */
  async run(keepOn: boolean, signal: AbortSignal): Promise<ExitCode> {
    let lastError: MeshError | undefined
    this.#swarm.on('channel', (channel) => void this.#take(channel, keepOn))
    this.#swarm.on('error', (error) => {
      lastError = error
    })
    this.#swarm.on('status', (status) => {
      if (status === 'closed') this.#over.reject(lastError ?? new CommandError('CLOSED', 'the session ended'))
    })
    signal.addEventListener('abort', () => this.#over.reject(signal.reason), { once: true })
    if (signal.aborted) this.#over.reject(signal.reason)
    try {
      await this.#over.promise
    } catch (error) {
      if (!keepOn || !signal.aborted || this.#received === 0) throw error
    }
    if (this.#failure !== undefined) throw this.#failure
    return ExitCode.ok
  }

  async #take(channel: Channel, keepOn: boolean): Promise<void> {
    if (channel.name !== FILE_CHANNEL) {
      return channel.abort(new MeshError(ErrorReason.NOT_SUPPORTED, 'this peer receives files only'))
    }
    const files = new FileChannel(channel, systemClock)
    const busy = this.#busy
    this.#busy = true
    try {
      const { signal } = this.#context.interrupts
      const offer = await receiveOffer(files, { timeoutMs: OFFER_TIMEOUT_MS, signal })
      if (busy) return await refuseOffer(files, 'busy')
      if (!(await this.#accept(files, offer))) return
      await this.#receive(files, offer)
      this.#received++
    } catch (error) {
      this.#onFailure(files, error, keepOn)
    } finally {
      if (!busy) this.#busy = false
    }
    if (!keepOn && (this.#received > 0 || this.#failure !== undefined)) this.#over.resolve()
  }

  /** Whether the rules and the user want the file; otherwise the sender has been told. */
  async #accept(files: FileChannel, offer: OfferedFile): Promise<boolean> {
    const { from, maxBytes, directory, yes } = this.#rules
    const { output } = this.#context
    const who = peerLabel(files.peer, output.style)
    const what = `${printable(offer.name)} (${describe(offer)})`
    const fields = { peer: files.peer.id, name: offer.name, sizeBytes: offer.sizeBytes, mediaType: offer.mediaType }
    const refuse = async (refusal: 'declined' | 'too-large', why: string): Promise<false> => {
      output.remark('refused', { ...fields, refusal }, `Refused ${what} from ${who}: ${why}`)
      await refuseOffer(files, refusal)
      return false
    }
    if (from.length > 0 && !from.includes(files.peer.id)) return refuse('declined', 'not from a peer of --from')
    if (offer.sizeBytes > maxBytes) return refuse('too-large', `more than ${formatBytes(maxBytes)}`)
    const free = await freeBytes(directory)
    if (free !== undefined && offer.sizeBytes + SPARE_BYTES > free)
      return refuse('too-large', `only ${formatBytes(free)} are free`)
    output.event('offer', fields, yes ? `${who} sends ${what}` : undefined)
    if (yes || (await this.#ask(files, `${who} wants to send ${what}. Accept? [y/N] `))) return true
    return refuse('declined', 'you said no')
  }

  /** Rejects when the sender withdraws the offer. */
  async #ask(files: FileChannel, question: string): Promise<boolean> {
    const { stdin, stdout, interrupts } = this.#context
    const withdrawn = new AbortController()
    void files.closed.then((error) => {
      withdrawn.abort(error ?? new MeshError(ErrorReason.CHANNEL_CLOSED, 'the sender ended the transfer'))
    })
    const signal = AbortSignal.any([interrupts.signal, withdrawn.signal])
    return confirm(question, { stdin, stdout, signal, onInterrupt: () => interrupts.trigger('SIGINT') })
  }

  async #receive(files: FileChannel, offer: OfferedFile): Promise<void> {
    const { output, interrupts } = this.#context
    const file = await IncomingFile.create(this.#rules.directory, offer.name)
    const progress = new ProgressDisplay(output, systemClock, safeFileName(offer.name), offer.sizeBytes)
    try {
      const onProgress = (bytes: number): void => progress.advance(bytes)
      const received = await receiveContent(files, offer, file, { signal: interrupts.signal, onProgress })
      progress.stop()
      const { elapsedMs } = progress
      const { good, dim, bold } = output.style
      const sha256 = toHex(received.sha256)
      const speed = `${formatBytes(offer.sizeBytes)} in ${formatDuration(elapsedMs)}, ${formatRate(offer.sizeBytes, elapsedMs)}`
      output.event(
        'received',
        {
          peer: files.peer.id,
          file: received.place,
          sizeBytes: offer.sizeBytes,
          sha256,
          elapsedMs: Math.round(elapsedMs),
        },
        `${good('✓')} ${bold(received.place)} (${speed})\n  ${dim('sha256')} ${sha256}`,
      )
    } finally {
      progress.stop()
    }
  }

  #onFailure(files: FileChannel, error: unknown, keepOn: boolean): void {
    files.abort(error)
    if (this.#context.interrupts.signal.aborted) return
    const { output } = this.#context
    if (error instanceof MeshError && error.reason === ErrorReason.ABORTED) {
      return output.remark('withdrawn', { peer: files.peer.id }, `\nThe offer was withdrawn.`)
    }
    this.#failure = error
    if (!keepOn) return
    const { reason, message } = describeFailure(error)
    output.warning(
      'failed',
      { peer: files.peer.id, reason, message },
      `From ${shortPeerId(files.peer.id)}: ${printable(message)}`,
    )
  }
}

function describe({ sizeBytes, mediaType }: OfferedFile): string {
  return mediaType === '' ? formatBytes(sizeBytes) : `${formatBytes(sizeBytes)}, ${printable(mediaType)}`
}

import { systemClock, toHex } from '@mesh/core'
import type { Command } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, describeFailure } from '../failure.ts'
import { Delivery, type DeliveryEvent } from '../file/delivery.ts'
import { openOutgoingFile } from '../file/outgoing-file.ts'
import type { FileSource } from '../file/send-file.ts'
import { joinParty, PARTY_ARGUMENT, PARTY_OPTIONS } from '../party-session.ts'
import { peerLabel } from '../peer-name.ts'
import { formatBytes, formatDuration, formatRate } from '../quantity.ts'
import type { Output } from '../terminal/output.ts'
import { ProgressDisplay } from '../terminal/progress.ts'
import { printable, shortPeerId } from '../terminal/style.ts'

const DEFAULT_WAIT_MS = 120_000
const MAX_WAIT_MS = 86_400_000

export const send: Command = {
  description:
    'Sends a file to a peer of a party: to the first that accepts it, or to all that --to names. Waits for receivers to come and to accept. Succeeds when every receiver has the whole file and its SHA-256 checksum is the sender’s.',
  arguments: [PARTY_ARGUMENT, { name: 'file', meaning: 'the file to send' }],
  options: {
    to: {
      value: 'peer id',
      multiple: true,
      meaning: 'a receiver, as `mesh peers` or `mesh id` show it',
      fallback: 'the first that accepts',
    },
    wait: { value: 'time', meaning: 'how long to wait for receivers to accept', fallback: '2m' },
    ...PARTY_OPTIONS,
  },
  examples: [
    { command: 'mesh send our-party photo.jpg', meaning: 'to whoever runs `mesh receive our-party` and accepts' },
    { command: 'mesh send our-party backup.tar.gz --to mesh1… --to mesh1…', meaning: 'to two certain peers' },
  ],
  async run(context) {
    const { input } = context
    const to = input.peerIds('to')
    const waitMs = input.durationMs('wait', { max: MAX_WAIT_MS }) ?? DEFAULT_WAIT_MS
    const file = await openOutgoingFile(input.argument(1))
    const session = await joinParty(context)
    const report = new DeliveryReport(context.output, file, to.length > 0)
    try {
      const { signal } = context.interrupts
      const onEvent = (event: DeliveryEvent): void => report.show(event)
      const delivery = new Delivery({ swarm: session.swarm, file, to, clock: systemClock, signal, onEvent })
      report.begin(session.swarm.id, session.address.label, to)
      const patience = systemClock.schedule(waitMs, () => {
        report.missing = delivery.missing
        delivery.stopAsking()
      })
      await delivery.run().finally(() => patience.cancel())
      return report.conclude(waitMs)
    } finally {
      report.stop()
      await session.close()
    }
  },
}

/** Tells the user what becomes of a file, and in the end whether it arrived. */
class DeliveryReport {
  /** Named receivers that never answered. */
  missing: readonly string[] = []
  readonly #output: Output
  readonly #file: FileSource
  /** Whether the receivers are named: then each that refuses is a failure. */
  readonly #named: boolean
  #progress: ProgressDisplay | undefined
  #sent = 0
  #failed = 0

  constructor(output: Output, file: FileSource, named: boolean) {
    this.#named = named
    this.#output = output
    this.#file = file
  }

  begin(id: string, party: string, to: readonly string[]): void {
    const { name, sizeBytes } = this.#file
    const receiver = to.length === 0 ? 'somebody who accepts' : to.map(shortPeerId).join(', ')
    const text = `Offering ${printable(name)} (${formatBytes(sizeBytes)}) in ${printable(party)}; waiting for ${receiver}.`
    this.#output.remark('offering', { id, party, name, sizeBytes, to }, text)
  }

  show(event: DeliveryEvent): void {
    const { style } = this.#output
    const who = peerLabel(event.peer, style)
    const peer = event.peer.id
    switch (event.kind) {
      case 'offered':
        return this.#output.remark('offered', { peer }, `Offered to ${who}`)
      case 'accepted':
        return this.#accepted(peer, who)
      case 'progress':
        return this.#progress?.advance(event.bytes)
      case 'sent':
        return this.#arrived(peer, who, event.sha256)
      case 'failed': {
        this.#failed++
        const { reason, message } = describeFailure(event.error)
        return this.#output.warning(
          'failed',
          { peer, reason, message },
          `${who} did not get the file: ${printable(message)}`,
        )
      }
      case 'refused':
        if (this.#named) this.#failed++
        return this.#output.remark('refused', { peer, message: event.why }, `${who} ${printable(event.why)}`)
    }
  }

  /** The exit code; throws what went wrong. */
  conclude(waitMs: number): ExitCode {
    this.stop()
    for (const peer of this.missing) this.#output.warning('unanswered', { peer }, `${shortPeerId(peer)} did not answer`)
    const failed = this.#failed + this.missing.length
    if (this.#sent > 0 && failed === 0) return ExitCode.ok
    if (failed === 0) {
      const hint = 'Somebody has to run `mesh receive` in the same party and accept.'
      throw new CommandError('NOT_ACCEPTED', `nobody accepted the file within ${formatDuration(waitMs)}`, { hint })
    }
    const receivers = this.#sent + failed
    throw new CommandError(
      'NOT_DELIVERED',
      receivers === 1 ? 'the file was not delivered' : `${failed} of ${receivers} receivers did not get the file`,
    )
  }

  stop(): void {
    this.#progress?.stop()
  }

  #accepted(peer: string, who: string): void {
    const { name, sizeBytes } = this.#file
    this.#output.event('accepted', { peer }, `${who} accepts`)
    if (this.#progress) this.#progress.extend(sizeBytes)
    else this.#progress = new ProgressDisplay(this.#output, systemClock, printable(name), sizeBytes)
  }

  #arrived(peer: string, who: string, checksum: Uint8Array): void {
    this.#sent++
    const { name, sizeBytes } = this.#file
    const elapsedMs = this.#progress?.elapsedMs ?? 0
    const sha256 = toHex(checksum)
    const speed = `${formatBytes(sizeBytes)} in ${formatDuration(elapsedMs)}, ${formatRate(sizeBytes, elapsedMs)}`
    const { good, dim } = this.#output.style
    const text = `${good('✓')} ${who} has ${printable(name)} (${speed})\n  ${dim('sha256')} ${sha256}`
    this.#output.event('sent', { peer, name, sizeBytes, sha256, elapsedMs: Math.round(elapsedMs) }, text)
  }
}

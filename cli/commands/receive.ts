import { mkdir } from 'node:fs/promises'
import type { Command } from '../command.ts'
import { UsageError } from '../failure.ts'
import { joinParty, PARTY_ARGUMENT, PARTY_OPTIONS } from '../party-session.ts'
import { printable } from '../terminal/style.ts'
import { Inbox } from './inbox.ts'

const DEFAULT_MAX_BYTES = 4 * 1_024 ** 3

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

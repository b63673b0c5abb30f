import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { defaultIdentityDirectory, readKeyFile } from '@mesh/client/node'
import { formatPeerId, toHex } from '@mesh/core'
import type { Command } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { UsageError } from '../failure.ts'

const NAME = /^[a-z0-9-]{1,64}$/

export const id: Command = {
  description:
    'Shows an identity of this machine: its peer id, its public key and the file that holds the private key. Creates it when there is none yet. Anybody who can read the file can be this peer. A second process at the same time takes the next one: default-2, default-3, and so on.',
  arguments: [],
  options: {
    name: { value: 'name', meaning: 'which identity: 1 to 64 of a-z, 0-9 and -', fallback: 'default' },
  },
  examples: [
    { command: 'mesh id', meaning: 'the identity used when nothing else is said' },
    { command: 'mesh id --name work --json', meaning: 'another one, for a program' },
  ],
  async run({ input, output }) {
    const name = input.text('name') ?? 'default'
    if (!NAME.test(name))
      throw new UsageError(`"${name}" cannot be the name of an identity: use 1 to 64 of a-z, 0-9 and -`)
    const directory = defaultIdentityDirectory()
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const file = join(directory, `${name}.key`)
    const { publicKey } = await readKeyFile(file)
    const fields = { name, peerId: formatPeerId(publicKey), publicKey: toHex(publicKey), file }
    const { bold, dim } = output.style
    const rows = [
      [`peer id`, bold(fields.peerId)],
      [`public key`, fields.publicKey],
      [`file`, file],
    ]
    output.event('identity', fields, rows.map(([label = '', value]) => `${dim(label.padEnd(12))}${value}`).join('\n'))
    return ExitCode.ok
  },
}

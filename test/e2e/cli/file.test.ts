import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { join as joinSwarm } from '@mesh/client'
import { FileMessageSchema, FileOutcome, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MeshBench, type MeshProcess } from './mesh-process.ts'

const bench = new MeshBench()
let origin: string
let folder: string
let file: string

/** 5 MiB that repeat nothing within a chunk. */
const content = Buffer.alloc(5 * 1_024 * 1_024)
for (let offset = 0; offset < content.length; offset += 4)
  content.writeUInt32LE((offset * 2_654_435_761) % 2 ** 32, offset)
const sha256 = createHash('sha256').update(content).digest('hex')

beforeAll(async () => {
  origin = (await bench.serve()).origin
  folder = await bench.folder()
  file = join(folder, 'photo.jpg')
  await writeFile(file, content)
})
afterAll(() => bench.dispose())

async function receiver(
  party: string,
  ...args: string[]
): Promise<{ started: MeshProcess; inbox: string; id: string }> {
  const inbox = join(await bench.folder(), 'inbox')
  const started = await bench.start('receive', `${origin}/${party}`, '--out', inbox, '--json', ...args)
  const { id } = await started.event('waiting-for-file')
  return { started, inbox, id: String(id) }
}

const send = (party: string, ...args: string[]) => bench.start('send', `${origin}/${party}`, ...args, '--json')

describe('mesh send and mesh receive', () => {
  test('bring 5 MiB across with the same checksum on both sides', async () => {
    const { started, inbox, id } = await receiver('five', '--yes')
    const sender = await send('five', file)
    expect(await sender.exited).toBe(0)
    expect(await started.exited).toBe(0)
    expect(await sender.event('sent')).toMatchObject({ peer: id, sizeBytes: content.length, sha256 })
    expect(await started.event('received')).toMatchObject({ file: join(inbox, 'photo.jpg'), sha256 })
    expect(content.equals(await readFile(join(inbox, 'photo.jpg')))).toBe(true)
    expect(await readdir(inbox)).toEqual(['photo.jpg'])
  })

  test('overwrite nothing, and go on with --keep-on until interrupted', async () => {
    const small = join(folder, 'note.txt')
    await writeFile(small, 'one')
    const { started, inbox } = await receiver('keep', '--yes', '--keep-on')
    for (const text of ['one', 'two']) {
      await writeFile(small, text)
      expect(await (await send('keep', small)).exited).toBe(0)
    }
    await started.event('received', ({ file: place }) => place === join(inbox, 'note (1).txt'))
    started.kill('SIGINT')
    expect(await started.exited).toBe(0)
    expect(await readFile(join(inbox, 'note.txt'), 'utf8')).toBe('one')
    expect(await readFile(join(inbox, 'note (1).txt'), 'utf8')).toBe('two')
  })

  test('reach every receiver that is named, and only those', async () => {
    const first = await receiver('many', '--yes')
    const second = await receiver('many', '--yes')
    const other = await receiver('many', '--yes')
    const sender = await send('many', file, '--to', first.id, '--to', second.id)
    expect(await sender.exited).toBe(0)
    expect(
      sender.events
        .filter(({ event }) => event === 'sent')
        .map(({ peer }) => peer)
        .sort(),
    ).toEqual([first.id, second.id].sort())
    expect(await first.started.exited).toBe(0)
    expect(await second.started.exited).toBe(0)
    other.started.kill('SIGTERM')
    expect(await other.started.exited).toBe(143)
    expect(await readdir(other.inbox)).toEqual([])
  })

  test('refuse what is too large, and say so on both sides', async () => {
    const { started, inbox, id } = await receiver('large', '--yes', '--max-size', '1MiB')
    const sender = await send('large', file, '--to', id)
    expect(await sender.exited).toBe(1)
    expect(await sender.event('refused')).toMatchObject({ peer: id, message: 'does not take files as large as this' })
    expect(await started.event('refused')).toMatchObject({ refusal: 'too-large' })
    started.kill('SIGINT')
    expect(await started.exited).toBe(130)
    expect(await readdir(inbox)).toEqual([])
  })

  test('keep nothing of a file whose sender is gone', async () => {
    const { started, inbox } = await receiver('gone', '--yes')
    const endless = join(folder, 'endless.bin')
    await writeFile(endless, Buffer.alloc(64 * 1_024 * 1_024))
    const sender = await send('gone', endless)
    await started.event('progress')
    sender.kill('SIGINT')
    expect(await sender.exited).toBe(130)
    expect(await started.exited).toBe(1)
    expect(await readdir(inbox)).toEqual([])
  })

  test('keep nothing of a file that is not what its sender read, and end with 1', async () => {
    const { started, inbox, id } = await receiver('liar', '--yes')
    await using swarm = await joinSwarm(`${origin}/liar`, { identity: 'ephemeral' })
    const peer = swarm.peers.get(id) ?? (await swarm.once('join'))
    const channel = await peer.open('mesh/file', { kind: 'messages' })
    const writer = channel.writable.getWriter()
    const reader = channel.readable.getReader()
    const write = (body: MessageInitShape<typeof FileMessageSchema>['body'] & object): Promise<void> =>
      writer.write(toBinary(FileMessageSchema, create(FileMessageSchema, { body })))
    const read = async (): Promise<unknown> =>
      fromBinary(FileMessageSchema, (await reader.read()).value ?? new Uint8Array()).body.value
    await write({ case: 'offer', value: { name: '../../../tmp/evil', sizeBytes: 3n } })
    expect(await read()).toMatchObject({ verdict: FileVerdict.ACCEPTED })
    await write({ case: 'chunk', value: Uint8Array.of(1, 2, 3) })
    await write({ case: 'end', value: { sha256: new Uint8Array(32) } })
    expect(await read()).toMatchObject({ outcome: FileOutcome.CHECKSUM_MISMATCH })
    expect(await started.exited).toBe(1)
    expect(await started.event('error')).toMatchObject({ reason: 'CHECKSUM_MISMATCH', exitCode: 1 })
    expect(await readdir(inbox)).toEqual([])
  })

  test('fail when nobody accepts in time', async () => {
    const sender = await bench.start('send', `${origin}/nobody`, file, '--wait', '200ms')
    expect(await sender.exited).toBe(1)
    expect(sender.stderr).toContain('mesh send: nobody accepted the file within 0.2 s')
    expect(sender.stderr).toContain('mesh receive')
  })

  test('say what is wrong with a file before anything else', async () => {
    const { code, stderr } = await bench.run('send', 'p', join(folder, 'none'), '--server', origin)
    expect(code).toBe(1)
    expect(stderr).toContain('cannot be sent: there is no such file')
    expect((await bench.run('send', 'p', folder)).stderr).toContain('is not a file')
  })
})

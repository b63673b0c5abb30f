import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromHex } from '@mesh/core'
import { serverLimits } from '@mesh/server'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseInput } from '../args.ts'
import { completeFromFile, toConfigFile } from '../config-file.ts'
import { readServeOptions, SERVE_OPTIONS } from './serve-options.ts'

/** RFC 8032, section 7.1, TEST 1 and TEST 2. */
const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
const OTHER_KEY = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mesh-serve-'))
  await writeFile(join(directory, 'cert.pem'), 'certificate')
  await writeFile(join(directory, 'key.pem'), 'key')
  await writeFile(join(directory, 'secret'), 'hunter2\n')
})

afterAll(() => rm(directory, { recursive: true, force: true }))

const typed = (...args: string[]) => parseInput(args, { usage: 'mesh serve', arguments: [], options: SERVE_OPTIONS })
const read = (...args: string[]) => readServeOptions(typed(...args))

describe('the options of mesh serve', () => {
  test('leave everything to the server when none is given', async () => {
    expect(await read()).toEqual({ iceServers: [], limits: {} })
  })

  test('hold clients to the successor’s key, which belongs to a successor', async () => {
    const key = '5e'.repeat(32)
    await expect(read('--successor-key', key)).rejects.toThrow('--successor, which is missing')
    await expect(read('--successor', 'https://b', '--successor-key', 'x')).rejects.toThrow('64 hexadecimal digits')
  })

  test('become the server’s own', async () => {
    const args = '--host ::1 --port 0 --drain 2s --trusted-proxies 1 --no-metrics --successor https://b.example'
    expect(
      await read(...args.split(' '), '--allowed-host', 'a', '--allowed-host', 'b:1', '--allowed-origin', '*'),
    ).toEqual({
      host: '::1',
      port: 0,
      drainMs: 2_000,
      trustedProxies: 1,
      metrics: false,
      successor: 'https://b.example',
      allowedHosts: ['a', 'b:1'],
      allowedOrigins: ['*'],
      iceServers: [],
      limits: {},
    })
  })

  test('include every limit of the server, in its unit', async () => {
    for (const { name, wireName } of serverLimits) {
      expect((await read(`--${wireName.replaceAll('_', '-')}`, '7')).limits).toEqual({ [name]: 7 })
    }
  })

  test('take limits with units', async () => {
    const { limits } = await read('--lease-ms', '20s', '--max-message-bytes', '32KiB')
    expect(limits).toEqual({ leaseMs: 20_000, maxMessageBytes: 32_768 })
  })

  test('read certificate, key and secret from files', async () => {
    const tls = await read('--tls-cert', join(directory, 'cert.pem'), '--tls-key', join(directory, 'key.pem'))
    expect(tls.tls).toEqual({ cert: Buffer.from('certificate'), key: Buffer.from('key') })
    const turn = await read('--turn-url', 'turn:a', '--turn-secret-file', join(directory, 'secret'))
    expect(turn.turn).toEqual({ urls: ['turn:a'], secret: 'hunter2' })
  })

  test('name STUN and TURN servers', async () => {
    const options = await read(
      '--stun-url',
      'stun:a',
      '--stun-url',
      'stun:b',
      '--turn-url',
      'turn:c',
      '--turn-secret',
      's',
    )
    expect(options).toMatchObject({
      iceServers: [{ urls: ['stun:a', 'stun:b'] }],
      turn: { urls: ['turn:c'], secret: 's' },
    })
  })

  test('name other servers, by the address they print or by their key', async () => {
    const { federation } = await read(
      '--federate',
      `mesh+grpc://${KEY}@b.example:4600`,
      '--federate-allow',
      OTHER_KEY,
      '--federate-allow',
      `mesh+grpcs://${OTHER_KEY}@c.example:443`,
      '--federate-ca',
      join(directory, 'cert.pem'),
    )
    expect(federation).toEqual({
      realm: 'mesh',
      servers: [{ key: fromHex(KEY), url: 'http://b.example:4600' }],
      allowed: [fromHex(OTHER_KEY), fromHex(OTHER_KEY)],
      ca: Buffer.from('certificate'),
    })
    expect((await read('--federate-allow', KEY, '--realm', 'ours')).federation).toMatchObject({
      realm: 'ours',
      servers: [],
    })
  })

  test('are read from the example in docs/operations.md', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
    const [, example = ''] = /```json config\n(.*?)```/s.exec(text) ?? []
    const file = join(directory, 'server.json')
    await writeFile(file, example)
    await writeFile(join(directory, 'fullchain.pem'), 'chain')
    await writeFile(join(directory, 'privkey.pem'), 'private')
    const input = await completeFromFile(typed(), file, SERVE_OPTIONS)
    expect(await readServeOptions(input)).toMatchObject({
      host: '0.0.0.0',
      port: 4600,
      tls: { cert: Buffer.from('chain'), key: Buffer.from('private') },
      allowedHosts: ['a.mesh.example'],
      federation: { realm: 'mesh', servers: [{ url: 'https://b.mesh.example:4600' }] },
      drainMs: 10_000,
      limits: { maxSessions: 20_000 },
    })
    expect(JSON.parse(toConfigFile(input, SERVE_OPTIONS))).toMatchObject({ 'key-file': '/var/lib/mesh/server.key' })
  })

  test('know the key of a successor that they federate with', async () => {
    const others = ['--federate', `mesh+grpcs://${KEY}@b.example:4600`]
    const at = async (...args: string[]) => (await read(...others, ...args)).successorKey
    expect(await at('--successor', 'https://b.example:4600')).toEqual(fromHex(KEY))
    expect(await at('--successor', 'https://b.example:4600', '--successor-key', OTHER_KEY)).toEqual(fromHex(OTHER_KEY))
    expect(await at('--successor', 'https://c.example:4600')).toBeUndefined()
    expect(await at()).toBeUndefined()
  })

  test.each([
    [['--federate', 'b.example:4600'], '--federate: server address "b.example:4600" is not of the form mesh+grpc://'],
    [['--federate-allow', 'me'], '--federate-allow: a server key has 64 hexadecimal digits, "me" is none'],
    [['--realm', 'ours'], '--realm says how servers work together, but none is named'],
    [['--federate-ca', '/nowhere'], '--federate-ca: /nowhere cannot be read (ENOENT)'],
    [['--tls-cert', 'x'], '--tls-cert and --tls-key belong together'],
    [['--turn-url', 'turn:a'], '--turn-url and --turn-secret-file belong together'],
    [['--turn-secret', 's'], '--turn-url and --turn-secret-file belong together'],
    [['--turn-secret', 's', '--turn-secret-file', 'f'], '--turn-secret and --turn-secret-file cannot both be given'],
    [['--tls-cert', '/nowhere', '--tls-key', 'x'], '--tls-cert: /nowhere cannot be read (ENOENT)'],
  ])('refuse %j', async (args, message) => {
    await expect(read(...args)).rejects.toThrow(message)
  })
})

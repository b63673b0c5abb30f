import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readKeyFile } from '@mesh/client/node'
import { toHex } from '@mesh/core'
import { selfSigned } from '@mesh/server/testing'
import { afterAll, describe, expect, test } from 'vitest'
import { MeshBench, type MeshProcess } from './mesh-process.ts'

const bench = new MeshBench()
afterAll(() => bench.dispose())

/** A home with a server's key in it, and the key. */
async function home(): Promise<{ folder: string; key: string }> {
  const folder = await bench.folder()
  return { folder, key: toHex((await readKeyFile(join(folder, 'server.key'))).publicKey) }
}

function serve(folder: string, ...args: string[]): MeshProcess {
  return bench.startIn(folder, 'serve', '--port', '0', '--json', ...args)
}

/** What a server prints for others to paste. */
async function addressOf(server: MeshProcess): Promise<string> {
  return String((await server.event('listening')).federate)
}

async function stop(...servers: MeshProcess[]): Promise<void> {
  for (const server of servers) server.kill('SIGTERM')
  expect(await Promise.all(servers.map(({ exited }) => exited))).toEqual(servers.map(() => 0))
}

describe('mesh serve --federate', () => {
  test('joins two servers of which one calls, tells of it, and brings their peers together', async () => {
    const [a, b] = [await home(), await home()]
    const called = serve(a.folder, '--federate-allow', b.key)
    const caller = serve(b.folder, '--federate', await addressOf(called))
    expect(await called.event('server-connected')).toMatchObject({ server: b.key })
    expect(await caller.event('server-connected')).toMatchObject({ server: a.key })
    const [one, other] = await Promise.all(
      [called, caller].map(async (server) =>
        bench.start('chat', `${(await server.event('listening')).origin}/across`, '--json'),
      ),
    )
    await Promise.all([one?.event('join'), other?.event('join')])
    one?.type('hello across\n')
    expect(await other?.event('message')).toMatchObject({ text: 'hello across' })
    for (const chat of [one, other]) chat?.endInput()
    await Promise.all([one?.exited, other?.exited])
    await stop(caller)
    expect(await called.event('server-lost')).toMatchObject({ server: b.key })
    await stop(called)
  })

  test('speaks TLS with a server whose certificate an authority of its own signed', async () => {
    const [a, b] = [await home(), await home()]
    const { cert, key } = selfSigned()
    const [certFile, keyFile] = [join(a.folder, 'cert.pem'), join(a.folder, 'key.pem')]
    await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)])
    const called = serve(a.folder, '--federate-allow', b.key, '--tls-cert', certFile, '--tls-key', keyFile)
    const address = await addressOf(called)
    expect(address).toMatch(/^mesh\+grpcs:/)
    const distrustful = serve(b.folder, '--federate', address)
    expect(await distrustful.event('server-unreachable')).toMatchObject({
      reason: expect.stringMatching(/self-signed/),
    })
    await stop(distrustful)
    const caller = serve(b.folder, '--federate', address, '--federate-ca', certFile)
    await Promise.all([caller.event('server-connected'), called.event('server-connected')])
    await stop(caller, called)
  })

  test.each([
    ['a server that it was not told of', [], 'NODE_NOT_ALLOWED'],
    ['a server of another realm', ['--realm', 'theirs'], 'REALM_MISMATCH'],
  ])('refuses %s, and both sides say so', async (_, realm, reason) => {
    const [a, b, stranger] = [await home(), await home(), await home()]
    const called = serve(a.folder, '--federate-allow', reason === 'REALM_MISMATCH' ? b.key : stranger.key)
    const caller = serve(b.folder, '--federate', await addressOf(called), ...realm)
    expect(await called.event('server-refused')).toMatchObject({ by: 'here', reason })
    expect(await caller.event('server-refused')).toMatchObject({ server: a.key, reason })
    await stop(caller, called)
  })
})

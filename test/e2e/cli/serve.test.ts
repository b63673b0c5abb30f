import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { MeshBench } from './mesh-process.ts'

const bench = new MeshBench()
afterAll(() => bench.dispose())

describe('mesh serve', () => {
  test('prints where it listens and its key, logs JSON, drains at SIGTERM and exits with 0', async () => {
    const server = await bench.start('serve', '--port', '0')
    await server.said('"event":"listening"')
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    expect(server.stdout).toMatch(/origin +http:\/\/(localhost|127\.0\.0\.1):\d+\n/)
    expect(server.stdout).toMatch(/public key +[0-9a-f]{64}\n/)
    const log = server.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string })
    expect(log.map(({ event }) => event)).toContain('draining')
  })

  test('keeps its identity in a file that only its user can read', async () => {
    const home = await bench.folder()
    const keys: unknown[] = []
    for (let start = 0; start < 2; start++) {
      const server = bench.startIn(home, 'serve', '--port', '0', '--json', '--log', 'none')
      const { publicKey, keyFile } = await server.event('listening')
      keys.push(publicKey)
      expect(keyFile).toBe(join(home, 'server.key'))
      server.kill('SIGINT')
      expect(await server.exited).toBe(0)
      expect(server.stderr).toBe('')
    }
    expect(keys[1]).toBe(keys[0])
    expect((await stat(join(home, 'server.key'))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(home, 'server.key'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/)
  })

  test('tells its peers at SIGTERM and is gone within the time it was given', async () => {
    const { server, origin } = await bench.serve('--drain', '1s')
    const peer = await bench.start('chat', `${origin}/drain`, '--json')
    await peer.event('joined')
    const startedMs = performance.now()
    server.kill('SIGTERM')
    await peer.event('server-lost')
    expect(await server.exited).toBe(0)
    expect(performance.now() - startedMs).toBeLessThan(10_000)
    peer.endInput()
    expect(await peer.exited).toBe(0)
  })

  test('exits at once at a second signal', async () => {
    const { server, origin } = await bench.serve('--drain', '10m')
    const peer = await bench.start('chat', `${origin}/twice`, '--json')
    await peer.event('joined')
    server.kill('SIGTERM')
    await server.event('draining')
    server.kill('SIGINT')
    expect(await server.exited).toBe(130)
    peer.endInput()
    await peer.exited
  })

  test('takes its options from a file, prints them, and prints the address that others federate with', async () => {
    const folder = await bench.folder()
    const file = join(folder, 'server.json')
    await writeFile(file, JSON.stringify({ port: 4600, 'key-file': 'own.key', log: 'none', 'max-sessions': 7 }))
    const printed = await bench.run('serve', '--config', file, '--port', '0', '--print-config')
    expect(JSON.parse(printed.stdout)).toEqual({
      port: 0,
      'key-file': join(folder, 'own.key'),
      log: 'none',
      'max-sessions': 7,
    })
    const server = await bench.start('serve', '--config', file, '--port', '0', '--json')
    const { publicKey, port, keyFile, federate } = await server.event('listening')
    expect(keyFile).toBe(join(folder, 'own.key'))
    expect(federate).toBe(`mesh+grpc://${publicKey}@127.0.0.1:${port}`)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    expect(server.stderr).toBe('')
  })

  test('refuses to federate with itself', async () => {
    const home = await bench.folder()
    const server = bench.startIn(home, 'serve', '--port', '0', '--json')
    const { federate } = await server.event('listening')
    const again = bench.startIn(home, 'serve', '--port', '0', '--federate', String(federate))
    expect(await again.exited).toBe(2)
    expect(again.stderr).toMatch(/^mesh serve: federation: [0-9a-f]{64} is this server's own key/)
  })

  test('stops with its stdin where that was asked for', async () => {
    const { server } = await bench.serve('--until-eof')
    server.endInput()
    expect(await server.exited).toBe(0)
    expect(server.events.at(-1)).toEqual({ event: 'stopped' })
  })

  test('says that its port is in use', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()))
    const { port } = other.address() as { port: number }
    const { code, stdout, stderr } = await bench.run('serve', '--port', String(port))
    other.close()
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toContain(`mesh serve: port ${port} of 127.0.0.1 is in use\n`)
    expect(stderr).toContain('--port 0')
  })

  test('refuses options that cannot work', async () => {
    const { code, stderr } = await bench.run('serve', '--port', '0', '--host', '0.0.0.0')
    expect(code).toBe(2)
    expect(stderr).toMatch(/^mesh serve: .*0\.0\.0\.0/)
    expect(stderr).toContain('--allowed-host')
  })
})

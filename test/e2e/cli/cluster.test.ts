import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { type CliEvent, MeshBench, type MeshProcess } from './mesh-process.ts'

const bench = new MeshBench()
afterAll(() => bench.dispose())

/** One server in a view, as far as the tests read it. */
interface Seen {
  readonly number: number
  readonly state: string
  readonly pid?: number
  readonly answers: boolean
  readonly sessions?: number
  readonly streams: { readonly up: number; readonly all: number }
  readonly origins: readonly {
    readonly of: number
    readonly state: 'live' | 'hidden'
    readonly epoch: string
    readonly rows: number
    readonly lag: number
    readonly agrees?: boolean
  }[]
}

/** Waits for a view in which a server is as expected. */
async function seen(cluster: MeshProcess, number: number, fits: (server: Seen) => boolean): Promise<Seen> {
  const find = (event: CliEvent): Seen | undefined =>
    (event.servers as Seen[]).find((server) => server.number === number && fits(server))
  return find(await cluster.event('view', (event) => find(event) !== undefined)) as Seen
}

/** A cluster on free ports, and where its servers are. */
async function start(...args: string[]): Promise<{ cluster: MeshProcess; origins: string[]; pids: number[] }> {
  const cluster = await bench.start('cluster', '--port', '0', '--json', ...args)
  const { servers } = await cluster.event('ready')
  const started = servers as { origin: string; pid: number }[]
  return { cluster, origins: started.map(({ origin }) => origin), pids: started.map(({ pid }) => pid) }
}

async function quit(cluster: MeshProcess): Promise<void> {
  cluster.type('quit\n')
  cluster.endInput()
  expect(await cluster.exited).toBe(0)
}

describe('mesh cluster', () => {
  test('kills, restarts and suspends servers on command, and stops them all at the end', async () => {
    const { cluster, origins, pids } = await start('--servers', '2')
    await seen(cluster, 2, ({ answers, sessions }) => answers && sessions === 0)
    cluster.type('kill 2\n')
    await cluster.event('server', ({ number, how }) => number === 2 && how === 'SIGKILL')
    await seen(cluster, 2, ({ state, answers }) => state === 'dead' && !answers)
    cluster.type('restart 2\n')
    const again = await seen(cluster, 2, ({ pid, answers }) => pid !== pids[1] && answers)
    expect(again.state).toBe('running')
    cluster.type('s 1\n')
    await seen(cluster, 1, ({ state, answers }) => state === 'suspended' && !answers)
    cluster.type('c 1\n')
    await cluster.event('server', ({ number, state }) => number === 1 && state === 'running')
    cluster.type('kill 7\n')
    expect(await cluster.event('problem')).toMatchObject({ message: 'kill needs the number of a server, 1 to 2' })
    await quit(cluster)
    for (const origin of origins) await expect(fetch(origin)).rejects.toThrow()
    expect(cluster.stderr).toBe('')
  })

  test('shows what a server sees of one that is killed, and of its next start', { timeout: 60_000 }, async () => {
    const config = join(await bench.folder(), 'limits.json')
    await writeFile(config, JSON.stringify({ 'federation-state-ms': 250, 'federation-lease-ms': '2s' }))
    const { cluster, origins } = await start('--servers', '3', '--config', config)
    const [one, other] = await Promise.all(
      origins.slice(0, 2).map((origin) => bench.start('chat', `${origin}/cluster`, '--json')),
    )
    await Promise.all([one?.event('join'), other?.event('join')])
    const origin = (of: number, { origins }: Seen) => origins.find((seen) => seen.of === of)
    const holds = (server: Seen) => origin(2, server)?.rows === 1 && origin(2, server)?.agrees === true
    const before = await seen(cluster, 3, (server) => server.streams.up === 4 && holds(server))
    expect(origin(2, before)).toMatchObject({ state: 'live', lag: 0 })
    cluster.type('kill 2\n')
    await seen(cluster, 3, (server) => origin(2, server)?.state === 'hidden')
    expect(cluster.events).toContainEqual(expect.objectContaining({ event: 'lost', number: 3, other: 2 }))
    cluster.type('restart 2\n')
    const { epoch } = origin(2, before) as Seen['origins'][number]
    const again = await seen(cluster, 3, (server) => holds(server) && origin(2, server)?.epoch !== epoch)
    expect(origin(2, again)).toMatchObject({ state: 'live' })
    for (const chat of [one, other]) {
      chat?.endInput()
      expect(await chat?.exited).toBe(0)
    }
    await quit(cluster)
  })

  test('prints JSON wherever there is no terminal, and keeps keys and logs where it is told', async () => {
    const folder = await bench.folder()
    const cluster = await bench.start('cluster', '-n', '2', '--port', '0', '--folder', folder)
    await cluster.event('ready')
    await quit(cluster)
    expect((await readdir(folder)).sort()).toEqual(['server-1.key', 'server-1.log', 'server-2.key', 'server-2.log'])
  })

  test('takes its servers along when it is killed itself', async () => {
    const { cluster, origins } = await start('--servers', '2', '--folder', await bench.folder())
    cluster.kill('SIGKILL')
    await cluster.exited
    for (const origin of origins)
      await expect.poll(() => fetch(origin).catch(() => 'gone'), { timeout: 10_000 }).toBe('gone')
  })

  test('says that a port is in use, and leaves nothing running', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()))
    const { port } = other.address() as { port: number }
    const { code, stdout } = await bench.run('cluster', '-n', '2', '--port', String(port), '--json')
    other.close()
    expect(code).toBe(1)
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      event: 'error',
      reason: 'SERVER_FAILED',
      message: `server 1 did not start: port ${port} of 127.0.0.1 is in use`,
    })
    await expect(fetch(`http://127.0.0.1:${port + 1}`)).rejects.toThrow()
  })
})

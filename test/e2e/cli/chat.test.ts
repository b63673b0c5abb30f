import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MeshBench } from './mesh-process.ts'

const bench = new MeshBench()
let origin: string

beforeAll(async () => {
  origin = (await bench.serve()).origin
})
afterAll(() => bench.dispose())

describe('mesh chat', () => {
  test('lets two terminals talk, tells who comes and goes, and ends with its input', async () => {
    const party = `${origin}/two`
    const ada = await bench.start('chat', party, '--json', '--name', 'Ada')
    const { id: adaId } = await ada.event('joined')
    const bob = await bench.start('chat', party, '--json')
    const { id: bobId } = await bob.event('joined')
    await ada.event('join', ({ peer }) => peer === bobId)
    await bob.event('join', ({ peer }) => peer === adaId)
    ada.type('hello Bob\n')
    expect(await bob.event('message')).toMatchObject({ from: adaId, text: 'hello Bob' })
    bob.type('/not a command here\n')
    expect(await ada.event('message')).toMatchObject({ from: bobId, text: '/not a command here' })
    expect(await ada.event('sent')).toMatchObject({ text: 'hello Bob', delivered: [bobId], failed: [] })
    await ada.event('path', ({ path }) => path === 'direct')
    bob.endInput()
    expect(await bob.exited).toBe(0)
    await ada.event('leave', ({ peer }) => peer === bobId)
    ada.endInput()
    expect(await ada.exited).toBe(0)
  })

  test('sends the lines of a script to whoever comes in time, and shows them as text', async () => {
    const party = `${origin}/script`
    const script = await bench.start('chat', party, '--wait', '30s', '--name', 'Build')
    script.type('build is green\nall of it\n')
    script.endInput()
    const reader = await bench.start('chat', party, '--relay-only')
    expect(await script.exited).toBe(0)
    expect(script.stderr).toContain(' in script at ')
    reader.endInput()
    expect(await reader.exited).toBe(0)
    expect(reader.stdout).toMatch(/Build \(mesh1\w{5}…\w{4}\): build is green\n/)
    expect(reader.stdout).toMatch(/Build \(mesh1\w{5}…\w{4}\): all of it\n/)
  })

  test('fails when a line reached nobody', async () => {
    const alone = await bench.start('chat', `${origin}/alone`)
    alone.type('anybody?\n')
    alone.endInput()
    expect(await alone.exited).toBe(1)
    expect(alone.stderr).toContain('Nobody else is here yet.')
    expect(alone.stderr).toContain('mesh chat: one line reached nobody')
  })

  test('is interrupted by a signal, and leaves', async () => {
    const party = `${origin}/interrupt`
    const watcher = await bench.start('peers', party, '--watch', '--json')
    await watcher.event('watching')
    const chat = await bench.start('chat', party, '--json')
    const { id } = await chat.event('joined')
    await watcher.event('join', ({ peer }) => peer === id)
    chat.kill('SIGINT')
    expect(await chat.exited).toBe(130)
    await watcher.event('leave', ({ peer }) => peer === id)
    watcher.kill('SIGINT')
    expect(await watcher.exited).toBe(0)
  })
})

describe('mesh peers', () => {
  test('lists who is there and how they are connected', async () => {
    const party = `${origin}/list`
    const member = await bench.start('chat', party, '--json', '--name', 'Ada')
    const { id } = await member.event('joined')
    const { code, stdout, stderr } = await bench.run('peers', party, '--wait', '20s')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^${String(id)}  direct.* Ada\n$`))
    expect(stderr).toBe('1 peer\n')
    member.endInput()
    await member.exited
  })

  test('lists nobody in an empty party', async () => {
    const { code, stdout, stderr } = await bench.run('peers', `${origin}/empty`, '--json')
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toEqual({ event: 'end', connected: 0, listed: 0 })
  })
})

describe('mesh id', () => {
  test('shows the same identity that a chat uses', async () => {
    const home = await bench.folder()
    const first = bench.startIn(home, 'id', '--json')
    const { peerId } = await first.event('identity')
    expect(await first.exited).toBe(0)
    const chat = bench.startIn(home, 'chat', `${origin}/id`, '--json')
    expect((await chat.event('joined')).id).toBe(peerId)
    const again = bench.startIn(home, 'id')
    expect(await again.exited).toBe(0)
    expect(again.stdout).toContain(String(peerId))
    chat.endInput()
    await chat.exited
  })
})

describe('a server that cannot be used', () => {
  test('is named when it does not answer, with what to do', async () => {
    const { code, stderr } = await bench.run('chat', 'mesh://127.0.0.1:9/x', '--timeout', '300ms')
    expect(code).toBe(1)
    expect(stderr).toMatch(/mesh chat: http:\/\/127\.0\.0\.1:9 cannot be reached/)
    expect(stderr).toContain('mesh serve')
  })

  test.each([
    [['chat', 'ftp://x/y'], 'is not of the form mesh://host[:port]/party'],
    [['peers', 'mesh://localhost'], 'names a server but no party'],
    [['chat', 'key/12'], 'needs 64 hexadecimal digits'],
    [['chat', 'p', '--server-key', 'zz'], '--server-key needs a key of 64 hexadecimal digits'],
  ])('is refused when its address cannot be: %j', async (args, message) => {
    const { code, stderr } = await bench.run(...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })

  test('is refused when its key is not the one that was given', async () => {
    const { code, stderr } = await bench.run('peers', `${origin}/x`, '--server-key', '58'.repeat(32))
    expect(code).toBe(1)
    expect(stderr).toContain('--server-key')
  })

  test('is reported as JSON to programs', async () => {
    const { code, stdout } = await bench.run('peers', 'mesh://127.0.0.1:9/x', '--timeout', '300ms', '--json')
    expect(code).toBe(1)
    const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as unknown
    expect(last).toMatchObject({ event: 'error', reason: 'UNREACHABLE', exitCode: 1 })
  })
})

import { createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { StartedPlayground } from './started-playground.ts'

const started: StartedPlayground[] = []

async function start(...args: string[]): Promise<StartedPlayground> {
  const playground = await StartedPlayground.start(...args)
  started.push(playground)
  return playground
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((playground) => playground.dispose()))
})

describe('npm start', () => {
  test('serves the page with its party, and ends with code 0 on Ctrl-C', async () => {
    const playground = await start('--port', '0', '--party', 'a "b" & c')
    const response = await fetch(await playground.url())
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await response.text()).toContain('content="a &#34;b&#34; &#38; c"')
    expect(playground.stdout).toMatch(/resident\s+mesh1\w{58}/)
    expect(await playground.end('SIGINT')).toMatchObject({ code: 0, stderr: '' })
  })

  test('answers a second Ctrl-C of the same key press only once', async () => {
    const playground = await start('--port', '0')
    await playground.url()
    const ended = playground.end('SIGINT')
    playground.signal('SIGINT')
    expect((await ended).code).toBe(0)
  })

  test('says what to do when the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as { port: number }
    const { code, stderr } = await (await start('--port', String(port))).end()
    other.close()
    expect(code).toBe(1)
    expect(stderr).toContain(`Port ${port} on 127.0.0.1 is taken`)
    expect(stderr).toContain('npm start -- --port')
  })

  test('says what is wrong with its command line, and how it is used', async () => {
    const { code, stderr } = await (await start('--port', 'web')).end()
    expect(code).toBe(2)
    expect(stderr).toMatch(/"web"[\s\S]*Usage: npm start/)
  })

  test('explains itself when asked', async () => {
    const { code, stdout } = await (await start('--help')).end()
    expect(code).toBe(0)
    expect(stdout).toContain('--party')
  })
})

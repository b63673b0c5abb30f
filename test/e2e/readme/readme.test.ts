import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createServer } from '@mesh/server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { launchChromium, openSite } from '../swarm/site.ts'

/** The snippets of README.md and docs/links.md, executed as they stand; only the port is changed to a free one. */
const ROOT = join(import.meta.dirname, '../../..')
const server = createServer({ port: 0 })
let host = ''
let folder = ''
const processes: ChildProcess[] = []

beforeEach(async () => {
  host = new URL((await server.listen()).origin).host
  // Inside the repository, so that package names resolve.
  folder = await mkdtemp(join(ROOT, 'node_modules/.readme-'))
})
afterEach(async () => {
  for (const process of processes.splice(0)) process.kill('SIGKILL')
  await server.close({ drainMs: 0 })
  await rm(folder, { recursive: true, force: true })
})

async function snippets(document = 'README.md'): Promise<string[]> {
  const text = await readFile(join(ROOT, document), 'utf8')
  return [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => (code as string).replaceAll('localhost:4600', host))
}

interface Running {
  readonly lines: string[]
  readonly exited: Promise<number | null>
}

async function run(code: string, name: string): Promise<Running> {
  const file = join(folder, `${name}.mjs`)
  await writeFile(file, code)
  const child = spawn(process.execPath, ['--conditions=source', file], {
    env: { ...process.env, MESH_HOME: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  processes.push(child)
  const lines: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => lines.push(...text.split('\n').filter(Boolean)))
  return { lines, exited: new Promise((resolve) => child.once('exit', resolve)) }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`${what} did not happen`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('README', () => {
  it('brings two processes together with its three lines', async () => {
    const [threeLines = ''] = await snippets()
    const first = await run(threeLines, 'first')
    await until('the first to join', () => server.stats().members === 1)
    const second = await run(threeLines, 'second')
    await until('the greeting', () => first.lines.some((line) => line.endsWith(' hi')))
    expect(first.lines[0]).toMatch(/^mesh1[a-z0-9]+ hi$/)
    expect(second.lines).toEqual([])
  })

  it('brings a page and a process together with the same three lines', async () => {
    const [threeLines = ''] = await snippets()
    await writeFile(join(folder, 'index.html'), `<!doctype html><script type="module">${threeLines}</script>`)
    const site = await openSite(folder)
    const browser = await launchChromium()
    try {
      const page = await browser.newPage()
      const lines: string[] = []
      page.on('console', (message) => lines.push(message.text()))
      await page.goto(site.url)
      await until('the page to join', () => server.stats().members === 1)
      await run(threeLines, 'process')
      await until('the greeting', () => lines.some((line) => /^mesh1[a-z0-9]+ hi$/.test(line)))
    } finally {
      await browser.close()
      await site.close()
    }
  })

  it('sends, asks, streams and ends with its longer example', async () => {
    const [threeLines = '', longer = ''] = await snippets()
    const example = await run(longer, 'longer')
    await until('the example to join', () => server.stats().members === 1)
    const partner = await run(
      `${threeLines}
swarm.onRequest((request) => 'yes')
const streamed = new Promise((resolve) => swarm.on('channel', async (channel) => {
  console.log(channel.name, await new Response(channel.readable).text())
  resolve()
}))
await streamed
await swarm.send('bye')
await swarm.close()`,
      'partner',
    )
    expect(await example.exited).toBe(0)
    expect(await partner.exited).toBe(0)
    expect(example.lines).toContain('yes')
    expect(example.lines.some((line) => line.endsWith(' bye'))).toBe(true)
    expect(partner.lines).toContain('log a stream with backpressure')
    expect(partner.lines.some((line) => line.includes('"welcome"'))).toBe(true)
  })
})

describe('docs/links.md', () => {
  it('tells paths, state and departure of a peer with its example', async () => {
    const [watching = ''] = await snippets('docs/links.md')
    const [threeLines = ''] = await snippets()
    const example = await run(watching, 'watching')
    await until('the example to join', () => server.stats().members === 1)
    const partner = await run(
      `${threeLines}
await swarm.once('join')
setTimeout(() => swarm.setState(new TextEncoder().encode('at lunch')), 500)
setTimeout(() => swarm.close(), 2_000)`,
      'partner',
    )
    expect(await partner.exited).toBe(0)
    await until('the departure', () => example.lines.some((line) => line.endsWith('left PEER_LEFT')))
    for (const told of ['path direct', 'says at lunch']) {
      expect(
        example.lines.some((line) => line.endsWith(told)),
        told,
      ).toBe(true)
    }
  })
})

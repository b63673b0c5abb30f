import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { compareBytes, fromHex, signingKeyFromSeed } from '@mesh/core'
import type { ServerLimits } from '@mesh/server'
import type { Browser, CDPSession, Page } from 'playwright-core'
import { expect } from 'vitest'
import type { PagePeer } from './page/page-peer.ts'
import type { PeerReport } from './peer-report.ts'
import { launchChromium, openSite, type Site } from './site.ts'

/**
 * The real parts of an end-to-end test: a signaling server process, peers in Node processes, peers in Chromium pages. Each
 * is released by `end()`.
 */
export interface E2ePeer {
  readonly kind: 'node' | 'page'
  readonly id: string
  report(): Promise<PeerReport>
  /** Resolves with how many peers have the message. */
  send(text: string): Promise<number>
  /** Leaves cleanly. In Node: resolves when the process ended by itself, with its exit code. */
  close(): Promise<number | null>
  /** Without a word: kill -9, or the page is gone. */
  kill(): Promise<void>
  /** Nothing of it runs until `thaw`: SIGSTOP, or a frozen page. */
  freeze(): Promise<void>
  thaw(): Promise<void>
}

const HERE = import.meta.dirname
const NODE_ARGS = ['--conditions=source']
export class Cast {
  origin = ''
  readonly pageErrors: string[] = []
  #server: ChildProcess | undefined
  #site: Site | undefined
  #browser: Browser | undefined
  readonly #children = new Set<ChildProcess>()

  /** Starts the signaling server; again on the same port after `stopServer`. */
  async startServer(limits: Partial<ServerLimits> = {}): Promise<void> {
    const port = this.origin ? new URL(this.origin).port : '0'
    const argv = [port, JSON.stringify(limits)]
    this.#server = fork(join(HERE, 'server-process.ts'), argv, { execArgv: NODE_ARGS })
    this.origin = (await messageOf<{ origin: string }>(this.#server)).origin
  }

  async stopServer(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const server = this.#server
    if (!server || server.exitCode !== null) return
    server.kill(signal)
    await exitOf(server)
  }

  address(party: string, origin: string = this.origin): string {
    return `mesh://${new URL(origin).host}/${party}`
  }

  nodePeer(party: string, seed?: string, origin?: string): Promise<E2ePeer> {
    return this.nodePeerAt(this.address(party, origin), seed)
  }

  /** `address`: of a party, at one server or several. */
  async nodePeerAt(address: string, seed: string = randomSeed()): Promise<E2ePeer> {
    const child = fork(join(HERE, 'node-peer.ts'), [address, seed], { execArgv: NODE_ARGS })
    this.#children.add(child)
    await messageOf(child)
    let calls = 0
    const call = async <T>(command: object): Promise<T> => {
      const id = ++calls
      child.send({ ...command, id })
      const answer = await messageOf<{ id: number; result: T; error?: string }>(child, (message) => message.id === id)
      if (answer.error) throw new Error(answer.error)
      return answer.result
    }
    const { id } = await call<PeerReport>({ call: 'report' })
    return {
      kind: 'node',
      id,
      report: () => call({ call: 'report' }),
      send: (text) => call({ call: 'send', text }),
      close: async () => {
        await call({ call: 'close' })
        return exitOf(child)
      },
      kill: async () => {
        child.kill('SIGKILL')
        await exitOf(child)
      },
      freeze: async () => void child.kill('SIGSTOP'),
      thaw: async () => void child.kill('SIGCONT'),
    }
  }

  /** A peer in a page; pages of one cast share a browser profile, as tabs do. Without a seed it uses its stored identity. */
  pagePeer(party: string, seed?: string, origin?: string): Promise<E2ePeer> {
    return this.pagePeerAt(this.address(party, origin), seed)
  }

  async pagePeerAt(address: string, seed?: string): Promise<E2ePeer> {
    const site = await this.#openSite()
    this.#browser ??= await launchChromium()
    const context = this.#browser.contexts()[0] ?? (await this.#browser.newContext())
    const page = await context.newPage()
    page.on('pageerror', (error) => this.pageErrors.push(String(error)))
    await page.goto(site)
    await page.waitForFunction(() => 'peer' in globalThis)
    const id = await page.evaluate(([where, key]) => peer.join(where as string, key), [address, seed])
    return pagePeerOn(page, id, await context.newCDPSession(page))
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    await this.#browser?.close()
    await this.stopServer()
    await this.#site?.close()
  }

  async #openSite(): Promise<string> {
    this.#site ??= await openSite(join(HERE, 'page'))
    return this.#site.url
  }
}

declare const peer: PagePeer

function pagePeerOn(page: Page, id: string, devtools: CDPSession): E2ePeer {
  return {
    kind: 'page',
    id,
    report: () => page.evaluate(() => peer.report()),
    send: (text) => page.evaluate((value) => peer.send(value), text),
    close: async () => {
      await page.evaluate(() => peer.close())
      await page.close()
      return 0
    },
    kill: () => page.close({ runBeforeUnload: false }),
    freeze: async () => void (await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })),
    thaw: async () => void (await devtools.send('Page.setWebLifecycleState', { state: 'active' })),
  }
}

/** Polls until the condition holds; the limit is the test's own. */
export async function until(condition: () => Promise<boolean>, limitMs = 30_000): Promise<number> {
  const startedMs = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedMs > limitMs) throw new Error(`not within ${limitMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  return performance.now() - startedMs
}

/** Every peer sees every other, on the path named. */
export async function connected(peers: readonly E2ePeer[], path: 'direct' | 'any' = 'direct'): Promise<boolean> {
  const reports = await Promise.all(peers.map((one) => one.report()))
  return reports.every(
    (report) =>
      report.peers.length === peers.length - 1 && report.peers.every((other) => path === 'any' || other.path === path),
  )
}

/** Connects all directly, then lets each send one message to all: each arrives once. */
export async function talk(...peers: E2ePeer[]): Promise<void> {
  await until(() => connected(peers))
  const counts = await Promise.all(peers.map((peer) => peer.send(`hello from ${peer.id}`)))
  expect(counts).toEqual(peers.map(() => peers.length - 1))
  for (const peer of peers) {
    const { messages } = await peer.report()
    const expected = peers.filter((other) => other !== peer).map(({ id }) => `${id} hello from ${id}`)
    expect([...messages].sort()).toEqual(expected.sort())
  }
}

/** Two seeds: the peer of the first has the lower key, so it offers. */
export async function orderedSeeds(): Promise<[string, string]> {
  const seeds = [randomSeed(), randomSeed()] as const
  const [first, second] = await Promise.all(seeds.map((seed) => signingKeyFromSeed(fromHex(seed))))
  return compareBytes(first!.publicKey, second!.publicKey) < 0 ? [seeds[0], seeds[1]] : [seeds[1], seeds[0]]
}

/** What makes a peer's key, in hexadecimal. */
export function randomSeed(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')
}

function messageOf<T = unknown>(child: ChildProcess, matches: (message: T) => boolean = () => true): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: unknown) => {
      if (!matches(message as T)) return
      off()
      resolve(message as T)
    }
    const onExit = (code: number | null) => {
      off()
      reject(new Error(`the process ended with ${code}`))
    }
    const off = () => {
      child.off('message', onMessage)
      child.off('exit', onExit)
    }
    child.on('message', onMessage)
    child.on('exit', onExit)
  })
}

function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
  return new Promise((resolve) => child.once('exit', resolve))
}

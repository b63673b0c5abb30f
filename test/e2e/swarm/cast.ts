import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { compareBytes, fromHex, signingKeyFromSeed } from '@mesh/core'
import type { ServerLimits, ServerOptions } from '@mesh/server'
import type { Browser, CDPSession, Page } from 'playwright-core'
import { expect } from 'vitest'
import { freePort } from '../network/free-port.ts'
import type { PagePeer } from './page/page-peer.ts'
import type { PeerReport } from './peer-report.ts'
import { launchChromium, openSite, type Site } from './site.ts'
import type { TransferPlan, TransferReport } from './transfer.ts'

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
  /** Begins to send; see Transfers. */
  transfer(to: string, plan: TransferPlan): Promise<void>
  transferred(): Promise<{ sent: TransferReport; received: TransferReport }>
  /** Closes its WebRTC connections behind the SDK's back; gives how many there were. */
  sever(): Promise<number>
  /** See exchangeDatagrams. */
  datagrams(count: number): Promise<number>
  /** Leaves cleanly. In Node: resolves when the process ended by itself, with its exit code. */
  close(): Promise<number | null>
  /** Without a word: kill -9, or the page is closed. */
  kill(): Promise<void>
  /** As `kill`, but of a page the process ends, and the page can say nothing at all. */
  crash(): Promise<void>
  /** Nothing of it runs until `thaw`: SIGSTOP, or a page that a debugger holds. */
  freeze(): Promise<void>
  thaw(): Promise<void>
}

/** Where the parts run, when that is not all on loopback. */
export interface CastPlaces {
  /** Address of the server, and of the site that has the pages. */
  readonly host: string
  /** Command that starts the peer that is made as the n-th, counted from 0; the program follows. */
  launcher(peer: number): readonly string[]
}

const HERE = import.meta.dirname
const LOOPBACK = '127.0.0.1'

export class Cast {
  origin = ''
  readonly pageErrors: string[] = []
  #server: ChildProcess | undefined
  #site: Site | undefined
  /** One for all pages on loopback; elsewhere each has its own. */
  readonly #browsers: Browser[] = []
  readonly #children = new Set<ChildProcess>()
  readonly #places: CastPlaces | undefined
  #peers = 0

  constructor(places?: CastPlaces) {
    this.#places = places
  }

  /** Starts the signaling server; again on the same port after `stopServer`. */
  async startServer(limits: Partial<ServerLimits> = {}): Promise<void> {
    const host = this.#places?.host ?? LOOPBACK
    const port = this.origin ? Number(new URL(this.origin).port) : await freePort(host)
    const reach = this.#places && { allowedHosts: [`${host}:${port}`], allowedOrigins: ['*'] }
    const options: ServerOptions = { host, port, limits, metrics: true, ...reach }
    this.#server = startNode([], 'server-process.ts', JSON.stringify(options))
    await messageOf(this.#server)
    this.origin = `http://${host}:${port}`
  }

  async stopServer(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const server = this.#server
    if (!server || server.exitCode !== null) return
    server.kill(signal)
    await exitOf(server)
  }

  /** Of a party at this server, or at those. */
  address(party: string, ...origins: readonly string[]): string {
    const hosts = (origins.length > 0 ? origins : [this.origin]).map((origin) => new URL(origin).host)
    return `mesh+http://${hosts.join(',')}/${party}`
  }

  nodePeer(party: string, seed?: string, origin?: string): Promise<E2ePeer> {
    return this.nodePeerAt(this.address(party, ...(origin ? [origin] : [])), seed)
  }

  /** `address`: of a party, at one server or several. */
  async nodePeerAt(address: string, seed: string = randomSeed()): Promise<E2ePeer> {
    const child = startNode(this.#nextLauncher() ?? [], 'node-peer.ts', address, seed)
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
    const kill = async () => {
      child.kill('SIGKILL')
      await exitOf(child)
    }
    return {
      kind: 'node',
      id,
      report: () => call({ call: 'report' }),
      send: (text) => call({ call: 'send', text }),
      transfer: (to, plan) => call({ call: 'transfer', to, plan }),
      transferred: () => call({ call: 'transferred' }),
      sever: () => call({ call: 'sever' }),
      datagrams: (count) => call({ call: 'datagrams', count }),
      close: async () => {
        await call({ call: 'close' })
        return exitOf(child)
      },
      kill,
      crash: kill,
      freeze: async () => void child.kill('SIGSTOP'),
      thaw: async () => void child.kill('SIGCONT'),
    }
  }

  /** A peer in a page; pages of one cast share a browser profile, as tabs do. Without a seed it uses its stored identity. */
  pagePeer(party: string, seed?: string, origin?: string): Promise<E2ePeer> {
    return this.pagePeerAt(this.address(party, ...(origin ? [origin] : [])), seed)
  }

  async pagePeerAt(address: string, seed?: string): Promise<E2ePeer> {
    const site = await this.#openSite()
    const browser = await this.#browserFor(site)
    const context = browser.contexts()[0] ?? (await browser.newContext())
    const page = await context.newPage()
    page.on('pageerror', (error) => this.pageErrors.push(String(error)))
    await page.goto(site)
    await page.waitForFunction(() => 'peer' in globalThis)
    const id = await page.evaluate(([where, key]) => peer.join(where as string, key), [address, seed])
    return pagePeerOn(page, id, await context.newCDPSession(page))
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(this.#browsers.map((browser) => browser.close()))
    await this.stopServer()
    await this.#site?.close()
  }

  async #openSite(): Promise<string> {
    this.#site ??= await openSite(join(HERE, 'page'), this.#places?.host)
    return this.#site.url
  }

  async #browserFor(site: string): Promise<Browser> {
    const [shared] = this.#browsers
    if (shared && !this.#places) return shared
    const launcher = this.#nextLauncher()
    const browser = await launchChromium(launcher && { launcher, secureOrigin: new URL(site).origin })
    this.#browsers.push(browser)
    return browser
  }

  #nextLauncher(): readonly string[] | undefined {
    return this.#places?.launcher(this.#peers++)
  }
}

/** A program of this folder, with a channel for messages. */
function startNode(launcher: readonly string[], file: string, ...args: string[]): ChildProcess {
  const node = [process.execPath, '--conditions=source', join(HERE, file), ...args]
  const [command = '', ...rest] = [...launcher, ...node]
  return spawn(command, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

declare const peer: PagePeer

function pagePeerOn(page: Page, id: string, devtools: CDPSession): E2ePeer {
  return {
    kind: 'page',
    id,
    report: () => page.evaluate(() => peer.report()),
    send: (text) => page.evaluate((value) => peer.send(value), text),
    transfer: (to, plan) => page.evaluate(([id, what]) => peer.transfer(id, what), [to, plan] as const),
    transferred: () => page.evaluate(() => peer.transferred()),
    sever: () => page.evaluate(() => peer.sever()),
    datagrams: (count) => page.evaluate((value) => peer.datagrams(value), count),
    close: async () => {
      await page.evaluate(() => peer.close())
      await page.close()
      return 0
    },
    kill: () => page.close({ runBeforeUnload: false }),
    crash: async () => {
      const crashed = page.waitForEvent('crash')
      // Whoever is to answer is gone.
      devtools.send('Page.crash').catch(() => undefined)
      await crashed
    },
    // The lifecycle state "frozen" of DevTools does nothing to a page without a window, which counts as visible.
    freeze: async () => {
      await devtools.send('Debugger.enable')
      const paused = new Promise((resolve) => devtools.once('Debugger.paused', resolve))
      await devtools.send('Debugger.pause')
      await paused
    },
    thaw: async () => {
      await devtools.send('Debugger.resume')
      await devtools.send('Debugger.disable')
    },
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

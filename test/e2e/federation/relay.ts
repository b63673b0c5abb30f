import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { SlowLine } from './cluster-network.ts'

/** Connections that share a slow line take turns: 4 KiB are a few packets. */
const PIECE_BYTES = 4_096
/** 2 MiB of pieces may be on their way on one connection: more than 8 Mbit/s and 2 s need. */
const MAX_TRAVELLING = 512

/** One direction of a line, shared by all its connections: open or cut, with a rate and a delay. */
class Direction {
  #line: SlowLine | undefined
  #freeAtMs = 0
  #gate = Promise.withResolvers<void>()

  constructor() {
    this.heal()
  }

  slow(line: SlowLine | undefined): void {
    this.#line = line
  }

  cut(): void {
    this.#gate = Promise.withResolvers()
  }

  heal(): void {
    this.#gate.resolve()
  }

  get open(): Promise<void> {
    return this.#gate.promise
  }

  /** Waits until the line takes so many bytes. */
  async turn(bytes: number): Promise<void> {
    await this.open
    if (this.#line === undefined) return
    const nowMs = performance.now()
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes * 8) / this.#line.kbitPerSecond
    await delay(this.#freeAtMs - nowMs)
  }

  /** Resolves when what was sent now comes out at the other end. */
  async travel(): Promise<void> {
    if (this.#line !== undefined) await delay(this.#line.delayMs)
    await this.open
  }
}

/**
 * A line between two servers in user space: TCP connections to its port continue at `target`. While it is cut, bytes, ends
 * and resets stay where they are, and new connections are accepted by the operating system alone: both ends see what they
 * would see if packets were lost.
 */
export class Relay {
  readonly port: number
  readonly #server: Server
  readonly #target: number
  readonly #there = new Direction()
  readonly #back = new Direction()
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, target: number) {
    this.#server = server
    this.#target = target
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => void this.#connect(socket))
  }

  /** A relay on any free port of 127.0.0.1. */
  static async to(target: number): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Relay(server, target)
  }

  cut(): void {
    this.#there.cut()
    this.#back.cut()
  }

  heal(): void {
    this.#there.heal()
    this.#back.heal()
  }

  slow(line: SlowLine | undefined): void {
    this.#there.slow(line)
    this.#back.slow(line)
  }

  async close(): Promise<void> {
    this.heal()
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #connect(near: Socket): Promise<void> {
    this.#keep(near)
    await this.#there.open
    if (near.destroyed) return
    const far = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true, noDelay: true })
    this.#keep(far)
    await Promise.all([pump(near, far, this.#there), pump(far, near, this.#back)])
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}) // its reader sees it too, and passes it on
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

/** Everything from one socket to the other, in order, and then how it ended. */
async function pump(from: Socket, to: Socket, direction: Direction): Promise<void> {
  let tail = Promise.resolve()
  let travelling = 0
  let failed = false
  try {
    for await (const chunk of from.iterator({ destroyOnReturn: false })) {
      const bytes = chunk as Buffer
      for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
        const piece = bytes.subarray(start, start + PIECE_BYTES)
        await direction.turn(piece.length)
        const arrival = direction.travel()
        travelling++
        tail = tail
          .then(() => arrival)
          .then(() => {
            travelling--
            to.write(piece)
          })
        if (travelling >= MAX_TRAVELLING) await tail
      }
      if (to.writableNeedDrain) await Promise.race([once(to, 'drain'), once(to, 'close')])
    }
  } catch {
    failed = true
  }
  await tail
  await direction.travel()
  if (failed) to.resetAndDestroy()
  else to.end()
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

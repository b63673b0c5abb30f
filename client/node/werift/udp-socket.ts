import { createSocket, type Socket } from 'node:dgram'
import { isIPv4 } from 'node:net'
import type { TransportAddress, WeriftTransport } from './werift-internals.ts'

/**
 * A UDP socket in the shape werift's protocols expect, in place of werift's own.
 *
 * werift's socket has no 'error' listener, so one send to an unreachable network ends the process; it binds to every interface,
 * so even a loopback candidate can be reached from outside; and it looks literal addresses up through the DNS code for every
 * packet. This one binds to the address of its candidate, treats errors as loss, bounds what waits in the kernel's way and
 * hands literal addresses straight to the system call.
 */
export class UdpSocket implements WeriftTransport {
  readonly type = 'udp'
  readonly addressFamily: 4 | 6
  onData: (data: Buffer, from: TransportAddress) => void = () => {}
  readonly #socket: Socket
  #closed = false

  private constructor(socket: Socket, family: 4 | 6, log: (message: string, detail?: unknown) => void) {
    this.#socket = socket
    this.addressFamily = family
    socket.on('error', (error) => log('UDP socket error', error))
    socket.on('message', (data, from) => {
      if (data.length === 0 || data.length > MAX_DATAGRAM_BYTES) return
      try {
        this.onData(data, [from.address.split('%', 1)[0]!, from.port])
      } catch (error) {
        // One packet must never end the process, whatever it makes the layers above do.
        log('A datagram was dropped because handling it failed', error)
      }
    })
  }

  /** Opens a socket on one local address and a free port. Rejects when the address is not available. */
  static async open(address: string, log: (message: string, detail?: unknown) => void): Promise<UdpSocket> {
    const family = isIPv4(address) ? 4 : 6
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      lookup: (host, _options, done) => done(null, host, family),
      recvBufferSize: KERNEL_BUFFER_BYTES,
      sendBufferSize: KERNEL_BUFFER_BYTES,
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close()
        reject(error)
      })
      socket.bind({ address, port: 0 }, () => {
        socket.removeAllListeners('error')
        resolve()
      })
    })
    return new UdpSocket(socket, family, log)
  }

  get closed(): boolean {
    return this.#closed
  }

  get address(): { address: string; port: number } {
    return this.#socket.address()
  }

  get port(): number {
    return this.#socket.address().port
  }

  /** Sends one datagram to a literal address, or drops it: UDP promises nothing. */
  sendTo(data: Buffer, port: number, host: string): void {
    if (this.#closed || this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES) return
    this.#socket.send(data, port, host)
  }

  send(data: Buffer, to?: TransportAddress): Promise<void> {
    if (to !== undefined) this.sendTo(data, to[1], to[0])
    return Promise.resolve()
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#socket.close()
    }
    return Promise.resolve()
  }
}

/** Peers send SCTP packets of 1,200 bytes and DTLS flights of up to one Ethernet frame; twice that is never legitimate. */
const MAX_DATAGRAM_BYTES = 4096

/** 512 KiB: 50 ms at 10 MB/s, so that a turn of the event loop spent elsewhere does not lose packets. */
const KERNEL_BUFFER_BYTES = 524_288

/** 1 MiB waiting in Node: two kernel buffers. More would be delay, not throughput. */
const MAX_QUEUED_BYTES = 1_048_576

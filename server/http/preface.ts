import type { Socket } from 'node:net'

/** What an HTTP/2 client sends first (RFC 9113, section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** Which protocol the first bytes of a connection speak; undefined while they may still be either. */
export function protocolOf(start: Uint8Array): 'h1' | 'h2' | undefined {
  const length = Math.min(start.byteLength, PREFACE.byteLength)
  if (PREFACE.compare(start, 0, length, 0, length) !== 0) return 'h1'
  return length === PREFACE.byteLength ? 'h2' : undefined
}

/**
 * Reads from a fresh connection until it is clear which protocol it speaks, puts the bytes back and says so. The bytes
 * are kept aside meanwhile: putting a partial preface back and waiting for more would spin, as the stream is readable again
 * at once. A connection that stays undecided is closed by the guard's timer.
 */
export function sniffProtocol(socket: Socket, decided: (protocol: 'h1' | 'h2') => void): void {
  let start: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer): void => {
    start = start.byteLength === 0 ? chunk : Buffer.concat([start, chunk])
    const protocol = protocolOf(start)
    if (protocol === undefined) return
    socket.off('data', onData)
    socket.pause()
    socket.unshift(start)
    decided(protocol)
  }
  socket.on('data', onData)
}

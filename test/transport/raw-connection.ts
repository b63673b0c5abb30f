import { connect, type Socket } from 'node:net'

/** A TCP connection that says exactly what a test wants it to say. */
export class RawConnection {
  readonly socket: Socket
  #received = ''
  #closed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.#received += text
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
    })
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new RawConnection(socket)))
    })
  }

  get received(): string {
    return this.#received
  }

  get closed(): boolean {
    return this.#closed
  }

  write(text: string): void {
    this.socket.write(text, 'latin1')
  }

  close(): void {
    this.socket.destroy()
  }
}

/** One HTTP/1.1 request as text, with a Host that the server answers for unless `headers` says otherwise. */
export function requestText(port: number, head: string, headers: Record<string, string> = {}, body = ''): string {
  const lines = Object.entries({ Host: `127.0.0.1:${port}`, ...headers }).map(([name, value]) => `${name}: ${value}`)
  return `${head} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}

interface Closable {
  readonly connectionState: string
  close(): void
}

/** WebRTC connections that a test closes under the SDK. */
export class OpenConnections {
  readonly #all = new Set<Closable>()

  add<T extends Closable>(connection: T): T {
    this.#all.add(connection)
    return connection
  }

  /** Closes every one that there is; gives how many. */
  sever(): number {
    const open = [...this.#all].filter(({ connectionState }) => connectionState !== 'closed')
    this.#all.clear()
    for (const connection of open) connection.close()
    return open.length
  }
}

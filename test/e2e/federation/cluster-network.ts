/** How fast a slow line is, in each direction. */
export interface SlowLine {
  readonly kbitPerSecond: number
  /** One way. A network that cannot delay ignores it and says so in `notes`. */
  readonly delayMs: number
}

/** Where one server listens, and under which names others may call it. */
export interface ServerPlace {
  readonly host: string
  readonly port: number
  /** What clients dial. */
  readonly origin: string
  /** host:port for `--allowed-host`. */
  readonly allowedHosts: readonly string[]
}

/**
 * What lies between the servers of a cluster, and what can happen to it. Clients reach every server on a way of their
 * own, which nothing here touches: what they notice of a fault came through the servers.
 */
export interface ClusterNetwork {
  /** For test titles: "on loopback". */
  readonly name: string
  /** What this network could not do, for the report. */
  readonly notes: readonly string[]
  place(server: number): ServerPlace
  /** Where `from` dials `to`: host:port. */
  route(from: number, to: number): string
  /** Command that starts a program in the server's place; the program follows. */
  launcher(server: number): readonly string[]
  /** Nothing passes between two servers any more, in either direction, and nobody is told: no FIN, no RST. */
  cut(one: number, other: number): Promise<void>
  heal(one: number, other: number): Promise<void>
  /** Makes the line of one server to all others slow; without `line`, as fast as it was. */
  slow(server: number, line?: SlowLine): Promise<void>
  /** Idempotent. Servers have to be gone before. */
  close(): Promise<void>
}

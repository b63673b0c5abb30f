import { ErrorReason, generateSigningKey, MeshError, type SigningKey } from '@mesh/core'
import { resolveOptions, type ServerOptions } from './options.ts'
import { noStats, RunningServer, type ServerAddress, type ServerStats } from './running-server.ts'

export interface CloseOptions {
  /** How long streams may finish, in ms. Default: `ServerOptions.drainMs`. 0 ends them at once. */
  readonly drainMs?: number
  /** Aborting cuts the drain short: everything is closed at once. `close` still resolves. */
  readonly signal?: AbortSignal
}

/** A signaling server. It may be started and stopped any number of times; sessions do not survive a stop. */
export interface MeshServer {
  /**
   * Starts to listen; resolves once the server takes calls. While it listens, or starts to, the same promise again.
   * Rejects with MeshError CONFIGURATION, or the system's error (EADDRINUSE, EACCES).
   */
  listen(): Promise<ServerAddress>
  /** Drains and stops. Idempotent; resolves when nothing keeps the process alive any more. */
  close(options?: CloseOptions): Promise<void>
  /** Ed25519 public key that clients may pin, 32 bytes. Stays the same over restarts of this object. */
  readonly publicKey: Promise<Uint8Array>
  /** What the server holds now; zeros while it does not run. */
  readonly stats: () => ServerStats
  /** `close()` with its defaults. */
  [Symbol.asyncDispose](): Promise<void>
}

type State =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'running'; readonly running: Promise<RunningServer>; readonly address: Promise<ServerAddress> }
  | { readonly kind: 'stopping'; readonly stopped: Promise<void> }

/**
 * Creates a server. Nothing starts before `listen()`.
 * @throws MeshError CONFIGURATION for options that cannot work.
 */
export function createServer(options: ServerOptions = {}): MeshServer {
  const resolved = resolveOptions(options)
  let state: State = { kind: 'stopped' }
  let current: RunningServer | undefined
  let key: Promise<SigningKey> | undefined
  const identity = (): Promise<SigningKey> => {
    key ??= resolved.key === undefined ? generateSigningKey() : Promise.resolve(resolved.key)
    return key
  }

  const start = (): Promise<ServerAddress> => {
    const running = identity().then((signingKey) => new RunningServer(resolved, signingKey))
    const address = running.then(async (server) => {
      const listening = await server.start()
      current = server
      return listening
    })
    const started: State = { kind: 'running', running, address }
    state = started
    address.catch(() => {
      if (state === started) state = { kind: 'stopped' }
    })
    return address
  }

  const stop = async (
    { running, address }: Extract<State, { kind: 'running' }>,
    { drainMs = resolved.drainMs, signal }: CloseOptions,
  ): Promise<void> => {
    try {
      await address
    } catch {
      // It never started, and listen() has told its caller why.
      return
    }
    await (await running).stop(drainMs, signal)
  }

  const server: MeshServer = {
    async listen() {
      if (state.kind === 'running') return state.address
      if (state.kind === 'stopping') {
        throw new MeshError(ErrorReason.CONFIGURATION, 'the server is closing; await close() before listen()')
      }
      return start()
    },
    close(closeOptions = {}) {
      if (state.kind === 'stopped') return Promise.resolve()
      if (state.kind === 'stopping') return state.stopped
      const stopped = stop(state, closeOptions).finally(() => {
        current = undefined
        state = { kind: 'stopped' }
      })
      state = { kind: 'stopping', stopped }
      return stopped
    },
    get publicKey() {
      return identity().then((signingKey) => signingKey.publicKey)
    },
    stats: () => current?.stats ?? noStats(),
    [Symbol.asyncDispose]: () => server.close(),
  }
  return server
}

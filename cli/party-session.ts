import { createClient, type MeshClient, type Swarm } from '@mesh/client'
import { ErrorReason, MeshError, systemClock } from '@mesh/core'
import type { ArgumentSpec, Input, OptionTable } from './args.ts'
import type { CommandContext } from './command.ts'
import { DEFAULT_SERVER, type PartyAddress, parsePartyAddress } from './party-address.ts'
import { printable } from './terminal/style.ts'

const GROUP = 'Connection'
/** Long enough for a server that is just starting, short enough to wait for. */
const DEFAULT_TIMEOUT_MS = 5_000
const MAX_TIMEOUT_MS = 3_600_000
const WATCH_MS = 100

/** Options of every command that joins a party. */
export const PARTY_OPTIONS: OptionTable = {
  server: {
    value: 'address',
    group: GROUP,
    meaning: 'server for a party given by name, or several: mesh://a.example,b.example',
    fallback: `$MESH_SERVER, or ${DEFAULT_SERVER}`,
  },
  'server-key': { value: 'hex', group: GROUP, meaning: 'refuse any server but the one with this public key' },
  identity: {
    value: 'name',
    group: GROUP,
    meaning: 'the stored identity to use, created on first use; "ephemeral" for a key that is never stored',
    fallback: 'default',
  },
  'relay-only': { group: GROUP, meaning: 'no direct connections: everything goes through the server, sealed' },
  timeout: {
    value: 'time',
    group: GROUP,
    meaning: 'give up when the server cannot be reached for this long',
    fallback: '5s',
  },
}

export const PARTY_ARGUMENT: ArgumentSpec = {
  name: 'party',
  meaning:
    'a name everybody uses ("our-party"), a whole address (mesh://host/our-party), key/<64 hex> or topic/<64 hex>',
}

/** A party that was joined, and the client that did. */
export interface PartySession {
  readonly swarm: Swarm
  readonly address: PartyAddress
  /** Leaves: the others see it at once. Idempotent. */
  close(): Promise<void>
}

export interface JoinPartyOptions {
  /** Identity when --identity is not given. Default "default". */
  readonly identity?: string
  /** What this peer says about itself; see Swarm.setState. */
  readonly state?: Uint8Array
}

/**
 * Joins the party of the first argument with the options of `PARTY_OPTIONS`. Says once on the way that the server does not
 * answer, and rejects with its last error when it still does not after --timeout; with ABORTED at an interrupt.
 */
export async function joinParty(context: CommandContext, options: JoinPartyOptions = {}): Promise<PartySession> {
  const { input, env, interrupts } = context
  const address = parsePartyAddress(input.argument(0), {
    server: input.text('server'),
    environmentServer: env.MESH_SERVER,
  })
  const timeoutMs = input.durationMs('timeout', { max: MAX_TIMEOUT_MS }) ?? DEFAULT_TIMEOUT_MS
  const client = await openClient(input, address, options.identity ?? 'default')
  const patience = watchServer(client, context, address, timeoutMs)
  try {
    const signal = AbortSignal.any([interrupts.signal, patience.signal])
    const swarm = await client.join(address.party, { signal, ...(options.state && { state: options.state }) })
    return { swarm, address, close: () => client.close() }
  } catch (error) {
    await client.close()
    throw error
  } finally {
    patience.stop()
  }
}

function openClient(input: Input, address: PartyAddress, identity: string): Promise<MeshClient> {
  const serverKey = input.key('server-key')
  return createClient({
    servers: address.origins,
    identity: input.text('identity') ?? identity,
    ...(serverKey && { serverKey }),
    ...(input.flag('relay-only') && { rtc: null }),
  })
}

/** The SDK never gives up on a server; a person at a terminal does. */
function watchServer(
  client: MeshClient,
  { output }: CommandContext,
  address: PartyAddress,
  timeoutMs: number,
): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController()
  const deadlineMs = systemClock.monotonicMs() + timeoutMs
  let lastError: MeshError | undefined
  const look = (): void => {
    const state = client.signalState
    if (state.kind === 'waiting') {
      if (lastError === undefined) {
        const message = `${printable(state.error.message)}; trying for ${Math.round(timeoutMs / 1_000)} s`
        output.remark('waiting', { reason: state.error.reasonName, message: state.error.message }, message)
      }
      lastError = state.error
    }
    if (systemClock.monotonicMs() < deadlineMs) timer = systemClock.schedule(WATCH_MS, look, { keepAlive: true })
    else controller.abort(lastError ?? unanswered(address, timeoutMs))
  }
  let timer = systemClock.schedule(WATCH_MS, look, { keepAlive: true })
  return { signal: controller.signal, stop: () => timer.cancel() }
}

function unanswered({ origin }: PartyAddress, timeoutMs: number): MeshError {
  return new MeshError(ErrorReason.UNREACHABLE, `${origin} did not answer within ${timeoutMs} ms`)
}

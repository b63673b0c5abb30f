import type { RtcConnection, RtcDataChannel } from '../../connection/rtc.ts'
import { type WeriftOptions, weriftFactory } from './factory.ts'
import { connectStockPeer, createStockPeer, type StockPeer } from './stock-peer.fixture.ts'

/**
 * Pairs of connections on loopback for the tests of this folder.
 *
 * MESH_WERIFT_TARGET=stock puts werift as it is in the place of the hardened one, in every test that attacks a target: that is
 * how to see that an attack is one.
 */
export const targetIsStock = process.env.MESH_WERIFT_TARGET === 'stock'

/** What both kinds of connection have in common, as far as these tests use it. */
export interface PairSide extends Pick<RtcConnection, 'connectionState' | 'createOffer' | 'createAnswer' | 'close'> {
  createDataChannel(label: string, options: { negotiated: true; id: number; ordered: boolean }): RtcDataChannel
  setLocalDescription(description: { type: 'offer' | 'answer'; sdp: string }): Promise<unknown>
  setRemoteDescription(description: { type: 'offer' | 'answer'; sdp: string }): Promise<void>
  addIceCandidate(candidate: { candidate: string; sdpMid?: string | null }): Promise<void>
  addEventListener: RtcConnection['addEventListener']
}

export interface Pair<Left, Right> {
  readonly left: Left
  readonly right: Right
  readonly leftChannel: RtcDataChannel
  readonly rightChannel: RtcDataChannel
}

export async function createHardened(options: WeriftOptions = {}): Promise<RtcConnection> {
  return weriftFactory({ hostAddresses: ['127.0.0.1'], ...options }).create({ iceServers: [] })
}

/** The side under attack. */
export async function createTarget(): Promise<PairSide> {
  return targetIsStock ? (await createStockPeer()).connection : createHardened()
}

const CHANNEL = { negotiated: true, id: 0, ordered: true } as const

/** Opens a channel on both sides and exchanges descriptions and candidates; `left` offers. Does not wait for anything to open. */
export async function negotiate<Left extends PairSide, Right extends PairSide>(
  left: Left,
  right: Right,
): Promise<Pair<Left, Right>> {
  const pair = {
    left,
    right,
    leftChannel: left.createDataChannel('mesh', CHANNEL),
    rightChannel: right.createDataChannel('mesh', CHANNEL),
  }
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    connectStockPeer(from)
    from.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate) to.addIceCandidate(candidate).catch(() => {})
    })
  }
  const offer = (await left.createOffer()) as { type: 'offer'; sdp: string }
  await left.setLocalDescription(offer)
  await right.setRemoteDescription(offer)
  const answer = (await right.createAnswer()) as { type: 'answer'; sdp: string }
  await right.setLocalDescription(answer)
  await left.setRemoteDescription(answer)
  return pair
}

/** Negotiates and waits until both channels are open. */
export async function connect<Left extends PairSide, Right extends PairSide>(
  left: Left,
  right: Right,
): Promise<Pair<Left, Right>> {
  const pair = await negotiate(left, right)
  await Promise.all([opened(pair.leftChannel), opened(pair.rightChannel)])
  return pair
}

/** The target, connected to an attacker that is stock werift with its insides in reach. */
export async function connectAttacker(): Promise<Pair<PairSide, PairSide> & { attacker: StockPeer }> {
  const attacker = await createStockPeer()
  const pair = await connect(await createTarget(), attacker.connection)
  // werift's record numbers start over after the handshake. The record that gets the number of Finished again is a replay to
  // any correct receiver; these tests are about other things.
  Object.assign(attacker.transport().dtls!.dtls, { recordSequenceNumber: 100 })
  return { ...pair, attacker }
}

export async function opened(channel: RtcDataChannel): Promise<void> {
  if (channel.readyState === 'open') return
  await new Promise<void>((resolve) => channel.addEventListener('open', resolve))
}

/** The next message as bytes, whichever implementation delivers it. */
export function nextMessage(channel: RtcDataChannel): Promise<Uint8Array> {
  return new Promise((resolve) => {
    channel.addEventListener('message', ({ data }) =>
      resolve(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data as Uint8Array)),
    )
  })
}

/** Sends a message each way and fails after `withinMs`. */
export async function expectAlive(pair: Pair<PairSide, PairSide>, withinMs = 3000): Promise<void> {
  const stamp = new TextEncoder().encode(`alive ${Math.random()}`)
  const arrivals = [nextWith(pair.leftChannel, stamp), nextWith(pair.rightChannel, stamp)]
  // Buffers, because werift's own channel takes nothing else.
  pair.leftChannel.send(Buffer.from(stamp))
  pair.rightChannel.send(Buffer.from(stamp))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The connection does not carry messages any more')), withinMs)
  })
  await Promise.race([Promise.all(arrivals), late]).finally(() => clearTimeout(timer))
}

function nextWith(channel: RtcDataChannel, expected: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const listener = ({ data }: { data: unknown }) => {
      const bytes = data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.from(data as Uint8Array)
      if (!bytes.equals(expected)) return
      const removable = channel as { removeEventListener?(type: 'message', listener: unknown): void }
      removable.removeEventListener?.('message', listener)
      resolve()
    }
    channel.addEventListener('message', listener)
  })
}

/** Waits until a connection is in one of the states. */
export function inState(connection: PairSide, ...states: string[]): Promise<string> {
  return new Promise((resolve) => {
    const check = () => {
      if (states.includes(connection.connectionState)) resolve(connection.connectionState)
    }
    connection.addEventListener('connectionstatechange', check)
    check()
  })
}

/** Host and port a connection listens on, from its candidates. */
export function candidateAddress(line: string): { host: string; port: number } {
  const fields = line.split(' ')
  return { host: fields[4]!, port: Number(fields[5]) }
}

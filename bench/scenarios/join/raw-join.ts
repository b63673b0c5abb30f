import { connectRaw, type RawRtc, type RawSignaling } from '../../systems/rtc/raw-rtc.ts'

const GREETING = Uint8Array.of(104, 105)

/** The side that was there before: answers one offer and greets as soon as the channel is open. */
export async function greetRaw(rtc: RawRtc, signaling: RawSignaling): Promise<() => void> {
  const peer = await connectRaw({ rtc, signaling, side: 'answer' })
  peer.channel.send(GREETING)
  return peer.close
}

/** The side that comes: milliseconds from its first act to the greeting. Closes its connection. */
export async function timeRawJoin(rtc: RawRtc, signaling: RawSignaling): Promise<number> {
  const startedMs = performance.now()
  let greet: () => void = () => {}
  const greeting = new Promise<void>((resolve) => {
    greet = resolve
  })
  const peer = await connectRaw({ rtc, signaling, side: 'offer', message: () => greet() })
  await greeting
  const elapsedMs = performance.now() - startedMs
  peer.close()
  return elapsedMs
}

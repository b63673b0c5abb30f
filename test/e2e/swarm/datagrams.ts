import type { Swarm } from '@mesh/client'

/** Sends back whatever comes as a datagram. */
export function echoDatagrams(swarm: Swarm): void {
  swarm.on('channel', (channel) => {
    if (channel.kind !== 'datagrams') return
    const back = new WritableStream<Uint8Array>({ write: (bytes) => void channel.sendDatagram(bytes) })
    channel.readable.pipeTo(back).catch(() => undefined)
  })
}

/** Sends numbered datagrams of the largest size to the first peer, one every 5 ms, and returns how many came back, each counted once. */
export async function exchangeDatagrams(swarm: Swarm, count: number): Promise<number> {
  const [peer] = swarm.peers.values()
  if (peer === undefined) throw new Error('there is no peer')
  const channel = await peer.open('numbers', { kind: 'datagrams' })
  const back = new Set<number>()
  const taken = new WritableStream<Uint8Array>({
    write: (bytes) => {
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
      if (bytes.length === 1_024 && bytes.subarray(4).every((byte) => byte === 7)) back.add(number)
    },
  })
  channel.readable.pipeTo(taken).catch(() => undefined)
  const bytes = new Uint8Array(1_024).fill(7)
  for (let number = 0; number < count; number++) {
    new DataView(bytes.buffer).setUint32(0, number)
    channel.sendDatagram(bytes)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await new Promise((resolve) => setTimeout(resolve, 500))
  channel.abort()
  return back.size
}

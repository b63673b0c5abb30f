import { bytesOfKey } from '../../../server/byte-key.ts'
import type { OthersRow } from './faults/forgery.ts'
import { type FrameTap, tampering, type Writing } from './faults/tampering.ts'
import { describeFrame } from './trace.ts'
import type { World } from './world.ts'

/** Sees every frame that a server of the world writes: tells the trace and the invariants, counts, and tampers with it. */
export function tapOf(world: World): FrameTap {
  const tamper = tamperingOf(world)
  return (writing) => {
    const { from, to, frames } = writing
    if (world.log.wanted) world.trace(`${from} → ${to}  ${frames.map(describeFrame).join(' · ')}`)
    count(world, writing)
    world.invariants.messages.onFrames(writing)
    const travelling = world.strangers.frames(world.heldRows.frames(writing, tamper(writing)))
    if (world.log.wanted && travelling.some((frame, i) => frame !== frames[i])) {
      world.trace(`${from} → ${to}  changed on the way: ${travelling.map(describeFrame).join(' · ')}`)
    }
    return travelling
  }
}

function count(world: World, { from, frames }: Writing): void {
  for (const { frame } of frames) {
    if (frame.case === 'originState' && frame.value.origin[0] !== from) world.count('passedStates')
    else if (frame.case === 'rows' && frame.value.snapshot?.page === 0) world.count('snapshots')
    else if (frame.case === 'envelopes') {
      for (const { destination } of frame.value.envelopes) if (destination.length > 0) world.count('passedOn')
    }
  }
}

function tamperingOf(world: World): FrameTap {
  const { tamperRate, lostRowRate, lie } = world.settings
  return tampering({
    random: world.newRandom(),
    frames: () => (world.faultsOver ? 0 : tamperRate),
    rows: () => (world.faultsOver ? 0 : lostRowRate),
    lie: () => (world.faultsOver ? undefined : lie),
    rowOfAnother: (from, to) => rowOfAnother(world, from, to),
    onRowsLost: (from, to) => {
      world.trace(`a row of server ${from} is lost on the way to server ${to}`)
      world.count('lostRows')
      world.invariants.onRowsLost(from, to)
    },
    onLie: (from, to) => {
      world.trace(`server ${from} lies to server ${to}`)
      world.count('lies')
    },
  })
}

/** What `from` can tell `to` of a third server. */
function rowOfAnother(world: World, from: number, to: number): OthersRow | undefined {
  for (const { index, key, process, history } of world.servers) {
    const [row] = history.table.values()
    const [own] = process?.state === 'running' ? process.backplane.origins() : []
    if (index === from || index === to || row === undefined || own === undefined) continue
    const { epoch, head } = own
    return { origin: key.publicKey, epoch, head, topic: bytesOfKey(row.topicKey), peerKey: bytesOfKey(row.peer) }
  }
  return undefined
}

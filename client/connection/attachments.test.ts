import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, toHex, type VerifiedRecord } from '@mesh/core'
import { AttachSchema, DetachSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ControlFrame, Link, LinkChannel } from '../link/index.ts'
import { fakeRecord } from '../testing/record.fixture.ts'
import { Attachments } from './attachments.ts'
import type { HandshakeSelf } from './handshake.ts'
import type { RelayUse, TopicHandle } from './topic-handle.ts'

const OWN = fakeRecord({ peer: 2 })
const THEIRS = fakeRecord({ peer: 1 })
const EVIDENCE = Uint8Array.of(1)

let attachments: Attachments
let frames: ControlFrame[]
/** "attached 01", "detached 01 REASON", "channel 01", "empty REASON", "close REASON", in order. */
let log: string[]
let handles: Map<string, TopicHandle>

beforeEach(() => {
  frames = []
  log = []
  handles = new Map()
  const link = {
    sendControl: async (frame: ControlFrame) => void frames.push(frame),
    close: (error: MeshError) => log.push(`close ${error.reasonName}`),
    confine: (topic: Uint8Array) => log.push(`confined ${toHex(topic).slice(0, 2)}`),
  }
  attachments = new Attachments({
    link: link as unknown as Link,
    ownKey: OWN.record.peerKey,
    peerKey: THEIRS.record.peerKey,
    transcriptHash: new Uint8Array(32),
    handle: (name) => handles.get(name),
    attached: ({ name }, _record, directOnly) =>
      log.push(`attached ${name.slice(0, 2)}${directOnly ? ' direct only' : ''}`),
    detached: ({ name }, error) => log.push(`detached ${name.slice(0, 2)} ${error.reasonName}`),
    channel: ({ name }) => log.push(`channel ${name.slice(0, 2)}`),
    empty: (error) => log.push(`empty ${error.reasonName}`),
  })
})

interface Behaviour {
  verify?: () => Promise<VerifiedRecord>
  accepts?: boolean
  present?: () => Promise<Uint8Array>
  admits?: () => Promise<boolean>
  joined?: boolean
  relay?: RelayUse
  allowsDirect?: () => boolean
}

function swarm(number: number, behaviour: Behaviour = {}): TopicHandle {
  const topic = new Uint8Array(32).fill(number)
  const handle = {
    name: toHex(topic),
    topic,
    admission: {
      present: behaviour.present ?? (async () => EVIDENCE),
      verify: behaviour.admits ?? (async (_context: unknown, evidence: Uint8Array) => evidence[0] === 1),
    },
    self: () => (behaviour.joined === false ? undefined : ({ record: OWN.signed } as HandshakeSelf)),
    verify: behaviour.verify ?? (async () => THEIRS),
    relay: behaviour.relay ?? 'fallback',
    allowsDirect: () => behaviour.allowsDirect?.() ?? true,
    accepts: () => behaviour.accepts ?? true,
  } as unknown as TopicHandle
  handles.set(handle.name, handle)
  return handle
}

function theirAttach({ topic }: { topic: Uint8Array }, evidence: Uint8Array = EVIDENCE, directOnly = false): void {
  const value = create(AttachSchema, { topic, evidence, record: THEIRS.signed, directOnly })
  attachments.control({ case: 'attach', value })
}

function theirDetach({ topic }: { topic: Uint8Array }, error?: MeshError): void {
  const value = create(DetachSchema, { topic, ...(error && { error: error.toDetail() }) })
  attachments.control({ case: 'detach', value })
}

function channel({ topic }: { topic: Uint8Array }): LinkChannel {
  return { topic, reset: (error: MeshError) => log.push(`reset ${error.reasonName}`) } as unknown as LinkChannel
}

async function rest(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

/** "attach 01", "detach 01 REASON" for everything sent. */
function sent(): string[] {
  return frames.map((frame) => {
    if (frame.case === 'rtc') return 'rtc'
    const name = `${frame.case} ${toHex(frame.value.topic).slice(0, 2)}`
    const error = frame.case === 'detach' ? frame.value.error : undefined
    return error ? `${name} ${MeshError.fromDetail(error).reasonName}` : name
  })
}

describe('attachments', () => {
  it('attach a topic when this side has sent its evidence and accepted the other’s', async () => {
    const handle = swarm(1)
    attachments.attach(handle)
    attachments.attach(handle)
    await rest()
    expect(sent()).toEqual(['attach 01'])
    expect(attachments.isAttached(handle.name)).toBe(false)
    theirAttach(handle)
    await rest()
    expect(attachments.isAttached(handle.name)).toBe(true)
    expect(log).toEqual(['attached 01'])
    expect(sent()).toEqual(['attach 01'])
  })

  it('answer the other side’s attach with their own', async () => {
    const handle = swarm(1)
    theirAttach(handle)
    await rest()
    expect(sent()).toEqual(['attach 01'])
    expect(log).toEqual(['attached 01'])
  })

  it.each<[string, Behaviour, string, Uint8Array?]>([
    ['the evidence does not admit', {}, 'ADMISSION_REFUSED', Uint8Array.of(2)],
    ['the evidence is larger than 8 KiB', { admits: async () => true }, 'ADMISSION_REFUSED', new Uint8Array(8_193)],
    ['checking the evidence fails', { admits: () => Promise.reject(new Error('no')) }, 'ADMISSION_REFUSED'],
    ['the record is somebody else’s', { verify: async () => fakeRecord({ peer: 7 }) }, 'RECORD_PEER'],
    [
      'the record does not verify',
      { verify: () => Promise.reject(new MeshError(ErrorReason.RECORD_EXPIRED, 'old')) },
      'RECORD_EXPIRED',
    ],
    ['there is no room', { accepts: false }, 'LINK_REFUSED'],
  ])('refuse when %s, and end a link with nothing else on it', async (_what, behaviour, reason, evidence) => {
    const handle = swarm(1, behaviour)
    attachments.attach(handle)
    theirAttach(handle, evidence)
    await rest()
    expect(sent()).toEqual(['attach 01', `detach 01 ${reason}`])
    expect(log).toEqual([`detached 01 ${reason}`, `empty ${reason}`])
    expect(attachments.isAttached(handle.name)).toBe(false)
  })

  it('refuse a swarm this side is not in', async () => {
    theirAttach({ topic: new Uint8Array(32).fill(5) })
    await rest()
    expect(sent()).toEqual(['detach 05 NOT_MEMBER'])
    expect(log).toEqual(['empty NOT_MEMBER'])
  })

  it('do not offer again on the same link what was refused, unless the other side begins', async () => {
    const [first, second] = [swarm(1), swarm(2)]
    attachments.attach(first)
    attachments.attach(second)
    theirAttach(second)
    theirDetach(first, new MeshError(ErrorReason.ADMISSION_REFUSED, 'no'))
    await rest()
    expect(log).toEqual(['attached 02', 'detached 01 ADMISSION_REFUSED'])
    attachments.attach(first)
    await rest()
    expect(sent()).toEqual(['attach 01', 'attach 02'])
    theirAttach(first)
    await rest()
    expect(sent()).toEqual(['attach 01', 'attach 02', 'attach 01'])
    expect(attachments.isAttached(first.name)).toBe(true)
  })

  it('say that the other side left its swarm, and keep the others on the link', async () => {
    const [first, second] = [swarm(1), swarm(2)]
    theirAttach(first)
    theirAttach(second)
    theirDetach(first)
    await rest()
    expect(log).toEqual(['attached 01', 'attached 02', 'detached 01 PEER_LEFT'])
    theirDetach(second)
    await rest()
    expect(log.slice(3)).toEqual(['detached 02 PEER_LEFT', 'empty LINK_CLOSED'])
  })

  it('tell the other side that this one left, by the frame and by the end of the link', async () => {
    const handle = swarm(1)
    theirAttach(handle)
    await rest()
    attachments.detach(handle.name)
    attachments.detach(handle.name)
    expect(sent()).toEqual(['attach 01', 'detach 01'])
    expect(log).toEqual(['attached 01', 'detached 01 LINK_CLOSED', 'empty PEER_LEFT'])
  })

  it('give a reason of this side to both', async () => {
    const handle = swarm(1)
    theirAttach(handle)
    await rest()
    attachments.detach(handle.name, new MeshError(ErrorReason.LINK_REFUSED, 'no'))
    expect(sent().at(-1)).toBe('detach 01 LINK_REFUSED')
    expect(log.slice(1)).toEqual(['detached 01 LINK_REFUSED', 'empty LINK_REFUSED'])
  })

  it('take the topic off when this side cannot present evidence', async () => {
    const handle = swarm(1, { present: () => Promise.reject(new Error('no credential')) })
    attachments.attach(handle)
    await rest()
    expect(sent()).toEqual([])
    expect(log).toEqual(['detached 01 INTERNAL', 'empty INTERNAL'])
  })

  it('send nothing for a topic that was taken off while its evidence was made', async () => {
    const gate = Promise.withResolvers<Uint8Array>()
    const handle = swarm(1, { present: () => gate.promise })
    attachments.attach(handle)
    await rest()
    attachments.detach(handle.name)
    gate.resolve(EVIDENCE)
    await rest()
    expect(sent()).toEqual([])
  })

  it('tell the other side of a newer record, of topics that are attached', async () => {
    const [attached, pending] = [swarm(1), swarm(2)]
    attachments.attach(attached)
    attachments.attach(pending)
    theirAttach(attached)
    await rest()
    frames.length = log.length = 0
    for (const handle of [attached, pending, swarm(3)]) attachments.refresh(handle)
    theirAttach(attached)
    await rest()
    expect([sent(), log]).toEqual([['attach 01'], ['attached 01']])
    expect(attachments.isAttached(attached.name)).toBe(true)
  })

  it.each([
    ['this side', 'never', false],
    ['the other side', 'fallback', true],
    ['both', 'never', true],
  ] as const)(
    'confine a topic to the direct path before it is used when %s wants that',
    async (_who, relay, theirs) => {
      attachments.attach(swarm(1, { relay }))
      theirAttach(swarm(1, { relay }), EVIDENCE, theirs)
      await rest()
      expect(frames[0]).toMatchObject({ case: 'attach', value: { directOnly: relay === 'never' } })
      expect(log).toEqual(['confined 01', 'attached 01 direct only'])
    },
  )

  it('refuse a topic that leaves the two no path', async () => {
    theirAttach(swarm(1, { relay: 'only' }), EVIDENCE, true)
    await rest()
    expect([sent(), log]).toEqual([['detach 01 CONFIGURATION'], ['empty CONFIGURATION']])
  })

  it('allow a direct path while a topic is attached that does', async () => {
    const relayed = swarm(1, { relay: 'only' })
    const open = swarm(2)
    const allowed: boolean[] = []
    for (const handle of [relayed, open]) {
      theirAttach(handle)
      await rest()
      allowed.push(attachments.allowDirect)
    }
    attachments.detach(open.name)
    let allowsDirect = false
    theirAttach(swarm(3, { allowsDirect: () => allowsDirect }))
    await rest()
    allowed.push(attachments.allowDirect)
    allowsDirect = true
    expect([...allowed, attachments.allowDirect]).toEqual([false, true, false, true])
  })

  it('keep frames and channels in order while evidence is checked', async () => {
    const gate = Promise.withResolvers<boolean>()
    const [slow, fast] = [swarm(1, { admits: () => gate.promise }), swarm(2)]
    theirAttach(slow)
    attachments.channel(channel(slow))
    theirAttach(fast)
    attachments.channel(channel(fast))
    theirDetach(slow)
    attachments.channel(channel(slow))
    attachments.after(() => log.push('rtc'))
    await rest()
    expect(log).toEqual([])
    gate.resolve(true)
    await rest()
    expect(log).toEqual([
      'attached 01',
      'channel 01',
      'attached 02',
      'channel 02',
      'detached 01 PEER_LEFT',
      'reset NOT_MEMBER',
      'rtc',
    ])
  })

  it('refuse the 129th topic, and still check those that are there', async () => {
    for (let number = 1; number <= 128; number++) theirAttach(swarm(number))
    await rest()
    theirAttach(swarm(129))
    theirAttach({ topic: new Uint8Array(32).fill(1) })
    await rest()
    expect(sent().filter((entry) => entry.startsWith('detach'))).toEqual(['detach 81 LIMIT_EXCEEDED'])
    expect(log.filter((entry) => entry === 'attached 01')).toHaveLength(2)
  })

  it('end the link when more frames wait than 512', async () => {
    const handle = swarm(1, { admits: () => new Promise(() => {}) })
    for (let i = 0; i < 513; i++) theirAttach(handle)
    expect(log).toEqual(['close LIMIT_EXCEEDED'])
  })

  it('attach nothing after the link closed, whatever was still being checked', async () => {
    const gate = Promise.withResolvers<boolean>()
    const [checked, good] = [swarm(1, { admits: () => gate.promise }), swarm(2)]
    theirAttach(good)
    await rest()
    theirAttach(checked)
    await rest()
    expect(attachments.close()).toEqual([good])
    gate.resolve(true)
    attachments.attach(checked)
    await rest()
    expect(log).toEqual(['attached 02'])
    expect(attachments.isAttached(good.name)).toBe(false)
    expect(sent()).toEqual(['attach 02'])
  })
})

import { randomBytes } from 'node:crypto'
import { DepartureReason, OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { createServer, type MeshServer } from '@mesh/server'
import { eventually, TestPeer } from '@mesh/server/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { forged, Liar } from './liar.fixture.ts'
import { REALM, type RealmServer, startRealm } from './realm.fixture.ts'
import { type Frame, Key, type Receipt, type Row } from './replicate-messages.fixture.ts'
import { ReplicateStream, type StreamOptions } from './replicate-stream.fixture.ts'

/** Low enough to be reached at once, and the same for honest servers, which keep below. */
const LIMITS = {
  federationRecordsPerSecond: 50,
  federationRecordsBurst: 100,
  federationMessagesPerSecond: 50,
  federationMessagesBurst: 100,
  federationMaxRows: 80,
  federationCreditFrames: 16,
}
const DAY = 86_400_000n << 21n
const topic = randomBytes(32)
const started: MeshServer[] = []
const keys = Array.from({ length: 60 }, () => new Key())
let a: RealmServer
let b: RealmServer
let alice: Witness
let bob: Witness
let liar: Liar

/** An honest peer, and everybody it saw leave. */
interface Witness {
  readonly peer: TestPeer
  readonly key: Buffer
  readonly left: { readonly peer: string; readonly reason: DepartureReason }[]
}

async function witnessAt({ served }: RealmServer): Promise<Witness> {
  const peer = await TestPeer.open({ origin: served.origin })
  await peer.join(topic)
  const left: Witness['left'] = []
  const events = await peer.subscribe().opened()
  const listen = async () => {
    for (;;)
      for (const { peerKey, reason } of (await events.next('members')).left)
        left.push({ peer: Buffer.from(peerKey).toString('hex'), reason })
  }
  listen().catch(() => {}) // ends with the server
  return { peer, key: Buffer.from(peer.key.publicKey), left }
}

beforeAll(async () => {
  const serve = async (options = {}) => {
    const server = createServer({ port: 0, ...options })
    started.push(server)
    return { server, ...(await server.listen()) }
  }
  const allowed = keys.map(({ publicKey }) => publicKey)
  ;[a, b] = await startRealm(serve, allowed, { limits: LIMITS })
  ;[alice, bob] = await Promise.all([witnessAt(a), witnessAt(b)])
})

afterAll(async () => {
  await Promise.all(started.map((server) => server.close({ signal: AbortSignal.abort() })))
})

beforeEach(async () => {
  liar = new Liar(keys.pop() as Key, topic)
  await liar.join(b.target)
  await eventually(async () => (await b.originOf(liar.key.publicKey))?.rows === 1)
  await eventually(() => liar.peer.members(b.key, topic).length === 1)
})

/** Whatever was told: the honest servers go on working together, and nobody saw their peers leave. */
afterEach(async () => {
  await liar.close()
  const sent = [
    await alice.peer.send(bob.key, topic, randomBytes(1)),
    await bob.peer.send(alice.key, topic, randomBytes(1)),
  ]
  expect(sent.map(({ status }) => status)).toEqual([OutcomeStatus.DELIVERED, OutcomeStatus.DELIVERED])
  expect(await a.originOf(b.key)).toMatchObject({ state: 'live', lag: 0 })
  expect(await b.originOf(a.key)).toMatchObject({ state: 'live', lag: 0 })
  expect(await b.neighbour(a.key)).toMatchObject({ directory: true, messages: true })
  const honest = [alice, bob].map(({ key }) => key.toString('hex'))
  expect([...alice.left, ...bob.left].filter(({ peer }) => honest.includes(peer))).toEqual([])
})

interface Lie {
  readonly reason: string
  /** It takes several states until the lie is out: they come faster than usual. */
  readonly insists?: true
  readonly limit?: string
  tell(): void
}

const LIES: Record<string, Lie> = {
  'forges the signature of a record': {
    tell: () => liar.peer.log(forged(liar.dave.row(topic))),
    reason: 'SIGNATURE_INVALID',
  },
  'forges the signature of a LEAVE': {
    tell: () => liar.peer.log(forged(liar.dave.leaveOf(liar.dave.key.publicKey, topic))),
    reason: 'SIGNATURE_INVALID',
  },
  'shows a peer of another server as its own': {
    tell: () => liar.peer.log(liar.peer.members(b.key, topic)[0] as Row),
    reason: 'RECORD_HOME',
  },
  'shows a record made for another home': {
    tell: () => liar.peer.log(liar.dave.row(topic, { homeKey: a.key })),
    reason: 'RECORD_HOME',
  },
  'files a record under another peer': {
    tell: () => liar.peer.log({ ...liar.dave.row(topic), peerKey: alice.key }),
    reason: 'RECORD_PEER',
  },
  'files a record under another topic': {
    tell: () => liar.peer.log({ ...liar.dave.row(randomBytes(32)), topic }),
    reason: 'RECORD_TOPIC',
  },
  'files a record under another session order': {
    tell: () => liar.peer.log({ ...liar.dave.row(topic), sessionOrder: '2' }),
    reason: 'RECORD_SESSION',
  },
  'sends a row without a record': {
    tell: () => liar.peer.log({ ...liar.dave.row(topic), record: null }),
    reason: 'RECORD_MALFORMED',
  },
  'sends a record with a ttl above a day': {
    tell: () => liar.peer.log(liar.dave.row(topic, { ttlMs: 86_400_001 })),
    reason: 'RECORD_TTL',
  },
  'sends a record of the day after tomorrow': {
    tell: () => liar.peer.log(liar.dave.row(topic, { issuedAtMs: String(Date.now() + 2 * 86_400_000) })),
    reason: 'RECORD_FUTURE',
  },

  'sends rows of another server': {
    tell: () => liar.directory.send(liar.rows(liar.strangers(1), { origin: a.key })),
    reason: 'ORIGIN_FORGED',
  },
  'sends a state of another server': {
    tell: () => liar.directory.send(liar.state({ origin: a.key })),
    reason: 'ORIGIN_FORGED',
  },
  'says that the other has been in an epoch of next week': {
    tell: () =>
      liar.directory.send({ pull: { after: { origin: b.key, epoch: String(liar.peer.epoch + 7n * DAY), seq: '1' } } }),
    reason: 'EPOCH_STALE',
  },
  'says that it is in an epoch of next week': {
    tell: () => liar.claim({ epoch: String(liar.peer.epoch + 7n * DAY) }),
    reason: 'EPOCH_STALE',
  },
  'sends rows of an epoch of next week': {
    tell: () => liar.directory.send(liar.rows(liar.strangers(1), { epoch: String(liar.peer.epoch + 7n * DAY) })),
    reason: 'EPOCH_STALE',
  },
  'goes back to an older epoch': {
    tell: () => {
      liar.onPull(() => {})
      liar.claim({ epoch: String(liar.peer.epoch - 1n) })
    },
    insists: true,
    reason: 'EPOCH_STALE',
  },
  'takes back entries of its log': { tell: () => liar.claim({ headSeq: '0' }), reason: 'LOG_GAP' },
  'numbers more entries than it sends': {
    tell: () => liar.directory.send(liar.rows(liar.strangers(1), { toSeq: '9' })),
    reason: 'INVALID_ARGUMENT',
  },
  'asks for no lease at all': { tell: () => liar.claim({ leaseMs: 0 }), reason: 'INVALID_ARGUMENT' },
  'asks for a lease beyond the limit': {
    tell: () => liar.claim({ leaseMs: 60_001 }),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_lease_ms',
  },
  'says that it has more rows than the limit': {
    tell: () => liar.claim({ rowCount: '81' }),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_rows',
  },
  'logs more rows than the limit': {
    tell: () => liar.logAll(liar.strangers(81)),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_rows',
  },
  'logs faster than the limit': {
    tell: () => Array.from({ length: 200 }, () => liar.peer.log(liar.dave.row(topic))),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_records_per_second',
  },

  'sends a snapshot that nobody asked for': {
    // More of them than can have been asked for: the first may pass for the answer to a Pull that is on its way.
    tell: () => {
      for (let count = 0; count < 8; count++)
        liar.directory.send(liar.page(liar.strangers(3), { snapshotId: String(100 + count) }))
    },
    reason: 'INVALID_ARGUMENT',
  },
  'sends a snapshot of more pages than there may be rows': {
    tell: () => liar.answerPull(() => [liar.page(liar.strangers(1), { pageCount: 81 })]),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_rows',
  },
  'sends a snapshot of more rows than the limit': {
    tell: () => liar.answerPull(() => [0, 1, 2].map((page) => liar.page(liar.strangers(30), { page, pageCount: 3 }))),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_rows',
  },
  'changes the number of pages under way': {
    tell: () =>
      liar.answerPull(() => [0, 1].map((page) => liar.page(liar.strangers(1), { page, pageCount: 2 + page }))),
    reason: 'INVALID_ARGUMENT',
  },
  'leaves out a page, whenever it is asked': {
    tell: () => {
      const pages = () => [0, 2].map((page) => liar.page(liar.strangers(1), { page, pageCount: 3 }))
      liar.onPull(() => liar.sendAll(pages()))
      liar.claim({ headSeq: '9' })
    },
    reason: 'LIMIT_EXCEEDED',
  },
  'sends pages without rows': {
    tell: () => liar.answerPull(() => [0, 1].map((page) => liar.page([], { page, pageCount: 2 }))),
    reason: 'INVALID_ARGUMENT',
  },
  'has one row twice in a snapshot': {
    tell: () => liar.answerPull(() => [liar.page([liar.dave.row(topic), liar.dave.row(topic)])]),
    reason: 'INVALID_ARGUMENT',
  },

  'sends more frames than it has credit for': {
    tell: () => liar.directory.write(...Array.from({ length: 40 }, () => liar.state({}))),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_credit_frames',
  },
  'sends a message beyond the limit': {
    tell: () => liar.directory.write({ ...liar.rows([{ ...liar.dave.row(topic), topic: Buffer.alloc(2_000_000) }]) }),
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_max_request_bytes',
  },
  'sends rows among the messages': {
    tell: () => liar.messages.send(liar.rows(liar.strangers(1))),
    reason: 'INVALID_ARGUMENT',
  },
  'sends messages faster than the limit': {
    tell: () => {
      const envelopes = Array.from({ length: 150 }, (_, i) => ({
        envelope: liar.envelope(bob.key),
        attempt: String(i + 1),
      }))
      liar.messages.send({ envelopes: { envelopes } })
    },
    reason: 'LIMIT_EXCEEDED',
    limit: 'federation_messages_per_second',
  },
  'sends a receipt that says nothing': {
    tell: () =>
      liar.messages.send({ receipts: { receipts: [{ attempt: '1', status: 'OUTCOME_STATUS_UNSPECIFIED' }] } }),
    reason: 'INVALID_ARGUMENT',
  },
}

describe('a server is refused that', () => {
  test.each(Object.entries(LIES))('%s', async (_name, { tell, reason, limit, insists }) => {
    tell()
    const insist = insists && setInterval(() => liar.peer.announce(), 50)
    const end = await liar.ended().finally(() => insist && clearInterval(insist))
    expect(end.error).toMatchObject({ reason: `ERROR_REASON_${reason}`, ...(limit && { limit }) })
    const server = liar.key.publicKey.toString('hex')
    const fields = expect.objectContaining({ server, channel: end.channel, reason, by: 'here' })
    expect(b.log).toContainEqual({ event: 'federation_refused', fields })
    const shown = await b.neighbour(liar.key.publicKey)
    expect(shown).toMatchObject({ [end.channel]: false, lastError: expect.stringContaining(reason) })
  })
})

describe('a server that is let in', () => {
  test('has its envelopes refused one by one when a client could not have sent them', async () => {
    const send = async (changes: object): Promise<string | undefined> => {
      const envelopes = [{ envelope: liar.envelope(bob.key, changes), attempt: '1' }]
      const receipt = new Promise<Receipt | undefined>((resolve) => {
        liar.peer.onFrame = ({ receipts }) => {
          if (receipts !== undefined) resolve(receipts.receipts[0])
          return receipts !== undefined
        }
      })
      liar.messages.send({ envelopes: { envelopes } })
      return (await receipt)?.error?.reason
    }
    expect(await send({ from: randomBytes(32) })).toBe('ERROR_REASON_NOT_MEMBER')
    expect(await send({ to: randomBytes(32) })).toBe('ERROR_REASON_NOT_HERE')
    expect(await send({ id: randomBytes(15) })).toBe('ERROR_REASON_INVALID_ARGUMENT')
    expect(await send({ payload: Buffer.alloc(65_537) })).toBe('ERROR_REASON_LIMIT_EXCEEDED')
  })

  test('takes nobody along by a LEAVE that the peer did not sign', async () => {
    liar.peer.log(liar.dave.leaveOf(alice.key, topic))
    await eventually(async () => (await b.originOf(liar.key.publicKey))?.seq === '2')
    expect(await bob.peer.send(alice.key, topic, randomBytes(1))).toMatchObject({ status: OutcomeStatus.DELIVERED })
  })

  test('changes nothing by entries of its log that were applied before', async () => {
    const before = await b.originOf(liar.key.publicKey)
    const first = { fromSeq: '1', toSeq: '1' }
    liar.sendAll([liar.rows(liar.strangers(1), first), liar.rows(liar.strangers(1), { ...first, toSeq: '1' })])
    liar.peer.log(liar.dave.row(topic))
    await eventually(async () => (await b.originOf(liar.key.publicKey))?.seq === '2')
    expect(await b.originOf(liar.key.publicKey)).toMatchObject({ epoch: before?.epoch, rows: 1, state: 'live' })
  })

  test.each([
    ['the entries it tells of', (): Frame[] => []],
    ['the end of a snapshot', (): Frame[] => [liar.page(liar.strangers(1), { pageCount: 2 }, { toSeq: '9' })]],
  ])('is silent after its lease when it never sends %s', async (_name, answer) => {
    liar.onPull(() => liar.sendAll(answer()))
    liar.claim({ headSeq: '9', leaseMs: 500 })
    await eventually(async () => (await b.originOf(liar.key.publicKey))?.state === 'hidden')
    const dave = { peer: liar.dave.key.publicKey.toString('hex'), reason: DepartureReason.SERVER_LOST }
    await eventually(() => bob.left.some(({ peer, reason }) => peer === dave.peer && reason === dave.reason))
  })
})

describe('a server is not let in', () => {
  const call = async (changes: Partial<StreamOptions>): Promise<string | undefined> => {
    const common = {
      target: b.target,
      realm: REALM,
      channel: 'CHANNEL_DIRECTORY',
      epoch: liar.peer.epoch,
      have: [],
    } as const
    const stream = new ReplicateStream({ key: new Key(), ...common, ...changes }, () => {})
    return (await stream.ended).error?.reason
  }
  const logged = (reason: string) => ({
    event: 'federation_refused',
    fields: expect.objectContaining({ reason, by: 'here' }),
  })

  test('that is not on the list', async () => {
    expect(await call({})).toBe('ERROR_REASON_NODE_NOT_ALLOWED')
    expect(b.log).toContainEqual(logged('NODE_NOT_ALLOWED'))
  })

  test('that is of another realm', async () => {
    expect(await call({ key: keys[0] as Key, realm: 'another' })).toBe('ERROR_REASON_REALM_MISMATCH')
    expect(b.log).toContainEqual(logged('REALM_MISMATCH'))
  })

  test('that does not have the key it names, and the one that has it notices nothing', async () => {
    const thief = new Key()
    const key = { publicKey: liar.key.publicKey, sign: thief.sign.bind(thief) }
    expect(await call({ key })).toBe('ERROR_REASON_SIGNATURE_INVALID')
    expect(b.log).toContainEqual(logged('SIGNATURE_INVALID'))
    expect(await b.neighbour(liar.key.publicKey)).toMatchObject({ directory: true, messages: true })
  })
})

import type { ByteKey } from '../../../../server/byte-key.ts'
import type { World } from '../world.ts'
import type { SimClient } from './sim-client.ts'
import type { SimSession } from './sim-session.ts'

// What clients do: a few seconds between two actions, each drawn from the client's own randomness.

type Action = (world: World, client: SimClient) => void

/** Actions other than sending, each as often as it stands here. */
const ACTIONS: readonly Action[] = [
  joinAnother,
  joinAnother,
  update,
  update,
  leaveOne,
  move,
  move,
  moveWithoutOverlap,
  useAnotherServer,
  takeOver,
  dropAndResume,
  dropAndResume,
  logOutOfOne,
  vanishAndReturn,
]

/** Envelope.ttl_ms: none, short, and the longest. */
const MESSAGE_TTLS_MS = [0, 0, 1_000, 5_000, 30_000]

/** Lets a client act until the clients rest. */
export function liveAs(world: World, client: SimClient): void {
  client.wanted.add(pick(client, world.topics.length))
  const next = (): void => {
    const delayMs = -Math.log(1 - client.random.uniform()) * world.settings.actionMs
    world.clock.schedule(delayMs, () => {
      if (world.clientsRest) return
      if (client.alive) act(world, client)
      next()
    })
  }
  next()
  refreshing(world, client)
}

/** Renews every record at half of its time, as long as the client lives and even when it rests. */
function refreshing(world: World, client: SimClient): void {
  world.clock.schedule(client.ttlMs * (0.4 + 0.1 * client.random.uniform()), () => {
    for (const session of client.sessions)
      for (const topic of client.wanted) if (isIn(world, session, topic)) client.join(session, topic)
    if (client.alive) client.reconcile()
    refreshing(world, client)
  })
}

function act(world: World, client: SimClient): void {
  if (client.sessions.length === 0) {
    connectAnywhere(world, client)
    return
  }
  if (client.random.uniform() < world.settings.messageShare) sendSomething(world, client)
  else choose(client, ACTIONS)?.(world, client)
}

/** Opens a session at a running server; retried until there is one. */
export function connectAnywhere(world: World, client: SimClient, except?: number): SimSession | undefined {
  const candidates = world.servers.filter(({ process, index }) => process?.state === 'running' && index !== except)
  const server = choose(client, candidates)
  return server?.process === undefined ? undefined : client.connect(server.process)
}

export function sendSomething(world: World, client: SimClient): void {
  const session = client.random.uniform() < 0.9 ? client.newest : choose(client, client.sessions)
  const topic = choose(client, [...client.wanted])
  if (session === undefined || topic === undefined) return
  const known = [...(session.views.get(world.topicKeys[topic] as ByteKey)?.members.keys() ?? [])]
  const to = client.random.uniform() < 0.85 ? choose(client, known) : choose(client, world.clients)?.peer
  if (to === undefined || to === client.peer) return
  client.send(session, topic, to, choose(client, MESSAGE_TTLS_MS) as number)
}

function joinAnother(world: World, client: SimClient): void {
  const topic = pick(client, world.topics.length)
  client.wanted.add(topic)
  for (const session of client.sessions) client.join(session, topic)
}

function update(_world: World, client: SimClient): void {
  const session = choose(client, client.sessions)
  const topic = choose(client, [...client.wanted])
  if (session !== undefined && topic !== undefined) client.join(session, topic)
}

function leaveOne(_world: World, client: SimClient): void {
  const topic = choose(client, [...client.wanted])
  if (topic === undefined) return
  client.wanted.delete(topic)
  for (const session of [...client.sessions].reverse()) client.leave(session, topic)
}

/** To another server: joins there first, then lets the old connection go. */
function move(world: World, client: SimClient): void {
  const old = [...client.sessions]
  if (connectAnywhere(world, client, client.newest?.process.index) === undefined) return
  const patienceMs = client.random.uniform() * 2_000
  world.clock.schedule(patienceMs, () => {
    for (const session of old) {
      if (client.sessions.indexOf(session) < 0) continue
      client.drop(session)
      client.forget(session)
    }
  })
}

/** The connection broke, and the client goes elsewhere after a while. */
function moveWithoutOverlap(world: World, client: SimClient): void {
  const from = client.newest?.process.index
  for (const session of [...client.sessions]) {
    client.drop(session)
    client.forget(session)
  }
  world.clock.schedule(client.random.uniform() * 3_000, () => client.alive && connectAnywhere(world, client, from))
}

function useAnotherServer(world: World, client: SimClient): void {
  if (client.sessions.length < 3) connectAnywhere(world, client, client.newest?.process.index)
}

/** A second process, or the same one that lost its session: another session at the same server. */
function takeOver(_world: World, client: SimClient): void {
  const old = client.newest
  if (old === undefined) return
  client.drop(old)
  client.forget(old)
  client.connect(old.process)
}

function dropAndResume(world: World, client: SimClient): void {
  const session = choose(client, client.sessions)
  if (session === undefined) return
  client.drop(session)
  world.clock.schedule(client.random.uniform() * 1.3 * session.process.limits.leaseMs, () => {
    if (client.sessions.includes(session)) client.resume(session)
  })
}

function logOutOfOne(_world: World, client: SimClient): void {
  const session = choose(client, client.sessions)
  if (session !== undefined) client.logOut(session)
}

function vanishAndReturn(world: World, client: SimClient): void {
  const left = client.vanish()
  for (const session of left) {
    // Found dead by a ping or by the system.
    world.clock.schedule(200 + client.random.uniform() * 4_000, () => client.drop(session))
  }
  world.clock.schedule(client.random.uniform() * 10_000, () => client.reappear())
}

function isIn(world: World, session: SimSession, topic: number): boolean {
  return session.session.topics.has(world.topicKeys[topic] as ByteKey)
}

function pick(client: SimClient, count: number): number {
  return Math.floor(client.random.uniform() * count)
}

function choose<T>(client: SimClient, from: readonly T[]): T | undefined {
  return from[pick(client, from.length)]
}

import { ErrorReason, MeshError, type Message, type Peer, type Swarm } from '@mesh/client'

/**
 * Peers tell each other whom they are connected to, so that everybody can draw the whole swarm: a request
 * `{"ask":"neighbours"}` is answered with `[{"id":"mesh1…","path":"direct"}, …]`. What comes back is a claim of that peer.
 */
export interface Neighbour {
  readonly id: string
  readonly path: 'relay' | 'direct'
}

const QUESTION = { ask: 'neighbours' }
const TIMEOUT_MS = 5_000
const MAX_QUESTION_BYTES = 256
const MAX_ANSWER_BYTES = 16_384
/** More links than any topology of this page makes. */
const MAX_NEIGHBOURS = 64

/** Answers the question, and refuses others; the returned function stops it. */
export function tellNeighbours(swarm: Swarm): () => void {
  return swarm.onRequest((request) => {
    if (!isQuestion(request)) throw new MeshError(ErrorReason.REQUEST_FAILED, 'this peer answers no such request')
    return [...swarm.peers.values()]
      .filter(({ path }) => path !== 'none')
      .slice(0, MAX_NEIGHBOURS)
      .map(({ id, path }) => ({ id, path }))
  })
}

/** Asks a peer for its neighbours. Empty when it answers no such question, or nonsense. */
export async function askNeighbours(peer: Peer, signal: AbortSignal): Promise<readonly Neighbour[]> {
  try {
    const answer = await peer.request(QUESTION, { signal, timeoutMs: TIMEOUT_MS })
    return answer.bytes.length <= MAX_ANSWER_BYTES ? readNeighbours(answer.json()) : []
  } catch {
    return [] // other programs do not know the question; the drawing does without
  }
}

export function readNeighbours(answer: unknown): readonly Neighbour[] {
  if (!Array.isArray(answer)) return []
  return answer.slice(0, MAX_NEIGHBOURS).filter(isNeighbour)
}

function isQuestion(request: Pick<Message, 'bytes' | 'json'>): boolean {
  if (request.bytes.length > MAX_QUESTION_BYTES) return false
  try {
    const value = request.json()
    return typeof value === 'object' && value !== null && 'ask' in value && value.ask === QUESTION.ask
  } catch {
    return false // no JSON
  }
}

function isNeighbour(value: unknown): value is Neighbour {
  if (typeof value !== 'object' || value === null || !('id' in value) || !('path' in value)) return false
  return typeof value.id === 'string' && value.id.length <= 64 && (value.path === 'direct' || value.path === 'relay')
}

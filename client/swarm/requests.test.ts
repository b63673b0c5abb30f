import { ErrorReason, MeshError } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import type { LinkChannel } from '../link/index.ts'
import type { Peer } from './peer.ts'
import { answerRequest, type RequestHandler } from './requests.ts'

let sent: string[]
let resets: MeshError[]
let errors: MeshError[]
let state: string

beforeEach(() => {
  sent = []
  resets = []
  errors = []
  state = 'open'
})

function serve(handler: RequestHandler | undefined, question: string | null = 'question'): Promise<void> {
  const channel = {
    get state() {
      return state
    },
    receiveMessage: async () => (question === null ? undefined : new TextEncoder().encode(question)),
    sendMessage: async (bytes: Uint8Array) => void sent.push(new TextDecoder().decode(bytes)),
    reset: (error: MeshError) => resets.push(error),
  }
  return answerRequest({} as Peer, channel as unknown as LinkChannel, handler, (error) => errors.push(error))
}

describe('answerRequest', () => {
  it('sends what the handler returns, now or later', async () => {
    await serve((request) => `${request.text()}?`)
    await serve(async () => ({ json: true }))
    expect(sent).toEqual(['question?', '{"json":true}'])
    expect([resets, errors]).toEqual([[], []])
  })

  it('says that nobody answers', async () => {
    await serve(undefined)
    expect(resets).toMatchObject([{ reason: ErrorReason.REQUEST_FAILED }])
    expect(errors).toEqual([])
  })

  it('passes a MeshError of the handler on, and keeps the text of any other error here', async () => {
    const refusal = new MeshError(ErrorReason.ADMISSION_REFUSED, 'not you')
    await serve(() => Promise.reject(refusal))
    await serve(() => {
      throw new Error('/home/me/secret is missing')
    })
    expect(resets[0]).toBe(refusal)
    expect(resets[1]).toMatchObject({ reason: ErrorReason.REQUEST_FAILED })
    expect(resets[1]?.message).not.toContain('secret')
    expect(errors.map(({ cause }) => (cause as Error).message)).toEqual(['/home/me/secret is missing'])
  })

  it('reports an answer that cannot be sent', async () => {
    await serve(() => ({ n: 1n }))
    expect(resets).toMatchObject([{ reason: ErrorReason.INVALID_ARGUMENT }])
  })

  it('says nothing to an asker who ended the request, or is gone', async () => {
    await serve(() => 'never', null)
    state = 'closed'
    await serve(() => {
      throw new Error('too late')
    })
    expect([resets, errors]).toEqual([[], []])
  })
})

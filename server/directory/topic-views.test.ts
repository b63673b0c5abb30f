import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../byte-key.ts'
import { keyBytes, sessionBytes, verifiedRecord } from '../testing/records.ts'
import type { TopicChange } from './directory.ts'
import { TopicViews } from './topic-views.ts'

const topic = keyBytes(1)
const topicKey = byteKey(topic)
const peerOf = (value: number): string => byteKey(keyBytes(value))
const viewer = (value: number) => ({ peer: peerOf(value) })

function change(kind: TopicChange['kind'], peer: number): TopicChange {
  const base = { topic, topicKey, peer: peerOf(peer), revision: 1n }
  if (kind !== 'left') return { ...base, kind, record: verifiedRecord({ peer }) }
  const { LEFT } = DepartureReason
  return { ...base, kind, peerKey: keyBytes(peer), sessionId: sessionBytes(1), reason: LEFT, record: undefined }
}

describe('topic views', () => {
  test('in a small topic everybody hears of everything but itself', () => {
    const views = new TopicViews<{ peer: string }>()
    const [a, b] = [viewer(1), viewer(2)]
    views.enter(topicKey, a, [], 64)
    views.enter(topicKey, b, [peerOf(1)], 64)
    expect(views.audience(change('joined', 2))).toEqual([a])
    expect(views.audience(change('joined', 3))).toEqual([a, b])
    expect(views.audience(change('updated', 3))).toEqual([a, b])
    expect(views.audience(change('left', 3))).toEqual([a, b])
    expect(views.audience(change('updated', 3))).toEqual([])
  })

  test('a full view hears of its own members only, and takes a new one when one leaves', () => {
    const views = new TopicViews<{ peer: string }>()
    const a = viewer(1)
    views.enter(topicKey, a, [peerOf(2), peerOf(3)], 2)
    expect(views.audience(change('joined', 4))).toEqual([])
    expect(views.audience(change('left', 4))).toEqual([])
    expect(views.audience(change('left', 2))).toEqual([a])
    expect(views.audience(change('joined', 5))).toEqual([a])
    expect(views.audience(change('joined', 6))).toEqual([])
    expect(views.peers(topicKey, a)).toEqual(new Set([peerOf(3), peerOf(5)]))
  })

  test('entering again replaces the view', () => {
    const views = new TopicViews<{ peer: string }>()
    const a = viewer(1)
    views.enter(topicKey, a, [peerOf(2)], 1)
    views.enter(topicKey, a, [peerOf(3)], 1)
    expect(views.audience(change('left', 2))).toEqual([])
    expect(views.audience(change('left', 3))).toEqual([a])
  })

  test('a viewer that exits hears nothing more', () => {
    const views = new TopicViews<{ peer: string }>()
    const a = viewer(1)
    views.enter(topicKey, a, [peerOf(2)], 8)
    views.exit(topicKey, a)
    views.exit(topicKey, a)
    expect(views.audience(change('joined', 3))).toEqual([])
    expect(views.audience(change('left', 2))).toEqual([])
    expect(views.peers(topicKey, a)).toBeUndefined()
  })
})

import { create } from '@bufbuild/protobuf'
import { FrameSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { CREDIT_BYTES } from './frame-size.ts'
import type { Outgoing } from './outgoing.ts'
import { type CreditSource, type FrameSource, Scheduler } from './scheduler.ts'

/** Sends frames of one size; the name tells who sent. */
class TestSource implements FrameSource, CreditSource {
  readonly name: string
  readonly #frameBytes: number
  left: number

  constructor(name: string, frames: number, frameBytes: number) {
    this.name = name
    this.left = frames
    this.#frameBytes = frameBytes
  }

  get ready(): boolean {
    return this.left > 0
  }

  nextFrame(maxBytes: number): Outgoing | undefined {
    if (this.#frameBytes > maxBytes) return undefined
    this.left -= 1
    return named(this.name, this.#frameBytes)
  }

  creditFrame(): Outgoing | undefined {
    return named(`${this.name} credit`, 30)
  }
}

const names = new WeakMap<object, string>()

function named(name: string, bytes: number): Outgoing {
  const outgoing = { frame: create(FrameSchema), bytes }
  names.set(outgoing, name)
  return outgoing
}

/** Who sends the next `count` frames of data. */
function takeData(scheduler: Scheduler, count: number): string[] {
  return Array.from({ length: count }, () => names.get(scheduler.nextData(20_000) ?? {}) ?? 'none')
}

describe('Scheduler', () => {
  test('shares evenly by bytes between busy channels, whatever the size of their frames', () => {
    const scheduler = new Scheduler(10)
    scheduler.activate(new TestSource('large', 1_000, 16_000))
    scheduler.activate(new TestSource('small', 10_000, 1_000))
    const bytes = { large: 0, small: 0 }
    for (const name of takeData(scheduler, 1_700)) {
      if (name === 'large') bytes.large += 16_000
      else bytes.small += 1_000
    }
    expect(bytes.large / bytes.small).toBeCloseTo(1, 1)
  })

  test('sends a small message after at most one frame of bulk, however many channels are busy', () => {
    const scheduler = new Scheduler(10)
    for (let i = 0; i < 50; i++) scheduler.activate(new TestSource('bulk', 1_000, 16_000))
    takeData(scheduler, 120)
    scheduler.activate(new TestSource('small', 1, 50))
    expect(takeData(scheduler, 2)).toContain('small')
  })

  test('does not let channels that come and go starve a busy one', () => {
    const scheduler = new Scheduler(10)
    const fickle = new TestSource('fickle', 0, 16_000)
    scheduler.activate(new TestSource('busy', 1_000, 16_000))
    let busy = 0
    for (let i = 0; i < 100; i++) {
      fickle.left = 1
      scheduler.activate(fickle)
      if (takeData(scheduler, 1)[0] === 'busy') busy += 1
    }
    expect(busy).toBeGreaterThan(30)
  })

  test('gives urgent frames in order, before credit', () => {
    const scheduler = new Scheduler(10)
    scheduler.pushCredit(new TestSource('a', 0, 0))
    scheduler.pushUrgent(named('first', 10))
    scheduler.pushUrgent(named('second', 10))
    const taken = Array.from({ length: 3 }, () => names.get(scheduler.nextUrgent(100) ?? {}))
    expect(taken).toEqual(['first', 'second', 'a credit'])
    expect(scheduler.hasUrgent).toBe(false)
  })

  test('keeps an urgent frame that does not fit, and lets none overtake it', () => {
    const scheduler = new Scheduler(10)
    scheduler.pushUrgent(named('large', 500))
    scheduler.pushUrgent(named('small', 10))
    expect(scheduler.nextUrgent(100)).toBeUndefined()
    expect(names.get(scheduler.nextUrgent(500) ?? {})).toBe('large')
  })

  test('does not ask for a credit frame that would not fit, because asking counts as telling', () => {
    const scheduler = new Scheduler(10)
    let asked = 0
    scheduler.pushCredit({
      creditFrame: () => {
        asked += 1
        return named('credit', CREDIT_BYTES)
      },
    })
    expect([scheduler.nextUrgent(CREDIT_BYTES - 1), asked, scheduler.hasUrgent]).toEqual([undefined, 0, true])
    expect(names.get(scheduler.nextUrgent(CREDIT_BYTES) ?? {})).toBe('credit')
  })

  test('tells credit of a channel once, however often it was noted', () => {
    const scheduler = new Scheduler(10)
    const source = new TestSource('a', 0, 0)
    scheduler.pushCredit(source)
    scheduler.pushCredit(source)
    expect(scheduler.nextUrgent(100)).toBeDefined()
    expect(scheduler.nextUrgent(100)).toBeUndefined()
  })

  test('refuses more urgent frames than its bound', () => {
    const scheduler = new Scheduler(2)
    expect([1, 2, 3].map(() => scheduler.pushUrgent(named('urgent', 10)))).toEqual([true, true, false])
  })

  test('asks a removed channel for nothing', () => {
    const scheduler = new Scheduler(10)
    const source = new TestSource('gone', 5, 100)
    scheduler.activate(source)
    scheduler.pushCredit(source)
    scheduler.remove(source)
    expect([scheduler.hasFrames, scheduler.nextData(1_000), scheduler.nextUrgent(1_000)]).toEqual([
      false,
      undefined,
      undefined,
    ])
  })
})

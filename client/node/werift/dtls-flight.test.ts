import { VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { DtlsFlight } from './dtls-flight.ts'

function flight() {
  const clock = new VirtualClock()
  const sent: Buffer[] = []
  let exhausted = 0
  const subject = new DtlsFlight({
    clock,
    send: (datagram) => sent.push(datagram),
    onExhausted: () => {
      exhausted += 1
    },
  })
  return { clock, sent, subject, exhausted: () => exhausted }
}

describe('A DTLS flight', () => {
  test('goes out in as few datagrams as fit', () => {
    const { sent, subject } = flight()
    subject.begin(
      [500, 500, 500, 1300].map((size) => Buffer.alloc(size)),
      false,
    )
    expect(sent.map((datagram) => datagram.length)).toEqual([1000, 500, 1300])
  })

  test('is repeated at growing intervals and given up after 22 seconds', async () => {
    const { clock, sent, subject, exhausted } = flight()
    subject.begin([Buffer.from('x')], true)
    const sentAfter: number[] = []
    for (const stepMs of [199, 1, 399, 1, 799, 1]) {
      await clock.advance(stepMs)
      sentAfter.push(sent.length)
    }
    expect(sentAfter).toEqual([1, 2, 2, 3, 3, 4])
    await clock.advance(22_199 - 1400)
    expect([sent.length, exhausted()]).toEqual([10, 0])
    await clock.advance(1)
    expect([sent.length, exhausted(), clock.pending]).toEqual([10, 1, 0])
  })

  test('is repeated on request, at a bounded rate and number', async () => {
    const { clock, sent, subject } = flight()
    subject.begin([Buffer.from('x')], false)
    for (let count = 0; count < 10; count += 1) subject.repeat()
    expect(sent).toHaveLength(1)
    for (let count = 0; count < 50; count += 1) {
      await clock.advance(100)
      subject.repeat()
      subject.repeat()
    }
    expect(sent).toHaveLength(21)
    expect(subject.mayRepeat).toBe(false)
  })

  test('is forgotten at the end, with its timer', () => {
    const { clock, sent, subject } = flight()
    subject.begin([Buffer.from('x')], true)
    subject.end()
    subject.repeat()
    expect([sent.length, clock.pending]).toEqual([1, 0])
  })
})

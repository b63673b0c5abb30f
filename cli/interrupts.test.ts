import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { Interrupted } from './failure.ts'
import { Interrupts } from './interrupts.ts'

class FakeProcess extends EventEmitter {
  readonly exits: number[] = []

  exit(code: number): void {
    this.exits.push(code)
  }
}

test('the first signal asks the command to finish, the second ends the process', () => {
  const source = new FakeProcess()
  const interrupts = new Interrupts(source)
  source.emit('SIGTERM')
  expect(interrupts.signal.reason).toBeInstanceOf(Interrupted)
  expect(source.exits).toEqual([])
  source.emit('SIGINT')
  expect(source.exits).toEqual([130])
})

test('a disposed listener gives the signals back', () => {
  const source = new FakeProcess()
  const interrupts = new Interrupts(source)
  interrupts.dispose()
  interrupts.dispose()
  expect(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM')).toBe(0)
  expect(interrupts.signal.aborted).toBe(false)
})

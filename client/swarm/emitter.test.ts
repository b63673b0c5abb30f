import { describe, expect, it } from 'vitest'
import { Emitter } from './emitter.ts'

interface Events extends Record<string, unknown> {
  a: number
  b: string
}

function makeEmitter() {
  const errors: unknown[] = []
  const emitter = new Emitter<Events>((error) => errors.push(error))
  return { emitter, errors }
}

describe('emitter', () => {
  it('calls the listeners of an event, in the order they came', () => {
    const { emitter } = makeEmitter()
    const log: string[] = []
    emitter.on('a', (value) => log.push(`first ${value}`))
    emitter.on('a', (value) => log.push(`second ${value}`))
    emitter.on('b', (value) => log.push(value))
    emitter.emit('a', 1)
    expect(log).toEqual(['first 1', 'second 1'])
  })

  it('counts every registration, also of the same listener', () => {
    const { emitter } = makeEmitter()
    let calls = 0
    const listener = () => calls++
    const [first, second] = [emitter.on('a', listener), emitter.on('a', listener)]
    emitter.emit('a', 1)
    expect(calls).toBe(2)
    first()
    first()
    emitter.emit('a', 1)
    expect([calls, emitter.has('a')]).toEqual([3, true])
    second()
    expect(emitter.has('a')).toBe(false)
  })

  it('lets the others hear when one throws, and reports the error', () => {
    const { emitter, errors } = makeEmitter()
    let heard = 0
    emitter.on('a', () => {
      throw new Error('mine')
    })
    emitter.on('a', () => heard++)
    emitter.emit('a', 1)
    expect(heard).toBe(1)
    expect(errors).toMatchObject([{ message: 'mine' }])
  })

  it('may be changed by its listeners while it emits', () => {
    const { emitter } = makeEmitter()
    const log: string[] = []
    const off = emitter.on('a', () => {
      off()
      emitter.on('a', () => log.push('late'))
      log.push('once')
    })
    emitter.emit('a', 1)
    expect(log).toEqual(['once'])
    emitter.emit('a', 2)
    expect(log).toEqual(['once', 'late'])
  })

  it('calls nobody after clear', () => {
    const { emitter } = makeEmitter()
    let calls = 0
    emitter.on('a', () => calls++)
    emitter.clear()
    emitter.emit('a', 1)
    expect(calls).toBe(0)
  })
})

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Chunks } from './chunks.ts'

function takeBlocks(chunks: Chunks): Uint8Array[] {
  const blocks: Uint8Array[] = []
  for (let block = chunks.shift(); block !== undefined; block = chunks.shift()) blocks.push(block)
  return blocks
}

test('Chunks gives back bytes in order when small and large pieces alternate', () => {
  const chunks = new Chunks()
  const all: number[] = []
  for (let i = 0; i < 300; i++) {
    const piece = new Uint8Array(i % 7 === 0 ? 5_000 : 1 + (i % 50)).fill(i)
    all.push(...piece)
    chunks.append(piece)
  }
  expect(chunks.bytes).toBe(all.length)
  expect(takeBlocks(chunks).flatMap((block) => [...block])).toEqual(all)
  expect(chunks.bytes).toBe(0)
})

test('Chunks keeps a flood of single bytes in few blocks', () => {
  const chunks = new Chunks()
  for (let i = 0; i < 64_000; i++) chunks.append(Uint8Array.of(i))
  expect(takeBlocks(chunks).length).toBeLessThanOrEqual(6)
})

test('Chunks hands a lone piece through without copying it', () => {
  const chunks = new Chunks()
  const piece = new Uint8Array(100)
  chunks.append(piece)
  expect(chunks.shift()).toBe(piece)
})

test('Chunks gives everything in one piece and is empty then', () => {
  const chunks = new Chunks()
  for (const byte of [1, 2, 3]) chunks.append(Uint8Array.of(byte))
  expect(chunks.takeAll()).toEqual(Uint8Array.of(1, 2, 3))
  expect([chunks.bytes, chunks.shift()]).toEqual([0, undefined])
})

test('Chunks lets go of what was taken while more keeps coming', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const chunks = new Chunks()
  const taken: WeakRef<Uint8Array>[] = []
  const append = () => chunks.append(new Uint8Array(16_000))
  append()
  for (let i = 0; i < 100; i++) {
    append()
    taken.push(new WeakRef(chunks.shift() as Uint8Array))
  }
  return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    collect()
    expect(taken.filter((block) => block.deref() !== undefined).length).toBeLessThanOrEqual(2)
  })
})

import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freeBytes, IncomingFile } from './incoming-file.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mesh-incoming-'))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

async function receive(name: string, content: string): Promise<string> {
  const file = await IncomingFile.create(directory, name)
  await file.write(Buffer.from(content))
  return file.keep()
}

test('an incoming file has its name only once it is kept', async () => {
  const file = await IncomingFile.create(directory, 'a.txt')
  await file.write(Buffer.from('one '))
  await file.write(Buffer.from('two'))
  expect((await readdir(directory)).map((name) => name.replace(/[0-9a-f]{16}/, 'x'))).toEqual(['.a.txt.x.part'])
  const place = await file.keep()
  expect(place).toBe(join(directory, 'a.txt'))
  expect(await readFile(place, 'utf8')).toBe('one two')
  expect(await readdir(directory)).toEqual(['a.txt'])
  expect((await stat(place)).mode & 0o777).toBe(0o600)
})

test('an incoming file gets a number instead of overwriting another', async () => {
  await writeFile(join(directory, 'a.txt'), 'mine')
  expect(await receive('a.txt', 'theirs')).toBe(join(directory, 'a (1).txt'))
  expect(await receive('a.txt', 'theirs')).toBe(join(directory, 'a (2).txt'))
  expect(await readFile(join(directory, 'a.txt'), 'utf8')).toBe('mine')
})

test('an incoming file does not follow a link that has its name', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'mesh-outside-'))
  await symlink(join(outside, 'target'), join(directory, 'a.txt'))
  expect(await receive('a.txt', 'theirs')).toBe(join(directory, 'a (1).txt'))
  expect(await readdir(outside)).toEqual([])
  await rm(outside, { recursive: true })
})

test('an incoming file stays inside its folder whatever its name is', async () => {
  expect(await receive('../../evil', 'x')).toBe(join(directory, 'evil'))
})

test('a discarded file leaves nothing behind', async () => {
  const file = await IncomingFile.create(directory, 'a.txt')
  await file.write(Buffer.from('x'))
  await file.discard()
  await file.discard()
  expect(await readdir(directory)).toEqual([])
})

test('freeBytes tells the room on a disk, and nothing about a folder that is not there', async () => {
  expect(await freeBytes(directory)).toBeGreaterThan(0)
  expect(await freeBytes(join(directory, 'none'))).toBeUndefined()
})

import { type ChildProcess, fork } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ErrorReason, toHex, verifyStrict } from '@mesh/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeIdentityStore, readKeyFile } from './identity-store.ts'

let folder: string
let children: ChildProcess[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-identity-'))
  children = []
})
afterEach(async () => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

function store() {
  return nodeIdentityStore(join(folder, 'identities'))
}

async function holderProcess(): Promise<{ child: ChildProcess; publicKey: string }> {
  const file = join(import.meta.dirname, 'identity-holder.fixture.ts')
  const child = fork(file, [join(folder, 'identities')], { execArgv: ['--conditions=source'] })
  children.push(child)
  const [publicKey] = await once(child, 'message')
  return { child, publicKey: publicKey as string }
}

async function files(): Promise<string[]> {
  return (await readdir(join(folder, 'identities'))).sort()
}

describe('identities of Node', () => {
  it('are created on first use and are the same the next time', async () => {
    const first = await store().acquire('default')
    await first.release()
    const second = await store().acquire('default')
    expect(toHex(second.key.publicKey)).toBe(toHex(first.key.publicKey))
    const message = new TextEncoder().encode('hello')
    expect(await verifyStrict(first.key.publicKey, message, await second.key.sign(message))).toBe(true)
    await second.release()
  })

  it('are readable by their owner only, and leave nothing else behind', async () => {
    const identity = await store().acquire('default')
    const path = join(folder, 'identities')
    expect((await stat(path)).mode & 0o777).toBe(0o700)
    expect((await stat(join(path, 'default.key'))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(path, 'default.key'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
    expect(await files()).toEqual(['default.key', 'default.lock'])
    await identity.release()
    expect(await files()).toEqual(['default.key'])
  })

  it('are held exclusively: the second holder gets the second identity', async () => {
    const first = await store().acquire('default')
    const second = await store().acquire('default')
    expect(toHex(second.key.publicKey)).not.toBe(toHex(first.key.publicKey))
    expect(await files()).toEqual(['default-2.key', 'default-2.lock', 'default.key', 'default.lock'])
    await first.release()
    const third = await store().acquire('default')
    expect(toHex(third.key.publicKey)).toBe(toHex(first.key.publicKey))
  })

  it('are kept apart by name', async () => {
    const one = await store().acquire('one')
    const two = await store().acquire('two')
    expect(toHex(two.key.publicKey)).not.toBe(toHex(one.key.publicKey))
    expect(await files()).toEqual(['one.key', 'one.lock', 'two.key', 'two.lock'])
  })

  it('are given back once: a second release does not take the lock from the next holder', async () => {
    const first = await store().acquire('default')
    await first.release()
    const next = await store().acquire('default')
    await first.release()
    const other = await store().acquire('default')
    expect(toHex(other.key.publicKey)).not.toBe(toHex(next.key.publicKey))
  })

  it('are held against another process, and taken over when it was killed', async () => {
    const { child, publicKey } = await holderProcess()
    const beside = await store().acquire('default')
    expect(toHex(beside.key.publicKey)).not.toBe(publicKey)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const after = await store().acquire('default')
    expect(toHex(after.key.publicKey)).toBe(publicKey)
  })

  it('are different in two processes that start at once, also over a lock that is left', async () => {
    const dead = await holderProcess()
    dead.child.kill('SIGKILL')
    await once(dead.child, 'exit')
    const [a, b] = await Promise.all([holderProcess(), holderProcess()])
    expect(a.publicKey).not.toBe(b.publicKey)
    expect([a.publicKey, b.publicKey]).toContain(dead.publicKey)
    expect(await files()).toEqual(['default-2.key', 'default-2.lock', 'default.key', 'default.lock'])
  })

  it('take a lock over whose process id belongs to another process by now', async () => {
    const first = await store().acquire('default')
    await writeFile(join(folder, 'identities', 'default.lock'), `${process.pid} 1`)
    const second = await store().acquire('default')
    expect(toHex(second.key.publicKey)).toBe(toHex(first.key.publicKey))
  })

  it('cannot be acquired where nothing can be written', async () => {
    await writeFile(join(folder, 'identities'), 'a file is in the way')
    await expect(store().acquire('default')).rejects.toMatchObject({
      reason: ErrorReason.IDENTITY_UNAVAILABLE,
      cause: expect.any(Error),
    })
  })
})

describe('readKeyFile', () => {
  it('creates a key once, however many ask at the same time', async () => {
    const file = join(folder, 'server.key')
    const keys = await Promise.all(Array.from({ length: 10 }, () => readKeyFile(file)))
    expect(new Set(keys.map(({ publicKey }) => toHex(publicKey))).size).toBe(1)
    expect(await readdir(folder)).toEqual(['server.key'])
  })

  it('reads what openssl writes', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const file = join(folder, 'other.key')
    await writeFile(file, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
    const key = await readKeyFile(file)
    expect(Buffer.from(key.publicKey).toString('base64url')).toBe(publicKey.export({ format: 'jwk' }).x)
  })

  it.each([
    ['no PEM at all', () => 'hello', 'is not a PKCS #8 PEM private key'],
    ['an empty file', () => '', 'is not a PKCS #8 PEM private key'],
    [
      'another kind of key',
      () => generateKeyPairSync('x25519').privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
      'holds a key that is not Ed25519',
    ],
  ])('refuses %s and leaves it alone', async (_what, content, message) => {
    const file = join(folder, 'broken.key')
    const text = content()
    await writeFile(file, text, { mode: 0o600 })
    const refused = await readKeyFile(file).catch((error: unknown) => error)
    expect(refused).toMatchObject({ reason: ErrorReason.IDENTITY_UNAVAILABLE })
    expect((refused as Error).message).toContain(message)
    expect(await readFile(file, 'utf8')).toBe(text)
  })

  it('refuses a key that others can read', async () => {
    const file = join(folder, 'open.key')
    await readKeyFile(file)
    await chmod(file, 0o640)
    await expect(readKeyFile(file)).rejects.toMatchObject({ reason: ErrorReason.IDENTITY_UNAVAILABLE })
  })
})

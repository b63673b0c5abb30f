import { createPrivateKey } from 'node:crypto'
import { chmod, link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import {
  ErrorReason,
  fromBase64Url,
  MeshError,
  type SigningKey,
  signingKeyFromSeed,
  systemRandom,
  toHex,
} from '@mesh/core'
import { firstFreeIdentity, type Identity, type IdentityStore } from '../identity/identity.ts'

/**
 * Identities in files: `<directory>/<name>.key`, PKCS #8 PEM (RFC 8410), mode 0600. `<name>.lock` holds the id of the
 * process that uses the identity; a lock whose process is gone is taken over.
 */

/** DER prefix of a PKCS #8 Ed25519 private key (RFC 8410 §7): the 32 byte seed follows. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const SEED_BYTES = 32

/** `$MESH_HOME/identities`, or `~/.mesh/identities`. */
export function defaultIdentityDirectory(): string {
  return join(process.env.MESH_HOME ?? join(homedir(), '.mesh'), 'identities')
}

export function nodeIdentityStore(directory: string = defaultIdentityDirectory()): IdentityStore {
  return {
    async acquire(name) {
      try {
        await mkdir(directory, { recursive: true, mode: 0o700 })
        return await firstFreeIdentity(name, (slot) => tryAcquire(join(directory, slot)))
      } catch (error) {
        if (error instanceof MeshError) throw error
        throw new MeshError(
          ErrorReason.IDENTITY_UNAVAILABLE,
          `identity "${name}" in ${directory} cannot be read or written`,
          {
            cause: error,
          },
        )
      }
    },
  }
}

async function tryAcquire(path: string): Promise<Identity | undefined> {
  const lock = `${path}.lock`
  if (!(await takeLock(lock))) return undefined
  try {
    const key = await readKeyFile(`${path}.key`)
    let released: Promise<void> | undefined
    // Once: by the second time the lock may be somebody else's.
    const release = () => {
      released ??= rm(lock, { force: true })
      return released
    }
    return { key, release }
  } catch (error) {
    await rm(lock, { force: true })
    throw error
  }
}

/**
 * Reads an Ed25519 private key (PKCS #8 PEM), or creates it with mode 0600 when there is none. Rejects with
 * IDENTITY_UNAVAILABLE when the file holds something else or can be read by others.
 */
export async function readKeyFile(file: string): Promise<SigningKey> {
  try {
    const { mode } = await stat(file)
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
      const message = `${file} can be read by other users (mode ${(mode & 0o777).toString(8)}); run: chmod 600 ${file}`
      throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, message)
    }
    return await signingKeyFromSeed(seedFromPem(file, await readFile(file, 'utf8')))
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
  }
  const seed = systemRandom.bytes(SEED_BYTES)
  const body = Buffer.concat([PKCS8_PREFIX, seed]).toString('base64')
  const draft = `${file}.${toHex(systemRandom.bytes(8))}`
  await writeFile(draft, `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`, { mode: 0o600 })
  await chmod(draft, 0o600)
  try {
    // link() and not rename(): whoever comes second keeps the first one's key.
    await link(draft, file)
    return await signingKeyFromSeed(seed)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
    return await signingKeyFromSeed(seedFromPem(file, await readFile(file, 'utf8')))
  } finally {
    await rm(draft, { force: true })
  }
}

function seedFromPem(file: string, pem: string): Uint8Array {
  try {
    const jwk = createPrivateKey(pem).export({ format: 'jwk' })
    if (jwk.crv === 'Ed25519' && jwk.d) return fromBase64Url(jwk.d)
  } catch (cause) {
    throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, `${file} is not a PKCS #8 PEM private key`, { cause })
  }
  throw new MeshError(ErrorReason.IDENTITY_UNAVAILABLE, `${file} holds a key that is not Ed25519`)
}

/** Creates the lock, or takes it over from a process that no longer runs. */
async function takeLock(lock: string): Promise<boolean> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const draft = `${lock}.${toHex(systemRandom.bytes(8))}`
    await writeFile(draft, await describeProcess(process.pid), { mode: 0o600 })
    try {
      await link(draft, lock)
      return true
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    } finally {
      await rm(draft, { force: true })
    }
    const holder = await readLock(lock)
    if (holder === undefined) continue
    if (await isRunning(holder)) return false
    await removeStale(lock, holder)
  }
  return false
}

/** Who holds the lock; undefined when it was given back meanwhile. */
async function readLock(lock: string): Promise<string | undefined> {
  try {
    return await readFile(lock, 'utf8')
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
    return undefined
  }
}

/** Removes the lock only if it still is the stale one: somebody else may have taken it over in between. */
async function removeStale(lock: string, holder: string): Promise<void> {
  const aside = `${lock}.${toHex(systemRandom.bytes(8))}`
  try {
    await rename(lock, aside)
    if ((await readFile(aside, 'utf8')) !== holder) await link(aside, lock)
  } catch (error) {
    if (!isCode(error, 'ENOENT') && !isCode(error, 'EEXIST')) throw error
  } finally {
    await rm(aside, { force: true })
  }
}

/** "pid start-time": process ids are used again, above all in containers, where every process may be number 1. */
async function describeProcess(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // proc(5): the name in parentheses may hold blanks; starttime is field 22, the 20th after it.
  const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  return `${pid} ${startTime}`.trim()
}

async function isRunning(holder: string): Promise<boolean> {
  const pid = Number.parseInt(holder, 10)
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (!isCode(error, 'EPERM')) return false
  }
  return (await describeProcess(pid)) === holder
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code
}

/** A lock between processes: a file that exists while its owner works, holding the owner's process id. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 200

/** Waiting longer than this means the owner hangs: 10 minutes is many times the slowest installation. */
const PATIENCE_MS = 10 * 60_000

/**
 * Runs `work` while holding the lock, waiting for the owner before if there is one. A lock whose owner no longer
 * lives is taken over.
 *
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withFileLock(file, work) {
  const deadlineMs = Date.now() + PATIENCE_MS
  while (!tryAcquire(file)) {
    removeIfAbandoned(file)
    if (Date.now() > deadlineMs)
      throw new Error(`${file} has been held for 10 minutes; remove it if nothing is running`)
    await delay(POLL_MS)
  }
  const release = () => rmSync(file, { force: true })
  process.once('exit', release)
  try {
    return await work()
  } finally {
    process.off('exit', release)
    release()
  }
}

/** @param {string} file */
function tryAcquire(file) {
  const own = `${file}.${process.pid}`
  writeFileSync(own, String(process.pid))
  try {
    linkSync(own, file) // appears at once and with its content, or fails because somebody else's is there
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    rmSync(own, { force: true })
  }
}

/** @param {string} file */
function removeIfAbandoned(file) {
  const owner = ownerOf(file)
  if (owner === undefined || isAlive(owner)) return
  // Another waiter may replace the file between our look and our move: look again at what was moved.
  const moved = `${file}.abandoned.${process.pid}`
  try {
    renameSync(file, moved)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return
    throw error
  }
  if (ownerOf(moved) === owner) rmSync(moved)
  else renameSync(moved, file)
}

/** @param {string} file */
function ownerOf(file) {
  try {
    return Number(readFileSync(file, 'utf8'))
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isCode(error, 'ESRCH')
  }
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function isCode(error, code) {
  return error instanceof Error && 'code' in error && error.code === code
}

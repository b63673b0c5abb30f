import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError } from '../failure.ts'
import { numberedFileName, safeFileName } from './file-name.ts'
import type { FileSink } from './receive-file.ts'

/** How many files of one name a folder may have. */
const MAX_NUMBER = 999

/**
 * A file that is being received: written under a name of its own (".photo.jpg.<random>.part"), and given the sender's name
 * only once it is complete and right. An existing file is never overwritten: the new one becomes "photo (1).jpg".
 */
export class IncomingFile implements FileSink {
  readonly #directory: string
  readonly #name: string
  readonly #draft: string
  readonly #handle: FileHandle
  #open = true

  private constructor(directory: string, name: string, draft: string, handle: FileHandle) {
    this.#directory = directory
    this.#name = name
    this.#draft = draft
    this.#handle = handle
  }

  /** Rejects with the file system's error when the folder cannot be written to. */
  static async create(directory: string, suggestedName: string): Promise<IncomingFile> {
    await mkdir(directory, { recursive: true })
    const name = safeFileName(suggestedName)
    const draft = join(directory, `.${name}.${randomBytes(8).toString('hex')}.part`)
    return new IncomingFile(directory, name, draft, await open(draft, 'wx', 0o600))
  }

  async write(chunk: Uint8Array): Promise<void> {
    let written = 0
    while (written < chunk.length) written += (await this.#handle.write(chunk, written)).bytesWritten
  }

  async keep(): Promise<string> {
    await this.#handle.sync()
    await this.#close()
    for (let number = 0; number <= MAX_NUMBER; number++) {
      const place = join(this.#directory, numberedFileName(this.#name, number))
      if (!(await reserve(place))) continue
      await rename(this.#draft, place)
      return place
    }
    throw new CommandError('EEXIST', `${this.#directory} has ${MAX_NUMBER} files called ${this.#name} already`)
  }

  async discard(): Promise<void> {
    await this.#close()
    await rm(this.#draft, { force: true })
  }

  async #close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#handle.close()
  }
}

/** Takes a name that nobody has, as an empty file that `rename` then replaces. */
async function reserve(place: string): Promise<boolean> {
  try {
    await (await open(place, 'wx', 0o666)).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Bytes that a user may still write to the folder's disk; undefined where that cannot be told. */
export async function freeBytes(directory: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(directory)
    return bavail * bsize
  } catch {
    return undefined // no such call on this file system: writing will show
  }
}

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { CommandError } from '../failure.ts'
import { MAX_CHUNK_BYTES } from './file-channel.ts'
import type { FileSource } from './send-file.ts'

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'this user may not read it',
}

/** A file of this machine to send. Rejects with a CommandError when there is none that could be. */
export async function openOutgoingFile(path: string): Promise<FileSource> {
  try {
    const status = await stat(path)
    if (!status.isFile()) throw new CommandError('NOT_A_FILE', `${path} is not a file`)
    return {
      name: basename(resolve(path)),
      sizeBytes: status.size,
      chunks: (signal) => createReadStream(path, { highWaterMark: MAX_CHUNK_BYTES, signal }),
    }
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException
    throw new CommandError(code, `${path} cannot be sent: ${PROBLEMS[code] ?? code}`, { cause })
  }
}

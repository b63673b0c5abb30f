import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { readKeyFile } from '@mesh/client/node'
import type { SigningKey } from '@mesh/core'

/** `$MESH_HOME/server.key`, or `~/.mesh/server.key`. */
export function defaultServerKeyFile(env: Readonly<Record<string, string | undefined>>): string {
  return join(env.MESH_HOME || join(homedir(), '.mesh'), 'server.key')
}

/** The server's identity, created at the first start: PKCS #8 PEM, mode 0600, in a folder of mode 0700. */
export async function openServerKey(file: string): Promise<SigningKey> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  return readKeyFile(file)
}

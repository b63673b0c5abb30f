import { toHex } from '@mesh/core'
import { nodeIdentityStore } from './identity-store.ts'

/** A process that holds an identity until it is killed: node identity-holder.fixture.ts <directory>. Sends its public key. */
const [directory = ''] = process.argv.slice(2)
const { key } = await nodeIdentityStore(directory).acquire('default')
process.send?.(toHex(key.publicKey))
// The channel to the parent keeps the process alive.
process.on('message', () => {})

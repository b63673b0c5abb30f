import { assembleCast } from '../testing/cast.fixture.ts'
import { discoveryKeyVectors, peerIdVectors, statementVectors, strictVectors } from './keys.fixture.ts'
import { linkVectors } from './link.fixture.ts'
import { nodeProofVectors } from './node.fixture.ts'
import { recordVectors } from './record.fixture.ts'
import { sessionVectors } from './session.fixture.ts'

/** Every file of docs/vectors by its name, as text. The same on every run: all keys and "random" values are fixed. */
export async function allVectors(): Promise<ReadonlyMap<string, string>> {
  const cast = await assembleCast()
  const { sealing, linkKeys, packets } = await linkVectors(cast)
  const files: Record<string, object> = {
    'discovery-keys.json': await discoveryKeyVectors(cast),
    'ed25519-strict.json': strictVectors(),
    'link-keys.json': linkKeys,
    'node-proof.json': await nodeProofVectors(cast),
    'packets.json': packets,
    'peer-ids.json': peerIdVectors(cast),
    'records.json': await recordVectors(cast),
    'sealing.json': sealing,
    'session.json': await sessionVectors(cast),
    'signed-statements.json': await statementVectors(cast),
  }
  return new Map(Object.entries(files).map(([name, content]) => [name, `${JSON.stringify(content, null, 2)}\n`]))
}

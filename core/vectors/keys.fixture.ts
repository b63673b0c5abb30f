import { toHex, utf8Encode } from '../bytes.ts'
import { formatPeerId } from '../identity/peer-id.ts'
import type { StatementName } from '../identity/statement.ts'
import { signStatement, statementBytes } from '../identity/statement.ts'
import { discoveryKey, identityTopic, partyFromName, partyFromPublicKey } from '../membership/topic.ts'
import { seededRandom } from '../random.ts'
import type { Cast } from '../testing/cast.fixture.ts'
import { SPECCHECK_ACCEPTED, SPECCHECK_VECTORS } from '../testing/ed25519-speccheck.fixture.ts'

const STATEMENT_NAMES: readonly StatementName[] = [
  'session-client',
  'session-server',
  'session-node',
  'origin-state',
  'membership',
  'signal',
  'credential',
  'alias',
]

/** discovery-keys.json */
export async function discoveryKeyVectors(cast: Cast): Promise<object> {
  const random = seededRandom(1)
  const publicKeys = [cast.party.publicKey, cast.alice.key.publicKey, random.bytes(32)]
  const names = ['our-party', 'Our-Party', 'café', '🦔']
  return {
    about: 'Topics and secrets of a party, from its public key or its name. All values are hexadecimal.',
    keys: publicKeys.map((key) => ({
      publicKey: toHex(key),
      discoveryKey: toHex(discoveryKey(key)),
      identityTopic: toHex(identityTopic(key)),
      partyPsk: toHex(partyFromPublicKeyOf(key)),
    })),
    names: await Promise.all(
      names.map(async (name) => {
        const { publicKey, topic, psk } = await partyFromName(name)
        return { name, publicKey: hexOf(publicKey), topic: toHex(topic), psk: hexOf(psk) }
      }),
    ),
  }
}

/** peer-ids.json */
export function peerIdVectors(cast: Cast): object {
  const peers = [cast.alice, cast.bob, cast.mallory].map(({ key }) => key.publicKey)
  const id = formatPeerId(cast.alice.key.publicKey)
  return {
    about: 'Peer ids: Bech32m of the Ed25519 public key. Positions count from 1.',
    valid: peers.map((key) => ({ publicKey: toHex(key), peerId: formatPeerId(key) })),
    invalid: [
      { text: '', fault: 'prefix' },
      { text: id.toUpperCase(), fault: 'prefix' },
      { text: `mesh2${id.slice(5)}`, fault: 'prefix' },
      { text: id.slice(0, -1), fault: 'length' },
      { text: `${id}q`, fault: 'length' },
      { text: `${id.slice(0, 9)}b${id.slice(10)}`, fault: 'character', position: 10 },
      { text: `${id.slice(0, 9)}${id[9] === 'q' ? 'p' : 'q'}${id.slice(10)}`, fault: 'checksum', position: 10 },
      { text: formatPeerId(new Uint8Array(32)), fault: 'key' },
    ],
  }
}

/** ed25519-strict.json */
export function strictVectors(): object {
  return {
    about: 'Strict Ed25519: what every implementation of MESH must accept and refuse.',
    source: 'github.com/novifinancial/ed25519-speccheck, cases.json (Apache-2.0); "Taming the many EdDSAs", SSR 2020',
    vectors: SPECCHECK_VECTORS.map((vector, number) => ({ number, ...vector, valid: number === SPECCHECK_ACCEPTED })),
  }
}

/** signed-statements.json */
export async function statementVectors(cast: Cast): Promise<object> {
  const statement = utf8Encode('any bytes')
  return {
    about: 'signature = Ed25519(u8(length of label) || label || statement), label = "mesh/1 " + name.',
    seed: toHex(cast.alice.seed),
    publicKey: toHex(cast.alice.key.publicKey),
    statement: toHex(statement),
    statements: await Promise.all(
      STATEMENT_NAMES.map(async (name) => ({
        name,
        signedBytes: toHex(statementBytes(name, statement)),
        signature: toHex(await signStatement(cast.alice.key, name, statement)),
      })),
    ),
  }
}

function partyFromPublicKeyOf(key: Uint8Array): Uint8Array {
  return partyFromPublicKey(key).psk as Uint8Array
}

function hexOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : toHex(bytes)
}

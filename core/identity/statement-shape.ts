import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf'
import type { SignedStatement } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { ErrorReason, MeshError } from '../error.ts'

/** 1 KiB: the longest, a session proof, has 128 bytes of challenge, 512 of origin, 32 + 32 + 16 of keys and nonce, and framing. */
const MAX_STATEMENT_BYTES = 1_024

/**
 * The statement in a copy that nobody else can change between the parse and the verification.
 * @throws MeshError INVALID_ARGUMENT when it is too long to be one; `what` names it
 */
export function boundedStatement(signed: SignedStatement, what: string): Uint8Array {
  if (signed.statement.length > MAX_STATEMENT_BYTES) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, `The ${what} is too long`, {
      limit: 'max_statement_bytes',
      limitValue: MAX_STATEMENT_BYTES,
      value: signed.statement.length,
    })
  }
  return Uint8Array.from(signed.statement)
}

/** @throws MeshError INVALID_ARGUMENT when the bytes are no such message */
export function parseStatement<Desc extends DescMessage>(
  schema: Desc,
  statement: Uint8Array,
  what: string,
): MessageShape<Desc> {
  try {
    return fromBinary(schema, statement)
  } catch (cause) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, `The ${what} is not a protobuf message`, { cause })
  }
}

/** Refuses a field that is out of shape: INVALID_ARGUMENT, with the field's name. */
export function shapeCheck(what: string): (holds: boolean, field: string, value?: number) => void {
  return (holds, field, value) => {
    if (holds) return
    const found = value === undefined ? '' : ` (${value})`
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, `The ${what}'s ${field} is missing or wrong${found}`)
  }
}

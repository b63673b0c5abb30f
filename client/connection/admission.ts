import { attachEvidence, type Party, verifyAttachEvidence } from '@mesh/core'

/**
 * Who may be in a swarm. Both sides of a link present evidence for every topic they share, inside the link, so no server sees
 * it; nothing of the application crosses before it is accepted.
 */
export interface Admission {
  /** Evidence for the other side; at most 8 KiB. A rejection keeps the topic off the link. */
  present(context: AdmissionContext): Promise<Uint8Array>
  /** Whether the other side's evidence admits it. A rejection counts as no. */
  verify(context: AdmissionContext, evidence: Uint8Array): Promise<boolean>
}

export interface AdmissionContext {
  readonly topic: Uint8Array
  /** Ed25519 public keys of this side and the other. */
  readonly ownKey: Uint8Array
  readonly peerKey: Uint8Array
  /** 32 bytes, the same on both sides and different for every link: evidence bound to it cannot be used on another link. */
  readonly transcriptHash: Uint8Array
}

/** Knowing the party's public key (or name) admits; a bare topic admits everybody. */
export function partyAdmission({ psk }: Party): Admission {
  if (!psk) return { present: async () => new Uint8Array(0), verify: async () => true }
  return {
    present: ({ ownKey, transcriptHash }) => attachEvidence(psk, ownKey, transcriptHash),
    verify: ({ peerKey, transcriptHash }, evidence) => verifyAttachEvidence(psk, peerKey, transcriptHash, evidence),
  }
}

import type { SourceMutation } from '../../seeds/source-mutation.ts'
import { MESSAGE_MUTATIONS } from './message-mutations.ts'
import { REPLICATION_MUTATIONS } from './replication-mutations.ts'

/** Mistakes somebody could make in the machines of federation, and how soon the simulation has to notice each. */
export const FEDERATION_MUTATIONS: readonly SourceMutation[] = [...REPLICATION_MUTATIONS, ...MESSAGE_MUTATIONS]

import { backplaneContract } from '../testing/backplane-contract.ts'
import { LocalBackplane } from './local-backplane.ts'

backplaneContract(
  'the backplane of a server that stands alone',
  (directory, clock) => new LocalBackplane(directory, clock),
)

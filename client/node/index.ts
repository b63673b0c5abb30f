/** @mesh/client/node: what Node programs around the SDK need, beside `@mesh/client` itself. Not for browsers. */
export { defaultIdentityDirectory, readKeyFile } from './identity-store.ts'

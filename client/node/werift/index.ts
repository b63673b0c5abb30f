/** Hardened werift: the WebRTC implementation the SDK uses in Node unless another one is injected. */
export { type WeriftOptions, weriftFactory } from './factory.ts'

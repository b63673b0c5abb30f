/** Bytes the application hands over at a time, in every variant: the most that fits one frame of a link. */
export const WRITE_BYTES = 16_000

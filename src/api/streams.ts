/**
 * abandonable: an async generator that also cleans up when it is let go of before its first step.
 *
 * `return()` on a generator that never ran does not enter it, so no `finally` inside is reached; a response whose client left before the
 * first byte would then keep its query.
 */
export function abandonable(generator: AsyncGenerator<Uint8Array>, abandon: () => void): AsyncIterable<Uint8Array> {
  let started = false;
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => {
      started = true;
      return generator.next();
    },
    return: () => {
      if (!started) abandon();
      started = true;
      return generator.return(undefined);
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Waiting before another attempt: exponential, with full jitter, so that a crowd does not come back as one. */

export class Backoff {
  #failures = 0;

  constructor({ base = 1000, most = 30_000, random }) {
    Object.assign(this, { base, most, random });
  }

  next() {
    return this.random() * Math.min(this.most, this.base * 2 ** this.#failures++);
  }

  reset() {
    this.#failures = 0;
  }
}

/** Calls `once(attempt)` up to three times, as long as a repeat can mend it. `Retry-After` is obeyed up to a minute. */
export async function persistently(once, { backoff, sleep }) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(attempt);
    } catch (error) {
      if (!error.retryable || attempt === 3) throw error;
      await sleep(Math.max(backoff.next(), Math.min(error.retryAfterMs ?? 0, 60_000)));
    }
  }
}

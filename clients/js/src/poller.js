/** Asking again and again: by long-poll while that works and there is room, by short poll otherwise. */

import { Backoff } from './backoff.js';
import { sleep } from './clock.js';

const WAIT_SECONDS = 25;
const LEAST_MS = 250; // between two polls, whatever anybody says
const STRIKES = 2; // long-polls that fail, or do not wait

/** Long-polls at once: of a browser's six connections to a host some must be free, or a click would wait too. */
export class LongPolls {
  #free;

  constructor(most = 2) {
    this.#free = most;
  }

  take() {
    if (this.#free === 0) return false;
    this.#free -= 1;
    return true;
  }

  give() {
    this.#free += 1;
  }
}

export class Poller {
  #options;
  #backoff;
  #strikes = 0;
  #run = null;

  /** `options`: fetchJob, cursor(), clock, longPolls, pollMs, onAnswer(source, job), onFailure(error) -> go on? */
  constructor(options) {
    this.#options = options;
    this.#backoff = new Backoff({ random: options.clock.random });
  }

  get running() {
    return this.#run !== null;
  }

  start() {
    if (this.#run) return;
    this.#run = new AbortController();
    void this.#loop(this.#run);
  }

  stop() {
    this.#run?.abort();
    this.#run = null;
  }

  /** Begins anew: the socket died, the device woke up, or the network is back. */
  hurry() {
    if (!this.#run) return;
    this.stop();
    this.start();
  }

  async #loop({ signal }) {
    // The first one does not wait: it shows at once whether plain requests come through.
    for (let first = true; !signal.aborted; first = false) {
      const ms = await this.#once(first, signal);
      await sleep(this.#options.clock, Math.max(LEAST_MS, ms), signal);
    }
  }

  /** One poll; answers how long to wait before the next one. */
  async #once(first, signal) {
    const { clock, longPolls } = this.#options;
    const after = this.#options.cursor();
    const may = this.#strikes < STRIKES && after !== null;
    const long = may && !first && longPolls.take();
    const began = clock.now();
    try {
      const answer = await this.#options.fetchJob({ wait: long ? WAIT_SECONDS : 0, after, signal });
      if (signal.aborted) return 0;
      this.#backoff.reset();
      this.#options.onAnswer(long || (first && may) ? 'long-poll' : 'poll', answer.job);
      if (first && may) return 0;
      return this.#rest(answer, long, long && answer.job === null && clock.now() - began < 1000);
    } catch (error) {
      if (signal.aborted || !this.#options.onFailure(error)) return 0;
      if (long) this.#strikes += 1;
      return Math.max(this.#backoff.next(), error.retryAfterMs ?? 0);
    } finally {
      if (long) longPolls.give();
    }
  }

  #rest(answer, long, hollow) {
    // Where nobody waits, a long-poll would become a storm.
    if (hollow) this.#strikes += 1;
    else if (long) this.#strikes = 0;
    if (long && !hollow) return 0;
    const hint = answer.retryAfterMs ?? answer.job?.poll_after_ms ?? this.#options.pollMs;
    return hint * (0.9 + 0.2 * this.#options.clock.random());
  }
}

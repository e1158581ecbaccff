/** Jobs on their way to a `for await`. Of mere progress only the latest waits for a slow reader; states are few. */

import { isAhead } from './cursor.js';

export class Stream {
  #waiting = [];
  #ended = false;
  #error = null;
  #wake = null;

  push(job) {
    const last = this.#waiting.at(-1);
    if (last && !isAhead(job.cursor, last.cursor)) this.#waiting.pop();
    this.#waiting.push(job);
    this.#wake?.();
  }

  /** What waits is still read, then the error is thrown, if there is one. */
  end(error) {
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *read() {
    for (;;) {
      while (this.#waiting.length) yield this.#waiting.shift();
      if (this.#error) throw this.#error;
      if (this.#ended) return;
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}

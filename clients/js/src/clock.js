/** Time, as everything here gets it, so that a test can bring its own. */

export const systemClock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/** Timers with names, cleared together. Setting one again replaces it. */
export class Timers {
  #clock;
  #running = new Map();

  constructor(clock) {
    this.#clock = clock;
  }

  set(name, ms, callback) {
    this.clear(name);
    const fire = () => {
      this.#running.delete(name);
      callback();
    };
    this.#running.set(name, this.#clock.setTimeout(fire, ms));
  }

  clear(name) {
    this.#clock.clearTimeout(this.#running.get(name));
    this.#running.delete(name);
  }

  clearAll() {
    for (const name of [...this.#running.keys()]) this.clear(name);
  }

  has(name) {
    return this.#running.has(name);
  }
}

export function sleep(clock, ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = clock.setTimeout(wake, ms);
    function wake() {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', wake);
      resolve();
    }
    signal?.addEventListener('abort', wake);
  });
}

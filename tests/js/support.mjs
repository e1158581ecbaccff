/** What the tests share: a clock that stands still, a socket without a wire, and waiting for a condition. */

import { setTimeout as pause } from 'node:timers/promises';

/** Time that moves only by `advance`. */
export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;
  constructor(random = 0.5) {
    this.random = () => random;
  }
  now = () => this.#now;
  setTimeout = (callback, ms) => {
    this.#timers.set(++this.#last, { at: this.#now + ms, callback });
    return this.#last;
  };
  clearTimeout = (timer) => void this.#timers.delete(timer);
  get pending() {
    return this.#timers.size;
  }
  /** Lets `ms` pass; whatever a timer sets off is settled before the next one. */
  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due[1].at);
      this.#timers.delete(due[0]);
      due[1].callback();
    }
    this.#now = end;
    await settled();
  }
}

/** Every promise that can go on has gone on. */
export async function settled() {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}

/** A WebSocket whose other end is the test. Make a class for each test with `wire()`. */
export function wire() {
  return class Wire {
    static all = [];
    static get last() {
      return this.all.at(-1);
    }
    readyState = 0;
    sent = [];
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      this.constructor.all.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.readyState = 3;
    }
    open() {
      this.readyState = 1;
      this.onopen?.({});
      this.hear({ type: 'connected', session: 's', ping_interval_ms: 10_000 });
    }
    hear(frame) {
      this.onmessage?.({ data: JSON.stringify(frame) });
    }
    answer() {
      this.hear({ type: 'pong' });
    }
    die(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ code, reason: '' });
    }
  };
}

export class FakeStorage {
  #items = new Map();
  getItem = (name) => this.#items.get(name) ?? null;
  setItem = (name, value) => void this.#items.set(name, String(value));
}

/** Waits until `condition()` holds; says what it waited for when it never does. */
export async function until(condition, what = String(condition)) {
  for (let turn = 0; turn < 1500; turn++) {
    const value = await condition();
    if (value) return value;
    await pause(10);
  }
  throw new Error(`never came true: ${what}`);
}

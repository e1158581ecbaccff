/**
 * Some boxes accept a socket and kill it a moment later, for ever. Three early deaths are remembered for
 * ten minutes, per origin and kind of network: long enough not to flap, short enough for a laptop to come home.
 */

const NAME = 'safelight.networks';
const PATIENCE = 3;
const TOGETHER_MS = 1000; // several sockets that die at once are one event
const MEMORY_MS = 600_000;

export class Networks {
  #service;
  #env;
  #memory = {};

  constructor(service, env) {
    this.#service = service;
    this.#env = env;
  }

  failed() {
    const { count, at } = this.#record();
    const now = this.#env.clock.now();
    if (count && now - at < TOGETHER_MS) return;
    this.#write({ count: count + 1, at: now });
  }

  worked() {
    if (this.#record().count) this.#write(null);
  }

  get clean() {
    return this.#record().count === 0;
  }

  /** Milliseconds for which sockets are not worth trying here. */
  get avoidMs() {
    const { count, at } = this.#record();
    return count < PATIENCE ? 0 : Math.max(0, at + MEMORY_MS - this.#env.clock.now());
  }

  get #key() {
    return `${this.#service} ${this.#env.navigator?.connection?.type ?? 'unknown'}`;
  }

  #record() {
    const record = this.#read()[this.#key];
    const fresh = record && this.#env.clock.now() - record.at < MEMORY_MS && record.at <= this.#env.clock.now();
    return fresh ? record : { count: 0, at: 0 };
  }

  #read() {
    try {
      return JSON.parse(this.#env.storage.getItem(NAME)) ?? {};
    } catch {
      return this.#memory;
    }
  }

  #write(record) {
    this.#memory = { ...this.#read(), [this.#key]: record };
    try {
      this.#env.storage.setItem(NAME, JSON.stringify(this.#memory));
    } catch {
      // no storage: remembered by this page alone
    }
  }
}

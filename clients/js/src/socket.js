/**
 * One WebSocket from birth to death; what its life means is decided by watch.js.
 * `answered`: the first round trip. `good`: answered, and old enough. `dead`: once, closed, refused or silent.
 */

import { Timers } from './clock.js';

const OPENING_MS = 10_000;

export class Socket {
  #timers;
  #options;
  #socket;
  #bornAt;
  #opened = false;
  #answered = false;
  #good = false;
  #dead = false;
  #silenceMs;
  #goawayMs = 0;

  constructor(options) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
    this.#silenceMs = options.silenceMs;
    this.#bornAt = options.clock.now();
    this.#socket = new options.WebSocket(options.url, options.protocols);
    this.#socket.onopen = () => this.#open();
    this.#socket.onmessage = (event) => this.#hear(event.data);
    this.#socket.onclose = (event) => this.#die(event.code || 1006, event.reason || 'closed');
    // `close` follows and tells more; but not in every version of Node.
    this.#socket.onerror = () => this.#timers.set('error', 0, () => this.#die(1006, 'failed'));
    this.#timers.set('opening', OPENING_MS, () => this.#die(1006, 'did not open'));
  }

  get readyState() {
    return this.#socket.readyState;
  }

  get answered() {
    return this.#answered;
  }

  get good() {
    return this.#good;
  }

  /** Asks for a sign of life: after a sleep a socket can be dead without knowing it. */
  probe(ms) {
    if (!this.#opened) return;
    this.#timers.set('probe', ms, () => this.#die(1006, 'silent'));
    this.#ping();
  }

  /** Ends it without a word to anybody. */
  close() {
    this.#dead = true;
    this.#timers.clearAll();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onerror = this.#socket.onclose = null;
    try {
      this.#socket.close(1000);
    } catch {
      // it never came so far
    }
  }

  #open() {
    this.#opened = true;
    this.#timers.clear('opening');
    this.#listen();
    this.#ping();
    this.#timers.set('good', this.#options.goodAfterMs, () => this.#judge());
  }

  #ping() {
    if (this.#socket.readyState === 1) this.#socket.send('{"type":"ping"}');
  }

  #hear(text) {
    const frame = read(text);
    if (this.#dead || !frame) return;
    this.#timers.clear('probe');
    if (frame.type === 'connected') this.#silenceMs = Math.max(this.#silenceMs, 1.5 * (frame.ping_interval_ms || 0));
    this.#listen();
    if (frame.type === 'goaway') this.#goawayMs = frame.reconnect_after_ms || 0;
    if (frame.type === 'pong' && !this.#answered) {
      this.#answered = true;
      this.#options.onAnswered(this.#options.clock.now() - this.#bornAt);
      this.#judge();
    }
    if (!this.#dead) this.#options.onFrame(frame);
  }

  #listen() {
    this.#timers.set('silence', this.#silenceMs, () => this.#die(1006, 'silent'));
  }

  #judge() {
    if (this.#good || !this.#answered || this.#timers.has('good')) return;
    this.#good = true;
    this.#options.onGood();
  }

  #die(code, reason) {
    if (this.#dead) return;
    this.close();
    this.#options.onDead({
      code,
      reason,
      opened: this.#opened,
      good: this.#good,
      livedMs: this.#options.clock.now() - this.#bornAt,
      goawayMs: this.#goawayMs,
    });
  }
}

function read(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === 'string' ? frame : null;
  } catch {
    return null;
  }
}

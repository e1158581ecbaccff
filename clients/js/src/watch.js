/**
 * Watching one job to its end. A Socket and a Poller feed one view (job.js), which keeps the order. The rule:
 * polling runs whenever no good socket does, so nothing is late; a good socket ends polling.
 */

import { Backoff } from './backoff.js';
import { Timers } from './clock.js';
import { isAhead } from './cursor.js';
import { SafelightError, aborted } from './errors.js';
import { hasEnded, withFrame, withJob } from './job.js';
import { Poller } from './poller.js';
import { Socket } from './socket.js';
import { Stream } from './stream.js';

const TIMING = { goodAfterMs: 3000, silenceMs: 15_000, pollMs: 2000, probeMs: 3000, getMs: 5000 };

const FATAL = [400, 401, 403, 404, 410]; // asking again cannot mend these
const CODES = {
  4501: ['job_not_found', 'There is no such job.'],
  4502: ['job_expired', 'This job is over and its time of storage has passed.'],
};

export class Watch {
  #id;
  #options;
  #timing;
  #timers;
  #backoff;
  #poller;
  #view = { job: null, whole: false };
  #socket = null;
  #suspicions = 0; // early deaths, until a poll shows that it was not the whole network
  #forbidden = false; // no socket is wanted; polling may still be let in
  #ending = false;
  #stopped = false;
  #connection = { source: null, status: 'connecting', session: null, error: null };
  #stream = new Stream();
  #life = new AbortController();
  #settle;

  /** Made by `Safelight.watch`; see index.d.ts. */
  constructor(id, options) {
    this.#id = id;
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#timers = new Timers(options.clock);
    this.#backoff = new Backoff({ random: options.clock.random });
    this.done = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.done.catch(() => {}); // nobody has to ask for it
    this.#poller = new Poller({
      clock: options.clock,
      longPolls: options.longPolls,
      pollMs: this.#timing.pollMs,
      fetchJob: options.fetchJob,
      cursor: () => this.job?.cursor ?? null,
      onAnswer: (source, job) => this.#polled(source, job),
      onFailure: (error) => this.#pollFailed(error),
    });
    options.signal?.addEventListener('abort', this.stop);
    // After the caller has got hold of this object.
    queueMicrotask(() => (options.signal?.aborted ? this.stop() : this.#start()));
  }

  get job() {
    return this.#view.job;
  }

  get connection() {
    return { ...this.#connection, readyState: this.#socket?.readyState ?? 3, cursor: this.job?.cursor ?? null };
  }

  stop = () => {
    this.#finish(aborted(this.#options.signal?.reason));
  };

  async *[Symbol.asyncIterator]() {
    try {
      yield* this.#stream.read();
    } finally {
      this.stop();
    }
  }

  #start() {
    if (this.#stopped) return;
    this.#hearPage('addEventListener');
    const { job } = this.#options;
    if (job) this.#apply(withJob(this.#view, job));
    if (this.#stopped || this.#ending) return;
    this.#poll();
    this.#connect();
  }

  // ---- the socket ----

  #connect({ anyway = false } = {}) {
    const { WebSocket, networks, transport, navigator } = this.#options;
    if (this.#stopped || this.#ending || this.#socket || this.#forbidden) return;
    if (!WebSocket || transport === 'polling') return this.#tell({ status: 'disconnected' });
    if (navigator?.onLine === false) return this.#tell({ status: 'disconnected' }); // `online` comes back here
    this.#timers.clear('connect');
    if (networks.avoidMs && !anyway) {
      this.#say('live', 'Network kills sockets', { retryMs: networks.avoidMs });
      this.#timers.set('connect', networks.avoidMs, () => this.#connect());
      return this.#tell({ status: 'disconnected' });
    }
    if (this.#trusting) this.#tell({ status: 'connecting' });
    try {
      this.#socket = this.#open();
    } catch {
      this.#forbidden = true; // by the page's policy, for example
      this.#tell({ status: 'disconnected' });
    }
  }

  #open() {
    const { liveUrl, protocols, WebSocket, clock } = this.#options;
    return new Socket({
      url: liveUrl(this.job?.cursor),
      protocols: protocols(),
      WebSocket,
      clock,
      ...this.#timing,
      onFrame: (frame) => this.#heard(frame),
      onAnswered: (roundTripMs) => {
        this.#say('live', 'WebSocket answered', { roundTripMs });
        if (this.#trusting) this.#tell({ source: 'websocket', status: 'connected', error: null });
      },
      onGood: () => this.#good(),
      onDead: (end) => this.#dead(end),
    });
  }

  /** Where no socket died young, the first round trip is enough to call it live. */
  get #trusting() {
    return this.#suspicions === 0 && this.#options.networks.clean;
  }

  #good() {
    this.#say('live', 'WebSocket connected', { session: this.#connection.session });
    this.#suspicions = 0;
    this.#options.networks.worked();
    this.#backoff.reset();
    this.#tell({ source: 'websocket', status: 'connected', error: null });
    if (this.#poller.running) this.#say('poll', 'Stopped polling mode');
    this.#poller.stop();
  }

  #dead({ code, reason, opened, good, livedMs, goawayMs }) {
    this.#socket = null;
    this.#say('live', 'WebSocket closed', { code, reason, opened, good, livedMs });
    if (CODES[code]) return this.#finish(new SafelightError(...CODES[code], { status: code === 4501 ? 404 : 410 }));
    this.#forbidden = code >= 4500 && code <= 4999;
    // A server that goes away says so; the network is not to blame.
    const told = code === 1001 || code === 1012 || (code >= 4000 && code <= 4499);
    if (!told && !good) this.#suspicions += 1;
    this.#say('live', 'switching to polling mode', { code });
    this.#tell({ status: 'disconnected', session: null });
    this.#poll();
    if (!this.#forbidden) this.#timers.set('connect', goawayMs + this.#backoff.next(), () => this.#connect());
  }

  #heard(frame) {
    if (frame.type === 'connected') return this.#tell({ session: frame.session });
    if (frame.type === 'ping') return this.#compare(frame.cursors?.[this.#id]);
    if (frame.type === 'gap' || frame.type === 'error') return this.#say('live', 'Server said', frame);
    if (frame.job === this.#id) this.#apply(withFrame(this.#view, frame));
  }

  /** Whoever is behind the cursor of a ping has lost something. */
  #compare(newest) {
    if (!newest || !isAhead(newest, this.job?.cursor)) return;
    this.#say('live', 'Missed events', { newest, cursor: this.job?.cursor });
    void this.#snapshot();
  }

  // ---- polling ----

  #poll() {
    if (this.#stopped || this.#ending) return;
    if (this.#poller.running) return this.#poller.hurry();
    this.#say('poll', 'Starting polling mode for job updates...', { job: this.#id });
    this.#poller.start();
  }

  #polled(source, job) {
    if (this.#suspicions) this.#options.networks.failed();
    this.#suspicions = 0;
    const live = this.#socket?.answered && this.#connection.source === 'websocket';
    this.#tell(live ? { error: null } : { source, error: null });
    if (job) this.#apply(withJob(this.#view, job));
  }

  #pollFailed(error) {
    this.#sayFailed(error);
    if (FATAL.includes(error.status) && error.code !== 'cursor_invalid') {
      this.#finish(error);
      return false;
    }
    this.#tell({ error });
    return true;
  }

  async #snapshot() {
    const job = await this.#get(this.job?.cursor);
    if (job) this.#apply(withJob(this.#view, job));
  }

  /** One GET, outside of polling, which finds out itself if something is wrong; null when there is no news. */
  async #get(after) {
    const how = { after, signal: this.#life.signal, timeoutMs: this.#timing.getMs };
    try {
      return (await this.#options.fetchJob(how)).job;
    } catch (error) {
      this.#sayFailed(error);
      return null;
    }
  }

  // ---- the page ----

  #hearPage(verb) {
    const { document, window, navigator } = this.#options;
    document?.[verb]?.('visibilitychange', this.#visible);
    window?.[verb]?.('pageshow', this.#visible);
    window?.[verb]?.('online', this.#online);
    navigator?.connection?.[verb]?.('change', this.#online);
  }

  #visible = (event) => {
    if (event.type === 'pageshow' && !event.persisted) return;
    if (this.#options.document?.visibilityState !== 'hidden') void this.#wake({});
  };

  // Perhaps another network, so one try is free.
  #online = () => void this.#wake({ anyway: true });

  async #wake(how) {
    if (this.#stopped || this.#ending) return;
    this.#backoff.reset();
    this.#poller.hurry();
    await this.#snapshot();
    if (this.#socket) this.#socket.probe(this.#timing.probeMs);
    else this.#connect(how);
  }

  // ---- the view, and the end ----

  #apply(view) {
    if (view === this.#view || this.#stopped || this.#ending) return;
    this.#view = view;
    if (hasEnded(view.job)) void this.#end();
    else this.#emit();
  }

  /** Frames leave out what is large, so the last word is the whole job. */
  async #end() {
    this.#ending = true;
    this.#silence();
    if (!this.#view.whole) {
      const job = await this.#get();
      if (hasEnded(job)) this.#view = { job, whole: true };
    }
    this.#finish(null);
  }

  #emit() {
    this.#stream.push(this.job);
    this.#options.onChange?.(this.job, this.connection);
  }

  #finish(error) {
    if (this.#stopped) return;
    this.#silence();
    if (!error) this.#emit();
    this.#stopped = true;
    this.#life.abort();
    this.#stream.end(error?.code === 'aborted' ? null : error);
    if (!error) return this.#settle.resolve(this.job);
    if (error.code !== 'aborted') this.#options.onError?.(error);
    this.#settle.reject(error);
  }

  #silence() {
    if (this.#poller.running) this.#say('poll', 'Stopped polling mode');
    this.#poller.stop();
    this.#socket?.close();
    this.#socket = null;
    this.#timers.clearAll();
    this.#hearPage('removeEventListener');
    this.#options.signal?.removeEventListener('abort', this.stop);
    this.#connection = { ...this.#connection, status: 'disconnected', session: null };
  }

  #tell(news) {
    if (this.#stopped || Object.entries(news).every(([name, value]) => this.#connection[name] === value)) return;
    this.#connection = { ...this.#connection, ...news };
    this.#options.onConnection?.(this.connection);
  }

  #sayFailed({ code, message }) {
    this.#say('poll', `Failed to poll job ${this.#id}: ${message}`, { code });
  }

  #say(namespace, event, details) {
    this.#options.say(namespace, event, { job: this.#id, ...details });
  }
}

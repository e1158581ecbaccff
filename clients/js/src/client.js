/** Submit pictures, follow their jobs, fetch what came out; index.d.ts says what goes in and comes back. */

import { Backoff, persistently } from './backoff.js';
import { sleep, systemClock } from './clock.js';
import { speaker } from './debug.js';
import { SafelightError, fromAnswer, milliseconds } from './errors.js';
import { ask, upload } from './http.js';
import { Networks } from './networks.js';
import { LongPolls } from './poller.js';
import { uuid7 } from './uuid.js';
import { Watch } from './watch.js';

export class Safelight {
  #base;
  #key;
  #env;
  #tokens = new Map();
  #networks;
  #longPolls = new LongPolls();
  #transport;
  #say;

  /** Everything has a default in a browser, and everything can be replaced. */
  constructor({ url, key = null, transport = 'auto', onEvent, ...env } = {}) {
    this.#base = String(new URL(url ?? location.origin)).replace(/\/+$/, '');
    this.#key = key;
    this.#transport = transport;
    this.#env = { clock: systemClock, ...surroundings(), ...env };
    this.#say = speaker({ storage: this.#env.storage, console: this.#env.console, onEvent });
    this.#networks = new Networks(this.#base, this.#env);
  }

  set key(key) {
    this.#key = key;
  }

  set transport(transport) {
    this.#transport = transport;
  }

  url(path) {
    return /^https?:/.test(path) ? path : this.#base + path;
  }

  trust(id, token) {
    if (token) this.#tokens.set(id, token);
  }

  /** One picture gives its job; a list gives `[{file, job, error}]`, or one job with `together`. */
  async submit(files, { together = false, onUpload, onResult, ...options }) {
    const list = isBlob(files) ? [files] : [...files];
    if (isBlob(files)) return this.#submit(files, { ...options, onBytes: meter(list, onUpload) });
    if (together) return this.#submit(list, { ...options, onBytes: meter(list, onUpload) });
    const results = [];
    for (const [index, file] of list.entries()) {
      const result = { file, job: null, error: null };
      try {
        result.job = await this.#submit(file, { ...options, id: undefined, onBytes: meter(list, onUpload, index) });
      } catch (error) {
        if (error.code === 'aborted') throw error;
        result.error = error;
      }
      results.push(result);
      onResult?.({ ...result, index });
    }
    return results;
  }

  watch(jobOrId, { token, ...options } = {}) {
    const job = typeof jobOrId === 'string' ? null : jobOrId;
    const id = job?.id ?? jobOrId;
    this.trust(id, token ?? job?.token);
    return new Watch(id, {
      ...this.#env,
      transport: this.#transport,
      ...options,
      job,
      networks: this.#networks,
      longPolls: this.#longPolls,
      say: this.#say,
      fetchJob: (how) => this.#fetchJob(id, how),
      liveUrl: (after) => this.#liveUrl(id, after),
      protocols: () => ['safelight.v1', ...(this.#credential(id) ? [`token.${this.#credential(id)}`] : [])],
    });
  }

  async get(id, { signal } = {}) {
    return (await this.#fetchJob(id, { signal })).job;
  }

  cancel(id) {
    return this.#json('POST', `/api/jobs/${id}/cancel`, { id });
  }

  retry(id) {
    return this.#json('POST', `/api/jobs/${id}/retry`, { id });
  }

  list({ state, pipeline, limit, page, signal } = {}) {
    return this.#json('GET', `/api/jobs${query({ state, pipeline, limit, page })}`, { signal });
  }

  async events(id) {
    return (await this.#json('GET', `/api/jobs/${id}/events`, { id })).events;
  }

  async pipelines({ signal } = {}) {
    return (await this.#json('GET', '/api/pipelines', { signal })).pipelines;
  }

  async #submit(files, { pipeline, params, priority, id = uuid7(), name, signal, onBytes }) {
    const { clock } = this.#env;
    const text = params && Object.keys(params).length ? JSON.stringify(params) : undefined;
    const body = isBlob(files) ? files : form(files, { pipeline, params: text, priority });
    const path = `/api/jobs/${id}${body === files ? query({ pipeline, params: text, priority, name: name ?? files.name }) : ''}`;
    const headers = body === files ? { 'Content-Type': files.type || 'application/octet-stream' } : {};
    const job = await persistently(
      async (attempt) => {
        const once = { method: 'PUT', url: this.url(path), headers: { ...headers, ...this.#bearer() }, body, signal };
        try {
          return parsed(await this.#send(once, (bytes) => onBytes(bytes, attempt)));
        } catch (error) {
          this.#say('upload', `Upload failed: ${error.message}`, { job: id, attempt, code: error.code });
          throw error;
        }
      },
      {
        backoff: new Backoff({ random: clock.random, base: this.#env.timing?.retryMs }),
        sleep: (ms) => sleep(clock, ms, signal),
      },
    );
    this.trust(job.id, job.token);
    this.#say('upload', 'Job created', { job: job.id });
    return job;
  }

  #send(request, onBytes) {
    const { XMLHttpRequest, fetch, clock } = this.#env;
    if (XMLHttpRequest) return upload({ XMLHttpRequest, clock, onBytes, ...request });
    return ask({ fetch, clock, timeoutMs: 600_000, ...request });
  }

  async #fetchJob(id, { wait, after, signal, timeoutMs } = {}) {
    const headers = { ...this.#bearer(id), ...(after ? { 'If-None-Match': `"${after}"` } : {}) };
    const path = `/api/jobs/${id}${wait ? query({ wait, after }) : ''}`;
    const answer = await this.#ask('GET', path, { headers, signal, timeoutMs: timeoutMs ?? (wait ?? 0) * 1000 + 15_000 });
    const job = answer.status === 304 ? null : parsed(answer);
    return { job, retryAfterMs: job?.poll_after_ms ?? milliseconds(answer.header('Retry-After')) };
  }

  async #json(method, path, { id, signal } = {}) {
    return parsed(await this.#ask(method, path, { headers: this.#bearer(id), signal }));
  }

  #ask(method, path, { headers, signal, timeoutMs }) {
    const { fetch, clock } = this.#env;
    return ask({ fetch, clock, method, url: this.url(path), headers, signal, timeoutMs });
  }

  #liveUrl(id, after) {
    return this.#base.replace(/^http/, 'ws') + `/api/jobs/${id}/live${query({ after })}`;
  }

  #credential(id) {
    return this.#tokens.get(id) ?? this.#key;
  }

  #bearer(id) {
    const credential = this.#credential(id);
    return credential ? { Authorization: `Bearer ${credential}` } : {};
  }
}

function parsed(answer) {
  if (answer.status < 200 || answer.status > 299) {
    throw fromAnswer(answer.status, answer.text, answer.header('Retry-After'));
  }
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    // A sign-in page of some network answers 200 to everything.
    throw new SafelightError('network', 'The answer is not from the service.', { retryable: true, cause });
  }
}

function form(files, { pipeline, params = '{}', priority }) {
  const body = new FormData();
  body.append('pipeline', pipeline);
  if (priority !== undefined) body.append('priority', String(priority));
  body.append('params', params);
  for (const file of files) body.append('file', file, file.name ?? 'image');
  return body;
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : '';
}

/** Turns the bytes of one upload into how far the whole list is. */
function meter(list, onUpload, index = null) {
  const total = list.reduce((sum, file) => sum + file.size, 0);
  const before = list.slice(0, index ?? 0).reduce((sum, file) => sum + file.size, 0);
  const most = index === null ? total : list[index].size;
  return (bytes, attempt) => {
    const sentBytes = before + Math.min(bytes, most); // headers of multipart count too
    const percent = total ? (sentBytes / total) * 100 : 0;
    const file = list[index ?? 0];
    onUpload?.({ file, index: index ?? 0, count: list.length, sentBytes, totalBytes: total, percent, attempt });
  };
}

function isBlob(files) {
  return typeof files?.arrayBuffer === 'function';
}

function surroundings() {
  const { XMLHttpRequest, WebSocket, document, navigator } = globalThis;
  const page = document ? { document, window: globalThis, navigator } : {};
  return { fetch: (...request) => globalThis.fetch(...request), XMLHttpRequest, WebSocket, storage: storage(), ...page };
}

function storage() {
  try {
    return globalThis.document ? globalThis.localStorage : undefined;
  } catch {
    return undefined; // forbidden
  }
}

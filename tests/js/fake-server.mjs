/**
 * A server that speaks protocol/README.md as far as a client can see, and misbehaves on request.
 * Jobs move only when a test says so (`progress`, `state`), so nothing here depends on time.
 *
 *     const server = await FakeServer.start();
 *     server.upgrades = 'refuse';              // accept | refuse | kill (after killAfterMs) | mute
 *     server.uploadTrouble = [500, 'cut'];     // what happens to the next uploads
 */

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { FakeSocket } from './fake-socket.mjs';

const ENDED = new Set(['succeeded', 'failed', 'canceled']);

export class FakeServer {
  jobs = new Map();
  requests = []; // 'GET /api/jobs/…'
  sockets = new Set();
  socketsOpened = 0;
  upgrades = 'accept';
  killAfterMs = 300;
  uploadTrouble = [];
  readTrouble = [];
  pollAfterMs = 50;
  pipelines = [];
  #changed = new Set(); // long-polls that wait

  static async start(port = 0) {
    const server = new FakeServer();
    server.http = createServer((request, response) => server.#answer(request, response));
    server.http.on('upgrade', (request, socket) => server.#upgrade(request, socket));
    server.http.keepAliveTimeout = 1;
    await new Promise((resolve) => server.http.listen(port, '127.0.0.1', resolve));
    server.url = `http://127.0.0.1:${server.http.address().port}`;
    return server;
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  count(start) {
    return this.requests.filter((request) => request.startsWith(start)).length;
  }

  // ---- what a processor would do ----

  create(id, extra = {}) {
    const job = {
      id, pipeline: 'restore', state: 'queued', reason: 'submitted', stage: null, status: null, progress: 0,
      attempt: 0, max_attempts: 3, cursor: '1:1', created_at: new Date().toISOString(), started_at: null,
      finished_at: null, expires_at: null, inputs: [], outputs: [], result: null, error: null, links: {},
      poll_after_ms: this.pollAfterMs, traceparent: '00-0-0-00', token: null, ...extra,
    };
    this.jobs.set(id, { job, history: [], latest: null });
    return job;
  }

  /** A durable event; what is in `extra` goes into the frame, `quietly` into the job alone. */
  state(id, state, extra = {}, quietly = {}) {
    const entry = this.jobs.get(id);
    const [epoch, seq] = entry.job.cursor.split(/[:.]/).map(Number);
    Object.assign(entry.job, { state, reason: state, ...extra, ...quietly, cursor: `${epoch}:${seq + 1}` });
    const { cursor, reason, attempt, progress } = entry.job;
    const frame = { type: 'state', job: id, cursor, state, reason, attempt, progress, ...extra };
    entry.history.push(frame);
    entry.latest = null;
    this.tell(id, frame);
    if (ENDED.has(state)) for (const socket of this.#of(id)) socket.close(1000, 'done');
  }

  progress(id, progress, stage = 'work', status = '') {
    const entry = this.jobs.get(id);
    const [epoch, seq, n = 0] = entry.job.cursor.split(/[:.]/).map(Number);
    Object.assign(entry.job, { progress, stage, status, cursor: `${epoch}:${seq}.${n + 1}` });
    entry.latest = { type: 'progress', job: id, cursor: entry.job.cursor, attempt: entry.job.attempt, progress, stage, status };
    this.tell(id, entry.latest);
  }

  /** Sends a frame as it is to everybody who watches, and wakes the long-polls. */
  tell(id, frame) {
    for (const socket of this.#of(id)) socket.send({ ts: new Date().toISOString(), ...frame });
    for (const wake of [...this.#changed]) wake();
  }

  closeAll(code, reason = '') {
    for (const socket of [...this.sockets]) socket.close(code, reason);
  }

  #of(id) {
    return [...this.sockets].filter((socket) => socket.id === id);
  }

  // ---- HTTP ----

  async #answer(request, response) {
    const url = new URL(request.url, this.url);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    const [, , , id, verb] = url.pathname.split('/');
    if (request.method === 'PUT' || (request.method === 'POST' && !id)) return this.#upload(request, response, id, url);
    const trouble = this.readTrouble.shift();
    if (trouble === 'cut') return request.socket.destroy();
    if (trouble) return problem(response, trouble, trouble >= 500 ? 'unavailable' : 'bad_request', trouble >= 500);
    if (url.pathname === '/api/pipelines') return json(response, 200, { pipelines: this.pipelines });
    if (url.pathname === '/api/jobs') return json(response, 200, { jobs: this.#newestFirst(), next: null });
    const entry = this.jobs.get(id);
    if (!entry) return problem(response, 404, 'job_not_found');
    if (verb === 'cancel') this.state(id, 'canceled');
    if (verb === 'retry') this.#reopen(entry);
    if (url.searchParams.get('wait')) await this.#news(entry, url.searchParams.get('after'), Number(url.searchParams.get('wait')), request);
    const etag = `"${entry.job.cursor}"`;
    const headers = { ETag: etag, 'Retry-After': '1' };
    if (request.headers['if-none-match'] === etag) return response.writeHead(304, headers).end();
    json(response, 200, entry.job, headers);
  }

  #news(entry, after, seconds, request) {
    return new Promise((resolve) => {
      const done = () => {
        if (entry.job.cursor === after && !ENDED.has(entry.job.state) && !request.destroyed) return;
        finish();
      };
      const finish = () => {
        clearTimeout(timer);
        this.#changed.delete(done);
        resolve();
      };
      const timer = setTimeout(finish, seconds * 1000);
      request.socket.once('close', finish);
      this.#changed.add(done);
      done();
    });
  }

  async #upload(request, response, id, url) {
    const trouble = this.uploadTrouble.shift();
    const chunks = [];
    if (trouble === 'cut') return request.socket.destroy();
    for await (const chunk of request) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (typeof trouble === 'number') return problem(response, trouble, trouble >= 500 ? 'unavailable' : 'image_unsupported', trouble >= 500);
    if (trouble?.retryAfter) return problem(response, 429, 'rate_limited', true, { 'Retry-After': String(trouble.retryAfter) });
    const known = this.jobs.get(id);
    if (!known) {
      this.create(id, {
        pipeline: url.searchParams.get('pipeline') ?? 'restore',
        inputs: [{ name: url.searchParams.get('name') ?? 'image', media_type: request.headers['content-type'], bytes: bytes.length, sha256, href: '/none' }],
      });
      this.onCreated?.(id, bytes, url);
    } else if (known.job.inputs[0]?.sha256 !== sha256) return problem(response, 409, 'id_taken');
    // The answer is lost on its way back: the worst moment for an upload.
    if (trouble === 'lost') return request.socket.destroy();
    json(response, known ? 200 : 202, this.jobs.get(id).job);
  }

  #reopen(entry) {
    const [epoch] = entry.job.cursor.split(':').map(Number);
    Object.assign(entry.job, { state: 'queued', reason: 'reopened', progress: 0, error: null, cursor: `${epoch + 1}:1` });
    entry.history = [];
    this.onCreated?.(entry.job.id);
  }

  #newestFirst() {
    return [...this.jobs.values()].map((entry) => entry.job).reverse();
  }

  // ---- the socket ----

  #upgrade(request, stream) {
    const url = new URL(request.url, this.url);
    this.requests.push(`WS ${url.pathname}${url.search}`);
    if (this.upgrades === 'refuse') return stream.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    const socket = new FakeSocket(request, stream);
    socket.id = url.pathname.split('/')[3];
    socket.protocols = request.headers['sec-websocket-protocol'] ?? '';
    this.sockets.add(socket);
    this.socketsOpened += 1;
    socket.onClose = () => this.sockets.delete(socket);
    if (this.upgrades === 'kill') setTimeout(() => socket.destroy(), this.killAfterMs);
    if (this.upgrades === 'mute') return;
    socket.onText = (text) => JSON.parse(text).type === 'ping' && socket.send({ type: 'pong' });
    this.#greet(socket, url.searchParams.get('after'));
  }

  #greet(socket, after) {
    socket.send({ type: 'connected', session: `s${this.socketsOpened}`, ping_interval_ms: 10_000 });
    const entry = this.jobs.get(socket.id);
    if (!entry) return socket.close(4501, 'job_not_found');
    if (!after) socket.send({ type: 'snapshot', job: socket.id, cursor: entry.job.cursor, data: entry.job });
    else {
      const seen = Number(after.split(/[:.]/)[1]);
      for (const frame of entry.history) if (Number(frame.cursor.split(':')[1]) > seen) socket.send(frame);
      if (entry.latest) socket.send(entry.latest);
    }
    if (ENDED.has(entry.job.state)) socket.close(1000, 'done');
  }
}

function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}

function problem(response, status, code, retryable = false, headers = {}) {
  const body = JSON.stringify({ type: `/api/problems#${code}`, title: code, status, detail: `It is ${code}.`, code, retryable });
  response.writeHead(status, { 'Content-Type': 'application/problem+json', ...headers }).end(body);
}

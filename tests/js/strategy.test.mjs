/** How a watch chooses its transport: on a clock that stands still, a socket without a wire, an API without a server. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Safelight } from '../../clients/js/src/index.js';
import { FakeClock, FakeStorage, settled, wire } from './support.mjs';

const ID = '0193b2c4-5d6e-7f80-8123-456789abcdef';

/** GET /api/jobs/ID: short ones answer at once, long ones when `news` says so, or when their time is over. */
class FakeApi {
  constructor(clock) {
    this.clock = clock;
  }

  job = { id: ID, state: 'queued', reason: 'submitted', progress: 0, attempt: 0, cursor: '1:1', poll_after_ms: 2000 };
  asked = [];
  broken = null; // 'network' or a status
  waiting = new Set();

  news(change) {
    Object.assign(this.job, change);
    for (const answer of [...this.waiting]) answer();
  }

  /** From now on nothing comes through, what waits neither. */
  breakDown(how) {
    this.broken = how;
    this.news({});
  }

  fetch = (url, { headers, signal }) => {
    const wait = new URL(url).searchParams.has('wait');
    this.asked.push(wait ? 'long' : 'short');
    if (this.broken === 'network') return Promise.reject(new TypeError('fetch failed'));
    if (this.broken) return Promise.resolve(new Response('{}', { status: this.broken }));
    const same = () => headers['If-None-Match'] === `"${this.job.cursor}"`;
    const answer = () => (same() ? new Response(null, { status: 304 }) : new Response(JSON.stringify(this.job)));
    if (!wait || !same()) return Promise.resolve(answer());
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.waiting.delete(settle);
        this.clock.clearTimeout(timer);
        if (signal.aborted) reject(signal.reason);
        else if (this.broken) reject(new TypeError('cut off'));
        else resolve(answer());
      };
      const timer = this.clock.setTimeout(settle, 25_000);
      this.waiting.add(settle);
      signal.addEventListener('abort', settle);
    });
  };
}

async function scene({ storage = new FakeStorage(), clock = new FakeClock(), known = true, page = {} } = {}) {
  const api = new FakeApi(clock);
  const Wire = wire();
  const said = [];
  const safelight = new Safelight({
    url: 'http://lab.test', fetch: api.fetch, WebSocket: Wire, XMLHttpRequest: undefined, clock, storage, ...page,
    onEvent: (event) => said.push(event),
  });
  const seen = [];
  const sources = [];
  const watch = safelight.watch(known ? { ...api.job } : ID, {
    onChange: (job) => seen.push(`${job.state} ${job.progress}`),
    onConnection: ({ source, status }) => sources.push(`${source} ${status}`),
  });
  await settled();
  return { api, clock, storage, Wire, said, seen, sources, watch, safelight };
}

/** A socket that has proved itself. */
async function live(s) {
  s.Wire.last.open();
  s.Wire.last.answer();
  await s.clock.advance(3000);
}

test('a socket is good after its first round trip and three seconds, and polling runs until then', async () => {
  const s = await scene();
  await s.clock.advance(300);
  assert.equal(s.api.waiting.size, 1, 'polling has begun beside the socket');
  s.Wire.last.open();
  assert.deepEqual(s.Wire.last.sent, [{ type: 'ping' }]);
  await s.clock.advance(2999);
  assert.equal(s.watch.connection.source, 'long-poll');
  s.Wire.last.answer();
  await s.clock.advance(0);
  assert.equal(s.watch.connection.source, 'websocket');
  assert.equal(s.api.waiting.size, 1, 'young sockets do not end polling');
  await s.clock.advance(1);
  assert.equal(s.api.waiting.size, 0);
  assert.deepEqual(s.said.filter((event) => /connected|Stopped/.test(event)), ['WebSocket connected', 'Stopped polling mode']);
  s.watch.stop();
});

test('a socket that opens and never answers does not end polling', async () => {
  const s = await scene();
  s.Wire.last.open();
  await s.clock.advance(14_000);
  assert.notEqual(s.watch.connection.source, 'websocket');
  assert.equal(s.api.waiting.size, 1);
  s.watch.stop();
});

test('fifteen seconds of silence are death: polling at once, then another socket that resumes by cursor', async () => {
  const s = await scene();
  await live(s);
  const first = s.Wire.last;
  first.hear({ type: 'state', job: ID, cursor: '1:2', state: 'running', attempt: 1, progress: 0 });
  await s.clock.advance(14_999);
  assert.equal(s.Wire.all.length, 1);
  s.api.job.cursor = '1:2';
  await s.clock.advance(1);
  assert.equal(first.readyState, 3);
  assert.equal(s.api.asked.at(-1), 'short', 'polling took over in the same moment');
  assert.ok(s.said.includes('switching to polling mode'));
  await s.clock.advance(500); // half of the first second of back-off
  assert.equal(s.Wire.all.length, 2);
  assert.equal(new URL(s.Wire.last.url).searchParams.get('after'), '1:2');
  s.watch.stop();
});

test('the silence limit follows a server that pings seldom', async () => {
  const s = await scene();
  s.Wire.last.open();
  s.Wire.last.hear({ type: 'connected', session: 's', ping_interval_ms: 20_000 });
  s.Wire.last.answer();
  await s.clock.advance(29_000);
  assert.equal(s.Wire.all.length, 1);
  await s.clock.advance(1_000);
  assert.equal(s.Wire.last.readyState, 3);
  s.watch.stop();
});

test('sockets that die young are tried three times, then left alone for ten minutes, without flapping', async () => {
  const s = await scene();
  for (let life = 0; life < 3; life++) {
    s.Wire.last.open();
    s.Wire.last.answer();
    await s.clock.advance(300);
    s.Wire.last.die();
    s.api.news({ cursor: `1:1.${life + 1}`, progress: life + 1 }); // polling works, so it is the socket
    await s.clock.advance(8000);
  }
  assert.equal(s.Wire.all.length, 3);
  const wobbles = s.sources.filter((source) => source === 'websocket connected').length;
  assert.equal(wobbles, 1, `only the very first socket was believed: ${s.sources}`);
  assert.equal(s.watch.connection.source, 'long-poll');
  await s.clock.advance(580_000);
  assert.equal(s.Wire.all.length, 3);
  await s.clock.advance(20_000);
  assert.equal(s.Wire.all.length, 4, 'the memory has faded');
  await live(s);
  assert.equal(s.watch.connection.source, 'websocket');
  s.watch.stop();
});

test('a bad network is remembered by the next page, and another network is not blamed', async () => {
  const storage = new FakeStorage();
  const clock = new FakeClock();
  const page = (type) => ({ navigator: { onLine: true, connection: { type } } });
  const first = await scene({ storage, clock, page: page('wifi') });
  for (let life = 0; life < 3; life++) {
    first.Wire.last.die();
    first.api.news({ cursor: `1:1.${life + 1}` });
    await clock.advance(8000);
  }
  first.watch.stop();
  const second = await scene({ storage, clock, page: page('wifi') });
  assert.equal(second.Wire.all.length, 0);
  assert.equal(second.watch.connection.status, 'disconnected');
  second.watch.stop();
  const elsewhere = await scene({ storage, clock, page: page('cellular') });
  assert.equal(elsewhere.Wire.all.length, 1);
  elsewhere.watch.stop();
});

test('a server that is down is no bad network', async () => {
  const s = await scene();
  s.api.breakDown('network');
  for (let life = 0; life < 4; life++) {
    s.Wire.last.die();
    await s.clock.advance(20_000);
  }
  assert.equal(s.storage.getItem('safelight.networks'), null);
  assert.equal(s.watch.connection.error.code, 'network');
  s.watch.stop();
});

test('a server that says good-bye is no bad network, and the client comes back when told', async () => {
  const s = await scene();
  for (let life = 0; life < 4; life++) {
    s.Wire.last.open();
    s.Wire.last.hear({ type: 'goaway', reconnect_after_ms: 700 });
    s.Wire.last.die(4000);
    await s.clock.advance(699);
    assert.equal(s.Wire.all.length, life + 1);
    await s.clock.advance(8000);
    assert.equal(s.Wire.all.length, life + 2);
  }
  assert.equal(s.storage.getItem('safelight.networks'), null);
  s.watch.stop();
});

test('back-off grows to thirty seconds and starts anew only after a good socket', async () => {
  const s = await scene({ clock: new FakeClock(1) });
  s.api.breakDown(503); // polling does not come through either, so no network is blamed
  const waits = [];
  for (let life = 0; life < 7; life++) {
    const before = s.clock.now();
    const count = s.Wire.all.length;
    s.Wire.last.die();
    while (s.Wire.all.length === count) await s.clock.advance(500);
    waits.push(s.clock.now() - before);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  s.api.broken = null;
  await live(s);
  const before = s.clock.now();
  s.Wire.last.die(1012);
  await s.clock.advance(1000);
  assert.equal(s.Wire.all.length, 9);
  assert.equal(s.clock.now() - before, 1000);
  s.watch.stop();
});

test('a ping with a newer durable cursor means loss, and the job is asked for', async () => {
  const s = await scene();
  await live(s);
  const before = s.api.asked.length;
  s.Wire.last.hear({ type: 'ping', cursors: { [ID]: '1:1.9' } });
  await settled();
  assert.equal(s.api.asked.length, before, 'progress alone is no loss');
  Object.assign(s.api.job, { cursor: '1:3', state: 'running', progress: 55 });
  s.Wire.last.hear({ type: 'ping', cursors: { [ID]: '1:3' } });
  await settled();
  assert.equal(s.seen.at(-1), 'running 55');
  s.watch.stop();
});

test('frames that come twice or late are ignored', async () => {
  const s = await scene();
  await live(s);
  const progress = (cursor, progress) => s.Wire.last.hear({ type: 'progress', job: ID, cursor, attempt: 1, progress, stage: 'a', status: '' });
  s.Wire.last.hear({ type: 'state', job: ID, cursor: '1:2', state: 'running', attempt: 1, progress: 0 });
  progress('1:2.2', 40);
  progress('1:2.1', 20);
  progress('1:2.2', 40);
  progress('1:2.10', 60);
  s.Wire.last.hear({ type: 'state', job: ID, cursor: '1:2', state: 'running', attempt: 1, progress: 0 });
  progress('1:2.9', 50);
  assert.deepEqual(s.seen, ['queued 0', 'running 0', 'running 40', 'running 60']);
  s.watch.stop();
});

test('frames that nobody can read, and other people’s, change nothing', async () => {
  const s = await scene();
  await live(s);
  s.Wire.last.onmessage({ data: '{"type":' });
  s.Wire.last.onmessage({ data: '42' });
  s.Wire.last.hear({ type: 'invented', job: ID, cursor: '9:9' });
  s.Wire.last.hear({ type: 'state', job: 'another', cursor: '9:9', state: 'failed' });
  assert.deepEqual(s.seen, ['queued 0']);
  s.watch.stop();
});

test('a page that wakes asks once, probes its socket, and replaces a dead one at once', async () => {
  const document = new EventTarget();
  document.visibilityState = 'visible';
  const s = await scene({ page: { document } });
  await live(s);
  const before = s.api.asked.length;
  Object.assign(s.api.job, { cursor: '1:4', state: 'running', progress: 80 });
  document.dispatchEvent(new Event('visibilitychange'));
  await settled();
  assert.deepEqual(s.api.asked.slice(before), ['short']);
  assert.equal(s.seen.at(-1), 'running 80');
  assert.equal(s.Wire.last.sent.length, 2, 'a ping as a probe');
  await s.clock.advance(3000);
  assert.equal(s.Wire.all[0].readyState, 3, 'no answer in three seconds');
  s.watch.stop();
});

test('online again: no back-off is waited for, not even on a network that is remembered as bad', async () => {
  const window = new EventTarget();
  const s = await scene({ page: { window } });
  for (let life = 0; life < 3; life++) {
    s.Wire.last.die();
    s.api.news({ cursor: `1:1.${life + 1}` });
    await s.clock.advance(8000);
  }
  assert.equal(s.Wire.all.length, 3);
  window.dispatchEvent(new Event('online'));
  await settled();
  assert.equal(s.Wire.all.length, 4);
  await live(s);
  assert.equal(s.watch.connection.source, 'websocket');
  s.watch.stop();
});

test('without network no socket is tried until there is one', async () => {
  const window = new EventTarget();
  const navigator = { onLine: false };
  const s = await scene({ page: { window, navigator } });
  await s.clock.advance(60_000);
  assert.equal(s.Wire.all.length, 0);
  navigator.onLine = true;
  window.dispatchEvent(new Event('online'));
  await settled();
  assert.equal(s.Wire.all.length, 1);
  s.watch.stop();
});

test('a long-poll that is cut twice steps down to short polls, at the server’s pace', async () => {
  const s = await scene({ clock: new FakeClock(0.5) });
  s.Wire.last.die();
  s.api.breakDown(502);
  await s.clock.advance(10_000);
  assert.equal(s.api.asked.filter((kind) => kind === 'long').length, 2);
  s.api.broken = null;
  await s.clock.advance(30_000);
  assert.equal(s.watch.connection.source, 'poll');
  const before = s.api.asked.length;
  await s.clock.advance(20_000);
  assert.equal(s.api.asked.length - before, 10, 'every two seconds');
  s.watch.stop();
});

test('a server whose long-poll does not wait is not stormed', async () => {
  const s = await scene();
  s.Wire.last.die();
  s.api.fetch = null;
  let asked = 0;
  const hollow = new Safelight({
    url: 'http://lab.test', clock: s.clock, WebSocket: undefined, XMLHttpRequest: undefined,
    fetch: async () => (asked++, new Response(null, { status: 304, headers: { 'Retry-After': '2' } })),
  });
  const watch = hollow.watch({ ...s.api.job });
  await s.clock.advance(60_000);
  assert.ok(asked <= 32, `${asked} requests in a minute`);
  watch.stop();
  s.watch.stop();
});

test('only two long-polls are held at once, the others poll, so that a click is never stuck', async () => {
  const clock = new FakeClock();
  const api = new FakeApi(clock);
  const safelight = new Safelight({ url: 'http://lab.test', fetch: api.fetch, clock, WebSocket: undefined, XMLHttpRequest: undefined });
  const watches = Array.from({ length: 6 }, () => safelight.watch({ ...api.job }));
  await clock.advance(5000);
  assert.equal(api.waiting.size, 2);
  for (const watch of watches) watch.stop();
  await settled();
  assert.equal(clock.pending, 0);
});

test('after the end, and after a stop, nothing is left: no timer, no request, no socket', async () => {
  for (const finish of [(s) => s.watch.stop(), (s) => s.Wire.last.hear({ type: 'state', job: ID, cursor: '1:9', state: 'succeeded', progress: 100 })]) {
    const s = await scene();
    s.Wire.last.open();
    s.Wire.last.answer();
    Object.assign(s.api.job, { cursor: '1:9', state: 'succeeded', progress: 100 });
    finish(s);
    await settled();
    assert.equal(s.clock.pending, 0);
    assert.equal(s.api.waiting.size, 0);
    assert.equal(s.Wire.last.readyState, 3);
  }
});

test('the end is told once, with what frames leave out', async () => {
  const s = await scene();
  await live(s);
  Object.assign(s.api.job, { cursor: '1:3', state: 'succeeded', progress: 100, result: { faces: 2 } });
  s.Wire.last.hear({ type: 'state', job: ID, cursor: '1:3', state: 'succeeded', progress: 100 });
  const job = await s.watch.done;
  assert.deepEqual(job.result, { faces: 2 });
  assert.equal(s.seen.filter((line) => line.startsWith('succeeded')).length, 1);
});

test('the end is told even when nothing more can be fetched', async () => {
  const s = await scene();
  await live(s);
  s.api.broken = 'network';
  s.Wire.last.hear({ type: 'state', job: ID, cursor: '1:3', state: 'failed', progress: 40, error: { code: 'image_damaged', message: 'Damaged.', retryable: false } });
  const job = await s.watch.done;
  assert.equal(job.error.code, 'image_damaged');
  assert.equal(job.progress, 40);
});

test('where sockets are not allowed at all, polling goes on to the end', async () => {
  const s = await scene();
  s.Wire.last.open();
  s.Wire.last.die(4500);
  await s.clock.advance(120_000);
  assert.equal(s.Wire.all.length, 1);
  s.api.news({ cursor: '1:2', state: 'succeeded', progress: 100 });
  await s.clock.advance(300);
  assert.equal((await s.watch.done).state, 'succeeded');
});

test('`transport: polling` opens no socket', async () => {
  const s = await scene();
  s.watch.stop();
  s.safelight.transport = 'polling';
  const count = s.Wire.all.length;
  const watch = s.safelight.watch({ ...s.api.job });
  await s.clock.advance(5000);
  assert.equal(s.Wire.all.length, count);
  assert.equal(watch.connection.source, 'long-poll');
  watch.stop();
});

test('the scheme of the socket follows the page, the token goes as a subprotocol and never into the address', async () => {
  const clock = new FakeClock();
  const api = new FakeApi(clock);
  const Wire = wire();
  const safelight = new Safelight({ url: 'https://lab.test/darkroom/', fetch: api.fetch, clock, WebSocket: Wire, XMLHttpRequest: undefined });
  const watch = safelight.watch({ ...api.job, token: 'secret' });
  await settled();
  assert.equal(Wire.last.url, `wss://lab.test/darkroom/api/jobs/${ID}/live?after=1%3A1`);
  assert.deepEqual(Wire.last.protocols, ['safelight.v1', 'token.secret']);
  watch.stop();
});

test('a slow reader of the iterator skips mere progress, and no state', async () => {
  const s = await scene();
  await live(s);
  const hear = (frame) => s.Wire.last.hear({ job: ID, attempt: 1, ...frame });
  hear({ type: 'state', cursor: '1:2', state: 'running', progress: 0 });
  for (let n = 1; n < 50; n++) hear({ type: 'progress', cursor: `1:2.${n}`, progress: n, stage: 'a', status: '' });
  hear({ type: 'state', cursor: '1:3', state: 'queued', reason: 'retry', progress: 49 });
  hear({ type: 'state', cursor: '1:4', state: 'running', progress: 0 });
  Object.assign(s.api.job, { cursor: '1:5', state: 'succeeded', progress: 100 });
  hear({ type: 'state', cursor: '1:5', state: 'succeeded', progress: 100 });
  const read = [];
  for await (const job of s.watch) read.push(`${job.cursor} ${job.state}`);
  assert.deepEqual(read, ['1:1 queued', '1:2.49 running', '1:3 queued', '1:4 running', '1:5 succeeded']);
});

test('leaving the loop, or aborting the signal, ends the watch', async () => {
  const s = await scene();
  for await (const job of s.watch) {
    assert.equal(job.state, 'queued');
    break;
  }
  await assert.rejects(s.watch.done, { code: 'aborted' });
  const stop = new AbortController();
  const other = s.safelight.watch({ ...s.api.job }, { signal: stop.signal });
  await settled();
  stop.abort();
  await assert.rejects(other.done, { code: 'aborted' });
  await settled();
  assert.equal(s.clock.pending, 0);
});

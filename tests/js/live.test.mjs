/** The client against a real server on a real wire: what a person would see on each kind of network. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Safelight } from '../../clients/js/src/index.js';
import { FakeServer } from './fake-server.mjs';
import { FakeStorage, until } from './support.mjs';

const TIMING = { goodAfterMs: 60, silenceMs: 400, pollMs: 30, probeMs: 100 };
let server;
let number = 0;
let id;

before(async () => {
  server = await FakeServer.start();
});
after(() => server.stop());
beforeEach(() => {
  Object.assign(server, { upgrades: 'accept', killAfterMs: 300, readTrouble: [], uploadTrouble: [], requests: [], socketsOpened: 0 });
  id = `00000000-0000-7000-8000-${String(++number).padStart(12, '0')}`;
});

// Real time, with jitter that is always the least, so that there is hardly any back-off to wait for.
const clock = { now: () => Date.now(), setTimeout, clearTimeout, random: () => 0.02 };

function watcher(options = {}) {
  const storage = options.storage ?? new FakeStorage();
  const said = [];
  const safelight = new Safelight({ url: server.url, storage, clock, timing: TIMING, onEvent: (event) => said.push(event) });
  const seen = [];
  const sources = [];
  const watch = safelight.watch(options.job ?? id, {
    onChange: (job) => seen.push(`${job.cursor} ${job.state} ${job.progress}`),
    onConnection: ({ source }) => sources.at(-1) === source || sources.push(source),
  });
  return { safelight, storage, watch, seen, sources, said };
}

/** Lets the job run to its end, and answers what the watcher had seen by then. */
async function finish(w) {
  server.progress(id, 50);
  await until(() => w.seen.some((line) => line.endsWith('running 50')), 'half of it seen');
  server.state(id, 'succeeded', { progress: 100 }, { result: { ok: true } });
  return w.watch.done;
}

test('all is well: every step arrives by socket, then the end, and polling has stopped', async () => {
  server.create(id);
  const w = watcher();
  await until(() => w.watch.connection.status === 'connected');
  server.state(id, 'running', { attempt: 1 });
  await until(() => w.said.includes('Stopped polling mode'));
  const requests = server.count('GET');
  const job = await finish(w);
  assert.deepEqual(job.result, { ok: true });
  assert.deepEqual(w.seen, ['1:1 queued 0', '1:2 running 0', '1:2.1 running 50', '1:3 succeeded 100']);
  assert.equal(w.sources.at(-1), 'websocket');
  assert.equal(server.count('GET'), requests + 1, 'one GET for the whole result');
});

test('sockets are refused with 403: polling carries the job to its end', async () => {
  server.upgrades = 'refuse';
  server.create(id);
  const w = watcher();
  await until(() => w.said.includes('switching to polling mode'));
  server.state(id, 'running', { attempt: 1 });
  await until(() => w.watch.connection.source === 'long-poll');
  assert.equal((await finish(w)).state, 'succeeded');
  assert.ok(!w.sources.includes('websocket'));
});

test('sockets open and are killed: no flapping, the end by polling, and the next watch does not try', async () => {
  Object.assign(server, { upgrades: 'kill', killAfterMs: 30 });
  server.create(id);
  const w = watcher();
  server.state(id, 'running', { attempt: 1 });
  const moving = setInterval(() => server.progress(id, 1), 50); // polls that succeed show whose fault it is
  await until(() => JSON.parse(w.storage.getItem('safelight.networks') ?? '{}')[`${server.url} unknown`]?.count === 3, 'remembered');
  clearInterval(moving);
  assert.equal((await finish(w)).state, 'succeeded');
  assert.equal(w.sources.filter((source) => source === 'websocket').length <= 1, true, w.sources.join());
  assert.equal(w.sources.at(-1), 'long-poll');
  const opened = server.socketsOpened;
  id = `${id.slice(0, -4)}ffff`;
  server.create(id);
  const next = watcher({ storage: w.storage });
  server.state(id, 'running', { attempt: 1 });
  assert.equal((await finish(next)).state, 'succeeded');
  assert.equal(server.socketsOpened, opened);
});

test('a socket that says nothing at all is replaced, and nothing is late meanwhile', async () => {
  server.upgrades = 'mute';
  server.create(id);
  const w = watcher();
  await until(() => server.socketsOpened === 1);
  server.state(id, 'running', { attempt: 1 });
  await until(() => w.seen.some((line) => line.includes('running')), 'polling told it');
  await until(() => server.socketsOpened >= 2, 'another socket after the silence');
  w.watch.stop();
});

for (const code of [1001, 1012, 4000, 4001]) {
  test(`closed with ${code}: the client is back at once and resumes after its cursor`, async () => {
    server.create(id);
    const w = watcher();
    server.state(id, 'running', { attempt: 1 });
    await until(() => w.said.includes('WebSocket connected'));
    server.closeAll(code);
    await until(() => server.socketsOpened === 2);
    assert.equal(server.requests.filter((line) => line.startsWith('WS')).at(-1), `WS /api/jobs/${id}/live?after=1%3A2`);
    assert.equal((await finish(w)).state, 'succeeded');
    assert.equal(w.storage.getItem('safelight.networks'), null, 'not blamed on the network');
    assert.equal(new Set(w.seen).size, w.seen.length, 'nothing twice');
  });
}

test('4501 ends the watch with a typed error', async () => {
  const w = watcher();
  await assert.rejects(w.watch.done, { code: 'job_not_found', retryable: false });
});

test('a gap is followed by a snapshot, and the view goes on from there', async () => {
  const job = server.create(id);
  const w = watcher();
  await until(() => w.said.includes('WebSocket connected'));
  Object.assign(job, { cursor: '1:7', state: 'running', progress: 70 });
  server.tell(id, { type: 'gap', job: id, cursor: '1:7' });
  server.tell(id, { type: 'snapshot', job: id, cursor: '1:7', data: job });
  await until(() => w.seen.at(-1) === '1:7 running 70');
  w.watch.stop();
});

test('frames in disorder, and twice, never let time run backwards', async () => {
  server.create(id);
  const w = watcher();
  await until(() => w.said.includes('WebSocket connected'));
  server.state(id, 'running', { attempt: 1 });
  const frame = (n) => ({ type: 'progress', job: id, cursor: `1:2.${n}`, attempt: 1, progress: n, stage: 'a', status: '' });
  for (const n of [3, 1, 2, 3, 5, 4]) server.tell(id, frame(n));
  server.tell(id, frame(6));
  await until(() => w.seen.at(-1) === '1:2.6 running 6');
  assert.deepEqual(w.seen.slice(-3), ['1:2.3 running 3', '1:2.5 running 5', '1:2.6 running 6']);
  w.watch.stop();
});

test('polls that find nothing new answer 304 and change nothing', async () => {
  server.upgrades = 'refuse';
  server.create(id);
  const short = new Safelight({ url: server.url, WebSocket: undefined, clock, timing: TIMING });
  server.readTrouble = [null, 502, 502]; // long-polls do not come through here
  const seen = [];
  const watch = short.watch(id, { onChange: (job) => seen.push(job.cursor) });
  await until(() => server.count(`GET /api/jobs/${id}`) >= 6, 'several polls');
  assert.deepEqual(seen, ['1:1']);
  server.state(id, 'succeeded', { progress: 100 });
  assert.equal((await watch.done).state, 'succeeded');
  assert.deepEqual(seen, ['1:1', '1:2']);
});

test('back up to the socket as soon as it is possible, without a reload', async () => {
  server.upgrades = 'refuse';
  server.create(id);
  const w = watcher();
  await until(() => w.watch.connection.source?.includes('poll'));
  server.upgrades = 'accept';
  await until(() => w.watch.connection.source === 'websocket', 'live again');
  await until(() => w.said.includes('Stopped polling mode'));
  server.state(id, 'running', { attempt: 1 });
  assert.equal((await finish(w)).state, 'succeeded');
});

test('a job that has ended before anybody watched is told at once', async () => {
  server.create(id);
  server.state(id, 'succeeded', { progress: 100 });
  const w = watcher();
  assert.equal((await w.watch.done).state, 'succeeded');
  assert.equal(w.seen.length, 1);
});

test('canceled, and taken up again by hand: the next watch follows the new incarnation', async () => {
  server.create(id);
  const w = watcher();
  const canceled = await w.safelight.cancel(id);
  assert.equal(canceled.state, 'canceled');
  assert.equal((await w.watch.done).state, 'canceled');
  const again = await w.safelight.retry(id);
  assert.equal(again.cursor, '2:1');
  const next = w.safelight.watch(again);
  server.state(id, 'running', { attempt: 1 });
  server.state(id, 'succeeded', { progress: 100 });
  assert.equal((await next.done).cursor, '2:3');
});

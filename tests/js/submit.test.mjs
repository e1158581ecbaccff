/** Uploads: one job whatever happens on the way, repeats only where they help, bytes that are counted. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Safelight } from '../../clients/js/src/index.js';
import { FakeServer } from './fake-server.mjs';
import { FakeClock, settled } from './support.mjs';

let server;
let safelight;
const picture = new File([new Uint8Array(1000)], 'attic.jpg', { type: 'image/jpeg' });

before(async () => {
  server = await FakeServer.start();
});
after(() => server.stop());
beforeEach(() => {
  server.jobs.clear();
  Object.assign(server, { uploadTrouble: [], requests: [] });
  safelight = new Safelight({ url: server.url, WebSocket: undefined, timing: { retryMs: 1 } });
});

const uploads = () => server.count('PUT');

test('one picture goes as a raw body with its type, pipeline, params and name', async () => {
  const job = await safelight.submit(picture, { pipeline: 'restore', params: { strength: 0.5 } });
  assert.equal(job.state, 'queued');
  assert.match(job.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(job.inputs[0].media_type, 'image/jpeg');
  assert.equal(server.requests[0], `PUT /api/jobs/${job.id}?pipeline=restore&params=%7B%22strength%22%3A0.5%7D&name=attic.jpg`);
});

for (const trouble of [500, 502, 'cut', 'lost']) {
  test(`after ${trouble} the upload is repeated under the same id, so there is one job`, async () => {
    server.uploadTrouble = [trouble];
    const job = await safelight.submit(picture, { pipeline: 'restore' });
    assert.equal(uploads(), 2);
    assert.deepEqual([...server.jobs.keys()], [job.id]);
  });
}

test('three attempts, then the typed error', async () => {
  server.uploadTrouble = [500, 500, 500, 500];
  await assert.rejects(safelight.submit(picture, { pipeline: 'restore' }), { code: 'unavailable', retryable: true, status: 500 });
  assert.equal(uploads(), 3);
});

for (const status of [400, 413, 422]) {
  test(`${status} is not repeated`, async () => {
    server.uploadTrouble = [status];
    await assert.rejects(safelight.submit(picture, { pipeline: 'restore' }), { code: 'image_unsupported', retryable: false, message: 'It is image_unsupported.' });
    assert.equal(uploads(), 1);
  });
}

test('429 waits as long as the server says', async () => {
  const clock = new FakeClock(0);
  const slow = new Safelight({ url: server.url, clock });
  server.uploadTrouble = [{ retryAfter: 7 }];
  const job = slow.submit(picture, { pipeline: 'restore' });
  while (uploads() < 1 || clock.pending !== 1) await settled();
  // The clock of the request is gone, the clock of the wait is there.
  await clock.advance(6999);
  assert.equal(uploads(), 1);
  await clock.advance(1);
  await job;
  assert.equal(uploads(), 2);
});

test('a list makes a job of every picture and goes on after a bad one', async () => {
  server.uploadTrouble = [null, 422];
  const files = ['a.jpg', 'b.jpg', 'c.jpg'].map((name, i) => new File([new Uint8Array(10 + i)], name, { type: 'image/jpeg' }));
  const told = [];
  const results = await safelight.submit(files, { pipeline: 'restore', onResult: ({ index, error }) => told.push([index, error?.code]) });
  assert.deepEqual(told, [[0, undefined], [1, 'image_unsupported'], [2, undefined]]);
  assert.deepEqual(results.map((result) => result.job?.inputs[0].name), ['a.jpg', undefined, 'c.jpg']);
  assert.equal(server.jobs.size, 2);
});

test('`together` makes one job of several pictures', async () => {
  const job = await safelight.submit([picture, picture], { pipeline: 'scan', together: true });
  assert.deepEqual([...server.jobs.keys()], [job.id]);
  assert.match(job.inputs[0].media_type, /^multipart\/form-data/);
});

test('an upload that is stopped makes no further attempt', async () => {
  const stop = new AbortController();
  server.uploadTrouble = [500];
  const clock = new FakeClock();
  const slow = new Safelight({ url: server.url, clock });
  const job = slow.submit(picture, { pipeline: 'restore', signal: stop.signal });
  const refused = assert.rejects(job, { code: 'aborted' });
  while (uploads() < 1) await settled();
  stop.abort();
  await refused;
  assert.equal(uploads(), 1);
});

test('bytes are counted over the whole list, and an attempt that starts anew is seen as such', async () => {
  const sent = [];
  const requests = [];
  class Xhr {
    upload = {};
    open(method, url) {
      requests.push(`${method} ${new URL(url).pathname}`);
    }
    setRequestHeader() {}
    getResponseHeader() {
      return null;
    }
    abort() {}
    send(body) {
      this.upload.onprogress({ loaded: body.size / 2 });
      this.upload.onprogress({ loaded: body.size });
      if (requests.length === 2) return this.onerror();
      Object.assign(this, { status: 202, responseText: '{"id":"x","token":null}' });
      this.onload();
    }
  }
  const counting = new Safelight({ url: server.url, XMLHttpRequest: Xhr, timing: { retryMs: 1 } });
  const files = [new File([new Uint8Array(100)], 'a'), new File([new Uint8Array(300)], 'b')];
  await counting.submit(files, {
    pipeline: 'restore',
    onUpload: ({ index, count, percent, attempt }) => sent.push(`${index + 1}/${count} ${percent}% #${attempt}`),
  });
  assert.deepEqual(sent, ['1/2 12.5% #1', '1/2 25% #1', '2/2 62.5% #1', '2/2 100% #1', '2/2 62.5% #2', '2/2 100% #2']);
  assert.equal(requests.length, 3);
  assert.equal(requests[1], requests[2], 'the same id');
});

test('an upload that does not move is given up and repeated', async () => {
  const clock = new FakeClock(0);
  const made = [];
  class Stuck {
    upload = {};
    open() {
      made.push(this);
    }
    setRequestHeader() {}
    send() {}
    abort() {
      this.aborted = true;
    }
  }
  const slow = new Safelight({ url: server.url, XMLHttpRequest: Stuck, clock });
  const job = slow.submit(picture, { pipeline: 'restore' });
  const refused = assert.rejects(job, { code: 'timeout', retryable: true });
  await clock.advance(44_000);
  made[0].upload.onprogress({ loaded: 1 });
  await clock.advance(44_000);
  assert.equal(made.length, 1, 'it moved');
  await clock.advance(200_000);
  await refused;
  assert.equal(made.length, 3);
  assert.ok(made.every((request) => request.aborted));
  assert.equal(clock.pending, 0);
});

test('a sign-in page that answers 200 to everything is not taken for the service', async () => {
  const hotel = new Safelight({ url: server.url, timing: { retryMs: 1 }, fetch: async () => new Response('<html>Welcome to our hotel') });
  await assert.rejects(hotel.submit(picture, { pipeline: 'restore' }), { code: 'network', retryable: true });
});

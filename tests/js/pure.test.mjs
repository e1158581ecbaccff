/** The parts without time and network: cursors, failures, the debug switch, ids. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { isAfter, isAhead, parse } from '../../clients/js/src/cursor.js';
import { speaker, wanted } from '../../clients/js/src/debug.js';
import { fromAnswer, fromThrown, milliseconds } from '../../clients/js/src/errors.js';
import { uuid7 } from '../../clients/js/src/uuid.js';
import { withFrame, withJob } from '../../clients/js/src/job.js';

test('cursors are ordered from left to right, as numbers', () => {
  const inOrder = ['1:1', '1:1.2', '1:1.10', '1:2', '1:10', '1:10.1', '2:1', '10:1'];
  for (const [i, a] of inOrder.entries()) {
    for (const [j, b] of inOrder.entries()) assert.equal(isAfter(a, b), i > j, `${a} after ${b}`);
  }
});

test('only events are loss, progress is not; nothing known is behind everything', () => {
  assert.ok(isAhead('1:3', '1:2.9') && isAhead('2:1', '1:9') && isAhead('1:1', null));
  assert.ok(!isAhead('1:2.9', '1:2') && !isAhead('1:2', '1:2.9') && !isAhead(null, '1:1'));
});

test('what is no cursor is none', () => {
  for (const text of ['', '1', '1:', ':1', '1:2:3', '1:2.', 'a:b', '-1:2', '1:1234567890', null, undefined]) assert.equal(parse(text), null);
});

test('failures carry the code of the server, and boxes on the way are judged by their status', () => {
  const typed = fromAnswer(422, '{"code":"params_invalid","detail":"Too wide.","retryable":false,"errors":[{"path":"width","message":"m"}]}');
  assert.deepEqual([typed.code, typed.message, typed.retryable, typed.errors.length], ['params_invalid', 'Too wide.', false, 1]);
  assert.deepEqual([fromAnswer(502, '<html>').code, fromAnswer(502, '<html>').retryable], ['http_502', true]);
  assert.equal(fromAnswer(404, '').retryable, false);
  assert.equal(fromAnswer(500, '{"code":"x","retryable":false}').retryable, false, 'the server knows better than its status');
  assert.equal(fromThrown(new DOMException('', 'AbortError')).code, 'aborted');
});

test('Retry-After is read as seconds and as a date', () => {
  assert.equal(milliseconds('7'), 7000);
  assert.equal(milliseconds('Thu, 01 Jan 1970 00:00:10 GMT', 4000), 6000);
  assert.equal(milliseconds('soon'), null);
  assert.equal(milliseconds(null), null);
});

test('the debug switch takes true, names, stars and the old name', () => {
  for (const setting of ['true', '*', 'safelight:*', 'safelight:live', 'x, safelight:live', 'websocket:*']) assert.ok(wanted(setting, 'safelight:live'), setting);
  for (const setting of [null, '', 'false', 'safelight:poll', 'other:*']) assert.ok(!wanted(setting, 'safelight:live'), String(setting));
});

test('nothing is printed unasked, and storage that is forbidden is no failure', () => {
  const lines = [];
  const console = { log: (...words) => lines.push(words[1]) };
  speaker({ console, storage: { getItem: () => null } })('live', 'WebSocket connected');
  speaker({ console, storage: { getItem: () => { throw new Error('forbidden'); } } })('live', 'WebSocket connected');
  assert.deepEqual(lines, []);
  speaker({ console, storage: { getItem: () => 'true' } })('live', 'WebSocket connected');
  assert.deepEqual(lines, ['WebSocket connected']);
});

test('ids are of version 7, begin with the time, and differ', () => {
  assert.ok(uuid7(1).startsWith('00000000-0001-7'));
  assert.ok(uuid7(0x0193b2c45d6e).startsWith('0193b2c4-5d6e-7'));
  assert.equal(new Set(Array.from({ length: 1000 }, () => uuid7())).size, 1000);
});

test('the golden messages of the protocol are understood', async () => {
  const folder = new URL('../../protocol/examples/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  assert.ok(names.length > 0);
  for (const name of names) {
    const message = JSON.parse(await readFile(new URL(name, folder), 'utf8'));
    for (const frame of [message].flat()) {
      if (['snapshot', 'state', 'progress'].includes(frame?.type)) {
        const view = withFrame({ job: null, whole: false }, frame);
        assert.equal(view.job.cursor, frame.cursor, name);
        assert.equal(withFrame(view, frame), view, `${name} twice`);
      } else if (frame?.cursor && frame.pipeline) assert.equal(withJob({ job: null }, frame).job, frame, name);
    }
  }
});

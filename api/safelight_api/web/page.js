/**
 * The page: pictures in, cards out. It owns what the person chose, the uploads, and one watch per job;
 * card.js shows, form.js asks, client/ does the rest.
 */

import { Safelight, hasEnded } from './client/index.js';
import { Card } from './card.js';
import { debugPanel } from './debug-panel.js';
import { make } from './element.js';
import { paramsForm } from './form.js';
import { forget, hide, isHidden, remember, remembered, set, setting } from './remembered.js';
import { shrunk } from './shrink.js';
import { failure, title } from './words.js';

const $ = (id) => document.getElementById(id);
const safelight = new Safelight({ url: new URL('.', location.href), key: setting('key') });
const cards = new Map(); // by job id
const watches = new Map(); // by job id
let chosen = null; // the pipeline
let readParams = () => ({});
let uploads = 0; // that have not been accepted or refused yet
let nextPage = null;

// ---- pictures in ----

async function take(files) {
  const pictures = [...files].filter((file) => file.size > 0);
  if (!pictures.length || !chosen) return;
  const params = readParams();
  if (!$('params').reportValidity()) return ($('options').open = true);
  complain(null);
  const together = !$('together-row').hidden && $('together').checked && pictures.length > 1;
  const waiting = together ? [newCard(`${pictures.length} pictures`, pictures[0])] : pictures.map((file) => newCard(file.name, file));
  $('cards').prepend(...waiting.map((card) => card.element));
  const ready = $('shrink').checked ? await oneByOne(pictures, shrunk) : pictures;
  waiting[0].element.scrollIntoView({ block: 'nearest' });
  uploads += 1;
  busy();
  try {
    if (together) await send(ready, waiting[0], { params, together });
    else await sendAll(ready, waiting, { params });
  } finally {
    uploads -= 1;
    busy();
  }
}

async function sendAll(files, waiting, options) {
  await safelight.submit(files, {
    pipeline: chosen.name,
    ...options,
    onUpload: (progress) => uploading(progress, waiting[progress.index]),
    onResult: ({ job, error, index }) => settle(waiting[index], job, error, () => send(files[index], waiting[index], options)),
  });
}

async function send(files, card, options) {
  const [job, error] = await safelight
    .submit(files, { pipeline: chosen.name, ...options, onUpload: (progress) => uploading(progress, card) })
    .then((job) => [job, null], (error) => [null, error]);
  settle(card, job, error, () => send(files, card, options));
}

function uploading({ index, count, percent, attempt }, card) {
  const which = count > 1 ? `${index + 1}/${count} files` : '1 file';
  const again = attempt > 1 ? ` (attempt ${attempt})` : '';
  $('upload-text').textContent = `Uploading ${which}… ${Math.floor(percent)}%${again}`;
  $('upload-bar').setAttribute('aria-valuenow', String(Math.floor(percent)));
  $('upload-bar').firstElementChild.style.width = `${percent}%`;
  card.waits(`Uploading${again}…`);
}

/** The service has the picture, or has refused it. */
function settle(card, job, error, again) {
  if (error) {
    card.again = again;
    card.refused(error, error.retryable);
    say(`${card.name}: ${failure(error)}`);
    if (error.code === 'unauthorized') askForKey();
    return;
  }
  remember(job, card.name);
  card.open();
  say(`${card.name}: job ${job.id.slice(-6)} created`);
  follow(card, job);
}

async function oneByOne(items, work) {
  const done = [];
  for (const item of items) done.push(await work(item)); // one decoded picture at a time is enough for a phone
  return done;
}

// ---- cards out ----

function newCard(name, file = null) {
  const card = new Card(name, { address: (path) => safelight.url(path), onDo: act });
  if (file) card.preview(file);
  card.waits('Waiting to upload');
  $('empty').hidden = true;
  return card;
}

function follow(card, job) {
  cards.set(job.id, card);
  card.show(job);
  if (hasEnded(job)) return busy();
  watches.get(job.id)?.stop();
  const watch = safelight.watch(job, {
    onChange: (news) => {
      card.show(news);
      if (hasEnded(news)) ended(card, news);
    },
    onConnection: (connection) => card.connection(connection),
    onError: (error) => {
      watches.delete(job.id);
      card.refused(error, false);
      busy();
    },
  });
  watches.set(job.id, watch);
  card.connection(watch.connection);
  busy();
}

function ended(card, job) {
  watches.delete(job.id);
  say(job.state === 'succeeded' ? `${card.name} is done` : `${card.name}: ${job.error ? failure(job.error) : 'canceled'}`);
  busy();
}

async function act(what, card) {
  const { job } = card;
  try {
    if (what === 'forget') return remove(card);
    if (what === 'open') return card.open();
    if (what === 'cancel') {
      const answer = await safelight.cancel(job.id);
      if (hasEnded(answer)) card.show(answer);
    } else if (job) follow(card, await safelight.retry(job.id));
    else await card.again();
  } catch (error) {
    // Ended in the meantime: the watch says how.
    if (error.code !== 'job_finished') card.complain(error);
  }
}

function remove(card) {
  if (card.job) hide(card.job.id);
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.element.remove();
  (next?.querySelector('button:not([hidden])') ?? $('prints')).focus();
  $('empty').hidden = $('cards').childElementCount > 0;
}

/** What depends on whether something is going on: the lamp, the title, the promise that one may leave. */
function busy() {
  const running = watches.size;
  document.body.toggleAttribute('data-busy', running + uploads > 0);
  $('upload').hidden = uploads === 0;
  $('safe').hidden = uploads > 0 || running === 0;
  document.title = running ? `(${running}) Safelight` : 'Safelight';
}

addEventListener('beforeunload', (event) => {
  if (uploads) event.preventDefault();
});

// ---- earlier jobs ----

async function earlier() {
  try {
    const { jobs, next } = await safelight.list({ limit: 12, page: nextPage ?? undefined });
    nextPage = next;
    const names = new Map(remembered().map(({ id, name }) => [id, name]));
    for (const job of jobs) if (!cards.has(job.id) && !isHidden(job.id)) showEarlier(job, names.get(job.id));
  } catch (error) {
    // Without a key nobody may list; then it is the jobs of this browser, each with its token.
    if (error.status !== 401 && error.status !== 403) throw error;
    $('key-button').hidden = false;
    await earlierHere();
  }
  $('more').hidden = nextPage === null;
}

async function earlierHere() {
  for (const { id, token, name } of remembered().slice(0, 12)) {
    safelight.trust(id, token);
    try {
      showEarlier(await safelight.get(id), name);
    } catch (error) {
      if ([404, 410].includes(error.status)) forget(id);
    }
  }
}

function showEarlier(job, name) {
  const card = newCard(name ?? job.inputs[0]?.name ?? 'Picture');
  $('cards').append(card.element);
  follow(card, job);
}

// ---- what to do ----

async function offer() {
  const pipelines = await safelight.pipelines();
  if (!pipelines.length) throw new Error('No processor has started yet, so there is nothing to choose. Try again in a moment.');
  const wanted = pipelines.find(({ name }) => name === setting('pipeline')) ?? pipelines.find(({ name }) => name === 'restore') ?? pipelines[0];
  const rows = pipelines.flatMap((pipeline, index) => {
    const id = `pipeline-${index}`;
    const input = make('input', { type: 'radio', name: 'pipeline', id, value: pipeline.name, class: 'visually-hidden', checked: pipeline === wanted, onchange: () => choose(pipeline) });
    return [input, make('label', { for: id }, make('strong', {}, title(pipeline.title || pipeline.name)), make('small', {}, pipeline.description))];
  });
  $('pipelines').append(...rows);
  $('pipelines').hidden = false;
  choose(wanted);
}

function choose(pipeline) {
  chosen = pipeline;
  set('pipeline', pipeline.name);
  readParams = paramsForm($('params'), pipeline.params);
  $('options').hidden = false;
  $('together-row').hidden = pipeline.max_inputs < 2;
}

// ---- around it ----

function say(text) {
  $('spoken').textContent = text;
}

function complain(error) {
  $('trouble').hidden = error === null;
  $('trouble').textContent = error === null ? '' : failure(error);
}

async function askForKey() {
  $('key-button').hidden = false;
  const dialog = $('key-dialog');
  if (dialog.open) return;
  $('key-input').value = setting('key') ?? '';
  dialog.showModal();
}

$('key-dialog').addEventListener('close', () => {
  if ($('key-dialog').returnValue !== 'save') return;
  set('key', $('key-input').value.trim() || null);
  location.reload();
});
$('key-button').addEventListener('click', askForKey);

$('theme-button').addEventListener('click', () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === 'light' ? 'dark' : 'light';
  set('theme', root.dataset.theme);
});

for (const id of ['picker', 'camera']) {
  $(id).addEventListener('change', (event) => {
    const files = [...event.target.files];
    event.target.value = ''; // so that the same file can be chosen again
    void take(files);
  });
}
$('params').addEventListener('submit', (event) => event.preventDefault());
$('more').addEventListener('click', () => void earlier().catch(complain));

// The whole window takes drops, as a near miss would otherwise leave the page.
addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').classList.add('over');
});
addEventListener('dragleave', (event) => event.relatedTarget === null && $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  void take(event.dataTransfer.files);
});
addEventListener('paste', (event) => {
  if (event.clipboardData?.files.length) void take(event.clipboardData.files);
});

if (navigator.connection?.saveData) $('shrink').checked = true;
$('polling-only').checked = setting('transport') === 'polling';
$('polling-only').addEventListener('change', (event) => {
  safelight.transport = event.target.checked ? 'polling' : 'auto';
  set('transport', event.target.checked ? 'polling' : null);
});
safelight.transport = setting('transport') ?? 'auto';
debugPanel($('debug'), $('debug-rows'), watches);

void offer().catch(complain);
void earlier().catch(complain);

/** One card: a picture from "waiting to upload" to its result. It shows; page.js decides. */

import { compare } from './compare.js';
import { icon, make } from './element.js';
import { failure, situation, size, smallPrint } from './words.js';

const SHOWABLE = /^image\/(jpeg|png|webp|gif|bmp|avif)$/;
const THUMB_BYTES = 4_000_000; // larger ones are not fetched from the service for a thumbnail
const BADGES = {
  connecting: ['gray', 'Connecting…', 'Looking for the fastest way'],
  websocket: ['green', 'Real-time', 'Live over a WebSocket'],
  poll: ['yellow', 'Polling', 'This network has no live connection just now, so the page asks again and again'],
  error: ['red', 'Error', 'The service cannot be reached; the page keeps trying'],
};

export class Card {
  #parts;
  #address;
  #job = null;
  #opened = false;

  /** `address(path)` makes an href whole; `onDo(action, card)` hears `cancel`, `retry`, `forget` and `open`. */
  constructor(name, { address, onDo }) {
    this.#address = address;
    this.name = name;
    this.element = document.getElementById('card-template').content.firstElementChild.cloneNode(true);
    const part = (selector) => this.element.querySelector(selector);
    this.#parts = {
      name: part('h3'), badge: part('.badge'), text: part('.text'), percent: part('.percent'), bar: part('.bar'),
      fill: part('.bar > div'), fine: part('p.fine'), image: part('.thumb img'), result: part('.result'), files: part('.files'),
    };
    this.#parts.name.textContent = this.#parts.name.title = name;
    this.#parts.bar.setAttribute('aria-label', `Progress of ${name}`);
    for (const button of this.element.querySelectorAll('[data-do]')) {
      button.setAttribute('aria-label', `${button.textContent.trim() || button.title}: ${name}`);
      button.addEventListener('click', () => onDo(button.dataset.do, this));
    }
  }

  get job() {
    return this.#job;
  }

  /** A picture that this browser has itself. */
  preview(file) {
    if (!SHOWABLE.test(file.type)) return;
    this.#showThumb(URL.createObjectURL(file));
  }

  /** Not a job yet. */
  waits(text) {
    this.#set('waiting', text, null);
    this.#buttons();
  }

  /** There will be no job; `again` says whether a repeat can help. */
  refused(error, again) {
    this.#set('failed', failure(error), null);
    this.element.dataset.code = error.code;
    this.#buttons(...(again ? ['retry', 'forget'] : ['forget']));
  }

  /** An action did not work; the job goes on as it was. */
  complain(error) {
    this.#parts.fine.textContent = failure(error);
  }

  show(job) {
    this.#job = job;
    this.element.dataset.job = job.id;
    const live = job.state === 'queued' || job.state === 'running';
    this.#set(job.state, situation(job), live ? job.progress : null);
    this.#parts.fine.textContent = smallPrint(job);
    if (job.error) this.element.dataset.code = job.error.code;
    else delete this.element.dataset.code;
    this.#thumbFrom(job.inputs[0]);
    this.#parts.files.replaceChildren();
    this.#parts.result.hidden = true;
    if (live) return this.#buttons('cancel');
    this.#parts.badge.hidden = true;
    if (job.state !== 'succeeded') return this.#buttons('retry', 'forget');
    this.#parts.files.append(...job.outputs.map((file) => this.#download(file)));
    if (this.#opened) this.open();
    else this.#buttons('open', 'forget');
  }

  connection({ source, status, error }) {
    const kind = error ? 'error' : source === 'websocket' ? 'websocket' : status === 'connecting' || !source ? 'connecting' : 'poll';
    const [tone, text, title] = BADGES[kind];
    Object.assign(this.element.dataset, { source: source ?? '', status, badge: tone });
    const { badge } = this.#parts;
    badge.hidden = false;
    badge.dataset.tone = tone;
    badge.textContent = text;
    badge.title = title;
  }

  /** Shows the result, now or as soon as there is one. Earlier jobs wait for a click, as pictures are large. */
  open() {
    this.#opened = true;
    const job = this.#job;
    if (job?.state !== 'succeeded') return;
    const facts = job.result === null ? null : make('details', { class: 'facts' }, make('summary', {}, 'Details'), make('pre', {}, JSON.stringify(job.result, null, 2)));
    const parts = [this.#picture(job), facts].filter(Boolean);
    this.#parts.result.replaceChildren(...parts);
    this.#parts.result.hidden = parts.length === 0;
    this.#buttons('forget');
  }

  #set(state, text, progress) {
    const { element } = this;
    const { text: line, percent, bar, fill } = this.#parts;
    element.dataset.state = state;
    element.toggleAttribute('data-live', progress !== null);
    line.textContent = text;
    percent.textContent = progress === null || state === 'queued' ? '' : `${Math.floor(progress)}\u2009%`;
    if (progress === null) return;
    bar.setAttribute('aria-valuenow', String(Math.floor(progress)));
    bar.setAttribute('aria-valuetext', `${Math.floor(progress)} %, ${text}`);
    fill.style.width = `${progress}%`;
    element.style.setProperty('--done', String(progress / 100));
  }

  #buttons(...shown) {
    for (const button of this.element.querySelectorAll('[data-do]')) button.hidden = !shown.includes(button.dataset.do);
  }

  #thumbFrom(file) {
    if (!this.#parts.image.src && file && SHOWABLE.test(file.media_type) && file.bytes <= THUMB_BYTES) {
      this.#showThumb(this.#address(file.href));
    }
  }

  #showThumb(source) {
    const { image } = this.#parts;
    image.loading = 'lazy';
    image.onload = () => (image.hidden = false);
    image.onerror = () => (image.hidden = true);
    image.src = source;
    image.hidden = false;
  }

  /** A slider where the two lie on each other, the result alone where the shape has changed. */
  #picture(job) {
    const before = job.inputs[0];
    const after = job.outputs.find((file) => SHOWABLE.test(file.media_type) && file.width && file.height);
    if (!after) return null;
    const source = this.#address(after.href);
    const ratio = after.width / after.height;
    const same = before?.height && Math.abs(before.width / before.height / ratio - 1) < 0.02;
    if (same && SHOWABLE.test(before.media_type)) return compare(this.#address(before.href), source, ratio);
    return make('img', { class: 'sheet', src: source, alt: `Result of ${this.name}`, width: after.width, height: after.height, decoding: 'async' });
  }

  #download(file) {
    const details = [file.width ? `${file.width} × ${file.height} px` : null, size(file.bytes)].filter(Boolean).join(', ');
    return make(
      'a',
      { class: 'button outline small', href: this.#address(file.href), download: file.name, title: details, 'aria-label': `Download ${file.name}, ${details}` },
      icon('download'),
      make('span', {}, file.name),
      make('small', {}, size(file.bytes)),
    );
  }
}

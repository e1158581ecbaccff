/** Before and after, one over the other, with a seam to move: by hand, by finger, by arrow keys. */

import { icon, make } from './element.js';

/** `ratio` is width by height of what came out. The slider is a real one, so keys and screen readers work. */
export function compare(before, after, ratio) {
  const slider = make('input', { type: 'range', min: 0, max: 100, step: 1, value: 50, 'aria-label': 'Compare before and after' });
  const frame = make(
    'div',
    { class: 'compare' },
    make('img', { class: 'after', src: after, alt: 'After', decoding: 'async', draggable: 'false' }),
    make('img', { class: 'before', src: before, alt: 'Before', decoding: 'async', draggable: 'false' }),
    make('span', { class: 'tag' }, 'Before'),
    make('span', { class: 'tag' }, 'After'),
    make('div', { class: 'seam' }, icon('handle')),
    slider,
  );
  frame.style.setProperty('--ratio', String(ratio));
  const move = () => {
    frame.style.setProperty('--cut', `${slider.value}%`);
    slider.setAttribute('aria-valuetext', `${slider.value} % before, ${100 - slider.value} % after`);
  };
  slider.addEventListener('input', move);
  move();
  return frame;
}

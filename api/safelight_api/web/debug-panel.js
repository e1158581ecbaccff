/** What goes on inside, for whoever asks with `?debug` or `localStorage.debug`: one table per watch. */

import { make } from './element.js';

const READY = ['connecting', 'open', 'closing', 'closed'];

export function debugPanel(panel, rows, watches) {
  panel.hidden = !asked();
  if (panel.hidden) return;
  setInterval(() => {
    const tables = [...watches].map(([id, { connection, job }]) =>
      table({
        job: `…${id.slice(-6)} ${job?.state ?? ''} ${job?.progress ?? ''}`,
        source: connection.source ?? 'none yet',
        status: connection.status,
        readyState: `${connection.readyState} ${READY[connection.readyState]}`,
        cursor: connection.cursor ?? '-',
        session: connection.session ?? '-',
        error: connection.error?.code ?? '-',
      }),
    );
    rows.replaceChildren(...(tables.length ? tables : [make('p', {}, 'No job is being watched.')]));
  }, 500);
}

function table(values) {
  return make('dl', {}, ...Object.entries(values).flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, String(value))]));
}

function asked() {
  try {
    return new URLSearchParams(location.search).has('debug') || Boolean(localStorage.getItem('debug'));
  } catch {
    return false;
  }
}

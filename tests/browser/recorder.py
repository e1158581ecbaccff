"""What the browser tests share: where the service is, and a record of what every card has said."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Page

# Keeps what every card said about itself, so that no test has to look at the right moment.
RECORDER = """
window.seen = [];
new MutationObserver(() => {
  for (const card of document.querySelectorAll('.card')) {
    const { job, state, source, badge } = card.dataset;
    const bar = card.querySelector('.bar');
    const now = { job, state, source, badge, text: card.querySelector('.badge').textContent,
                  percent: Number(bar.getAttribute('aria-valuenow')) };
    const last = window.seen.findLast((one) => one.job === job);
    if (JSON.stringify(last) !== JSON.stringify(now)) window.seen.push(now);
  }
  const upload = document.getElementById('upload-text')?.textContent;
  if (upload && window.uploads?.at(-1) !== upload) (window.uploads ??= []).push(upload);
  const safe = document.getElementById('safe');
  if (safe && !safe.hidden) window.safeAfter ??= document.querySelectorAll('.card[data-job]').length;
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
"""


@dataclass(frozen=True)
class Service:
    url: str
    polling_url: str


OpenPage = Callable[..., Awaitable[Page]]

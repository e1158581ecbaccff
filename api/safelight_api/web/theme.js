/* Light or dark, before the first paint; a module would come too late. page.js offers the switch. */
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('safelight.theme');
  } catch {
    // storage is forbidden: the system's choice stands
  }
  const system = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
  document.documentElement.dataset.theme = chosen ?? system;
})();

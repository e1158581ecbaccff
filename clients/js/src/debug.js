/** What happens inside, said aloud while `localStorage.debug` is `safelight:*` or `true`. Event names are stable. */

/** A function `say(namespace, event, details)`. The switch is read every time, so no reload is needed. */
export function speaker({ storage, console = globalThis.console, onEvent }) {
  return (namespace, event, details = {}) => {
    onEvent?.(event, { namespace, ...details });
    if (wanted(setting(storage), `safelight:${namespace}`)) {
      console.log(`[safelight:${namespace}]`, event, details);
    }
  };
}

/** Whether a setting asks for a namespace; `websocket:*` means everything of ours. */
export function wanted(setting, namespace) {
  return (setting ?? '').split(/[\s,]+/).some((pattern) => {
    if (pattern === 'true' || pattern === '1') return true;
    const name = pattern.replace('websocket:', 'safelight:');
    return name.endsWith('*') ? namespace.startsWith(name.slice(0, -1)) : name === namespace;
  });
}

function setting(storage) {
  try {
    return storage?.getItem('debug');
  } catch {
    return null; // storage can be forbidden
  }
}

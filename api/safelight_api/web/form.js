/**
 * A form for the params of a pipeline, made from their JSON Schema. Only what differs from the default is
 * sent, so that one tap does it and the server's defaults stay the server's.
 */

import { make } from './element.js';
import { title } from './words.js';

/** Fills `root` with the fields; answers a function that reads them, and throws nothing: check `form.reportValidity()`. */
export function paramsForm(root, schema) {
  const group = fields(schema, schema.$defs ?? {}, 'param');
  root.replaceChildren(...group.elements);
  return () => group.read() ?? {};
}

/** The fields of an object: its elements, and `read()`, undefined when everything is as it was. */
function fields(schema, definitions, prefix) {
  const required = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const field = control(name, resolve(property, definitions), definitions, `${prefix}-${name}`, required.has(name));
    return { name, ...field };
  });
  return {
    elements: parts.map((part) => part.element),
    read() {
      const given = parts.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined);
      return given.length ? Object.fromEntries(given) : undefined;
    },
  };
}

/** A property without `$ref` and without the `null` that only says that it may be left out. */
function resolve(property, definitions) {
  const { anyOf, $ref, ...rest } = property;
  if (rest.description) rest.description = rest.description.replaceAll('`', '');
  if ($ref) return { ...resolve(definitions[$ref.split('/').pop()] ?? {}, definitions), ...rest };
  if (!anyOf) return rest;
  const choices = anyOf.filter((choice) => choice.type !== 'null');
  return { ...(choices.length === 1 ? resolve(choices[0], definitions) : {}), ...rest };
}

function control(name, property, definitions, id, required) {
  const usual = property.default;
  const parts = { name, property, id, usual, required };
  if (property.properties) return nested(parts, definitions);
  if (property.enum) return choice(parts);
  if (property.type === 'boolean') return toggle(parts);
  if (property.type === 'array' && property.items?.enum) return several(parts);
  if (property.type === 'number' || property.type === 'integer') return number(parts);
  if (property.type === 'string') return text(parts);
  return json(parts);
}

const different = (value, usual) => (JSON.stringify(value) === JSON.stringify(usual) ? undefined : value);

function labelled({ name, property, id }, input, aside = null) {
  return make(
    'div',
    { class: 'field' },
    make('label', { for: id }, title(property.title ?? name), aside),
    input,
    property.description ? make('small', { id: `${id}-hint` }, property.description) : null,
  );
}

function base({ property, id, required }) {
  return { id, required, 'aria-describedby': property.description ? `${id}-hint` : null };
}

function choice(parts) {
  const { property, usual } = parts;
  const select = make('select', base(parts), ...property.enum.map((value) => make('option', { selected: value === usual }, title(value))));
  return { element: labelled(parts, select), read: () => different(property.enum[select.selectedIndex], usual) };
}

function toggle({ name, property, id, usual }) {
  const input = make('input', { type: 'checkbox', id, checked: usual === true });
  const hint = property.description ? make('small', {}, property.description) : null;
  const label = make('label', { class: 'check' }, input, make('span', {}, title(property.title ?? name), hint));
  return { element: label, read: () => different(input.checked, usual ?? false) };
}

function several({ name, property, usual = [] }) {
  const boxes = property.items.enum.map((value) => [value, make('input', { type: 'checkbox', checked: usual.includes(value) })]);
  const rows = boxes.map(([value, box]) => make('label', { class: 'check' }, box, make('span', {}, title(value))));
  const hint = property.description ? make('small', {}, property.description) : null;
  const group = make('div', { class: 'field', role: 'group', 'aria-label': title(name) }, make('span', { class: 'name' }, title(name)), ...rows, hint);
  return { element: group, read: () => different(boxes.filter(([, box]) => box.checked).map(([value]) => value), usual) };
}

function number(parts) {
  const { property, usual } = parts;
  const { minimum: min = property.exclusiveMinimum, maximum: max = property.exclusiveMaximum, type } = property;
  const whole = type === 'integer';
  const slides = min !== undefined && max !== undefined && max - min <= 100 && typeof usual === 'number';
  const step = whole ? 1 : slides ? (max - min) / 100 : 'any';
  const kind = slides ? 'range' : 'number';
  const input = make('input', { ...base(parts), type: kind, min, max, step, value: usual, inputmode: whole ? 'numeric' : 'decimal', placeholder: 'automatic' });
  const shown = slides ? make('output', { for: parts.id }, String(usual)) : null;
  input.addEventListener('input', () => shown?.replaceChildren(String(Number(input.value))));
  return { element: labelled(parts, input, shown), read: () => (input.value === '' ? undefined : different(Number(input.value), usual)) };
}

function text(parts) {
  const { property, usual } = parts;
  // `pattern` of HTML is anchored anyway; a pattern that a browser cannot read is left to the server.
  const pattern = property.pattern?.replace(/^\^|\$$/g, '');
  const input = make('input', { ...base(parts), type: 'text', pattern, maxlength: property.maxLength, value: usual ?? '', spellcheck: 'false' });
  return { element: labelled(parts, input), read: () => (input.value === '' ? undefined : different(input.value, usual)) };
}

/** An object that may be left out: its fields show when it is wanted. */
function nested({ name, property, id, required }, definitions) {
  const inner = fields(property, definitions, id);
  const toggle = make('input', { type: 'checkbox', checked: required });
  const legend = make('legend', {}, make('label', { class: 'check' }, toggle, make('span', {}, title(name))));
  const group = make('fieldset', { class: 'group' }, legend, ...inner.elements);
  const show = () => {
    group.toggleAttribute('data-off', !toggle.checked);
    for (const element of inner.elements) for (const input of inputs(element)) input.disabled = !toggle.checked;
  };
  toggle.addEventListener('change', show);
  show();
  return { element: group, read: () => (toggle.checked ? (inner.read() ?? {}) : undefined) };
}

function inputs(element) {
  return element.querySelectorAll('input, select, textarea');
}

/** Whatever has no better control: as JSON. */
function json(parts) {
  const { usual } = parts;
  const area = make('textarea', { ...base(parts), spellcheck: 'false', placeholder: JSON.stringify(usual ?? null), rows: 2 });
  const read = () => {
    area.setCustomValidity('');
    if (!area.value.trim()) return undefined;
    try {
      return different(JSON.parse(area.value), usual);
    } catch {
      area.setCustomValidity('This is not JSON.');
      return undefined;
    }
  };
  area.addEventListener('input', read);
  return { element: labelled(parts, area, make('small', {}, 'JSON')), read };
}

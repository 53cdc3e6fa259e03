/* What the interactive figures share: elements, numbers as they are written, numbers to drag. */

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "circle", "line", "path", "rect", "text", "title"]);

/** An element of HTML or of a drawing; attributes that begin with `on` are listeners. */
export function make(name, attributes = {}, ...children) {
  const element = DRAWN.has(name)
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A number with a real minus sign: four decimals, or a power of ten if it is small. */
export function written(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value).replace("-", "−").replace("Infinity", "∞");
  const small = value !== 0 && Math.abs(value) < 10 ** (1 - digits);
  const text = small || Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toFixed(digits);
  return text.replaceAll("-", "−").replace(/^−(0\.?0*)$/, "$1");
}

/** The same as a factor or a term, with brackets around a negative number. */
export function term(value, digits = 2) {
  return value < 0 ? `(${written(value, digits)})` : written(value, digits);
}

/** A labelled control: `<label>name <input></label>`. */
export function labelled(name, control) {
  return make("label", {}, `${name} `, control);
}

/** A list to choose from; `options` gives each value with its name. When a reader comes back to the
 * page, the browser must not restore it (autocomplete), because the figure begins anew. */
export function choice(options, chosen, onchange) {
  const select = make("select", { autocomplete: "off", onchange: () => onchange(select.value) });
  for (const [value, name] of Object.entries(options)) {
    select.append(make("option", { value, ...(value === chosen && { selected: "" }) }, name));
  }
  return select;
}

/** `2 neurons`, `1 neuron`. */
export function counted(number, name) {
  return `${number.toLocaleString("en")} ${name}${number === 1 ? "" : "s"}`;
}

export function button(name, onclick, attributes = {}) {
  return make("button", { type: "button", ...attributes, onclick }, name);
}

/**
 * Make an element of a drawing a slider: drag it sideways or use the arrow keys.
 *
 * @param element  what is dragged
 * @param name     what a screen reader calls it
 * @param get, set the number
 * @param range    [lowest, highest]
 */
export function draggable(element, name, get, set, range = [-8, 8], step = 0.05) {
  const limited = (value) => Math.min(range[1], Math.max(range[0], value));
  const change = (value) => set(limited(Math.round(value / step) * step));
  const keys = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 20, PageDown: -20 };
  let start = null;
  for (const [key, value] of Object.entries({
    role: "slider", tabindex: "0", "aria-label": name,
    "aria-valuemin": range[0], "aria-valuemax": range[1],
  })) element.setAttribute(key, value);
  element.classList.add("draggable");
  element.addEventListener("pointerdown", (event) => {
    start = { x: event.clientX, value: get() };
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (start) change(start.value + (event.clientX - start.x) * 0.02);
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (start = null));
  element.addEventListener("keydown", (event) => {
    if (!(event.key in keys) && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    if (event.key === "Home") set(range[0]);
    else if (event.key === "End") set(range[1]);
    else change(get() + keys[event.key] * step);
  });
  return () => element.setAttribute("aria-valuenow", get().toFixed(4));
}

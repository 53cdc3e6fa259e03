/* Page 2's network, to be changed and followed one neuron at a time. */

import { backward, cost, descend, forward, layer } from "./network.js";
import { button, choice, counted, draggable, labelled, make, term, written } from "./elements.js";

const PLACES = { x: [[26, 92], [26, 248]], h: [[178, 92], [178, 248]], o: [[332, 170]] };
const LN3 = Math.log(3);

const PRESETS = {
  page: { name: "the page's numbers", f: "sigmoid", x: [2, 1], target: 1,
    w: [[0.5, 1, -1, 0.5], [2, -1]], b: [[LN3, -2.5], [-1]] },
  certain: { name: "certain and wrong: Δ vanishes", f: "sigmoid", x: [2, 1], target: 1,
    w: [[0.5, 1, -1, 0.5], [2, -1]], b: [[LN3, -2.5], [-8]] },
  saturated: { name: "large weights: flat hidden neurons", f: "tanh", x: [2, 1], target: 1,
    w: [[3, 2, 1, 2], [1, -1]], b: [[0, 0], [0.5]] },
  dead: { name: "a rectifier that is off", f: "relu", x: [2, 1], target: 1,
    w: [[0.5, 1, -1, 0.5], [2, -1]], b: [[LN3, -3.5], [-1]] },
};

/* In the order in which one computes them: the neuron, the equation, and what becomes visible. */
const STAGES = [
  { at: "h0", equation: "forward", says: (s) => weighted(s, 0, 0) },
  { at: "h1", equation: "forward", says: (s) => weighted(s, 0, 1) },
  { at: "o0", equation: "forward", says: (s) => weighted(s, 1, 0) },
  { at: "cost", equation: "cost", says: ({ y, target, C }) =>
    [`C = ½ (y − F)² = ½ (${written(y[2][0])} − ${term(target)})² = ${written(C)}`] },
  { at: "o0", equation: "output", says: ({ y, target, slope, deltas }) =>
    [`Δ = (y − F) · f′(z) = ${term(y[2][0] - target, 4)} · ${term(slope[1][0], 4)} = ${written(deltas[1][0])}`] },
  { at: "o0", equation: "gradient", says: (s) => gradients(s, 1, 0) },
  { at: "h0", equation: "hidden", says: (s) => carried(s, 0) },
  { at: "h0", equation: "gradient", says: (s) => gradients(s, 0, 0) },
  { at: "h1", equation: "hidden", says: (s) => carried(s, 1) },
  { at: "h1", equation: "gradient", says: (s) => gradients(s, 0, 1) },
];
/* From which stage on a number is shown. */
const SHOWN = { h0: 1, h1: 2, o0: 3, C: 4, "Δo0": 5, "∂1,0": 6, "Δh0": 7, "∂0,0": 8, "Δh1": 9, "∂0,1": 10 };

const index = (n, j) => (n ? "" : "₁₂"[j]);

function weighted({ network, y, z }, n, j) {
  const { below, size, w, b } = network[n];
  const products = Array.from({ length: below }, (_, k) => `${term(w[k * size + j])} · ${term(y[n][k])}`);
  const i = index(n, j);
  return [
    `z${i} = ${products.join(" + ")} + ${term(b[j])} = ${written(z[n][j])}`,
    `y${i} = f(z${i}) = ${written(y[n + 1][j])}`,
  ];
}

function carried({ network, slope, deltas }, k) {
  const i = index(0, k);
  return [
    `Δ${i} = Δ · w${i} · f′(z${i}) = ${term(deltas[1][0], 4)} · ${term(network[1].w[k])} · ${term(slope[0][k], 4)}`
      + ` = ${written(deltas[0][k])}`,
  ];
}

function gradients({ network, y, deltas, dw, db }, n, j) {
  const { below, size } = network[n];
  const i = index(n, j);
  return [
    ...Array.from({ length: below }, (_, k) =>
      `∂C/∂w${i}${"₁₂"[k]} = Δ${i} · ${n ? "y" : "x"}${"₁₂"[k]} = ${term(deltas[n][j], 4)} · ${term(y[n][k], 4)}`
        + ` = ${written(dw[n][k * size + j])}`),
    `∂C/∂b${i} = Δ${i} = ${written(db[n][j])}`,
  ];
}

class Figure {
  constructor(box) {
    this.box = box;
    this.equations = box.querySelectorAll("[data-equation]");
    this.stage = 0;
    this.eta = 1;
    this.shows = []; // functions that write a number of the drawing anew
    this.network = [layer(2, 2, "sigmoid"), layer(2, 1, "sigmoid")];
    this.build();
    this.load("page");
  }

  load(preset) {
    this.preset = preset;
    this.trouble = "";
    const { f, x, target, w, b } = PRESETS[preset];
    this.input = Float64Array.from(x);
    this.target = Float64Array.of(target);
    this.network.forEach((one, n) => {
      one.f = f;
      one.w.set(w[n]);
      one.b.set(b[n]);
    });
    this.activation.value = f;
    this.costs = [];
    this.show();
  }

  /* Everything that follows from the numbers. */
  computed() {
    const { network, input } = this;
    const pass = forward(network, input);
    const gradient = backward(network, pass, this.target);
    const C = cost(pass.y[2], this.target, 1);
    return { network, target: this.target[0], ...pass, ...gradient, C };
  }

  descend() {
    const now = this.computed();
    if (!this.costs.length) this.costs.push(now.C);
    const before = this.network.map(({ w, b }) => [w.slice(), b.slice()]);
    descend(this.network, now, this.eta);
    const { C } = this.computed();
    this.trouble = C < 1e4 ? "" : "This step is too long: the cost grows without bound. Choose a smaller η.";
    if (this.trouble) {
      this.network.forEach((one, n) => [one.w, one.b] = before[n]);
    } else this.costs.push(C);
    this.stage = STAGES.length;
    this.show();
  }

  /* Other numbers or another f: the costs so far are those of another network. */
  changed() {
    this.costs = [];
    this.trouble = "";
    this.show();
  }

  go(stage) {
    this.stage = Math.min(STAGES.length, Math.max(0, stage));
    this.show();
  }

  build() {
    this.drawing = make("svg", { viewBox: "0 0 380 340", role: "group", "aria-label": "The network" });
    this.connections();
    this.neurons();
    this.words = make("div", { class: "says", "aria-live": "polite" });
    this.activation = choice({ sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU" }, "sigmoid", (f) => {
      for (const one of this.network) one.f = f;
      this.changed();
    });
    const presets = Object.fromEntries(Object.entries(PRESETS).map(([key, { name }]) => [key, name]));
    const eta = make("input", { type: "number", value: 1, min: 0, max: 100, step: 0.1, autocomplete: "off",
      onchange: () => (eta.value = this.eta = eta.value ? Math.min(100, Math.max(0, Number(eta.value))) : this.eta) });
    this.first = button("Start", () => this.go(0));
    this.back = button("◀ Back", () => this.go(this.stage - 1));
    this.next = button("Next ▶", () => this.go(this.stage + 1), { class: "main" });
    this.all = button("All", () => this.go(STAGES.length));
    this.size = make("div", { class: "sizes" });
    this.history = make("svg", { viewBox: "0 0 100 30", class: "history", role: "img",
      preserveAspectRatio: "none" });
    this.status = make("span", { class: "status" });
    this.box.prepend(
      make("div", { class: "bench" },
        make("div", { class: "drawing" }, this.drawing,
          make("p", { class: "hint" }, "Drag an underlined number sideways, or select it and use the arrow keys.")),
        make("div", { class: "panel" },
          make("div", { class: "controls" }, this.first, this.back, this.next, this.all),
          this.words,
          this.size,
          make("div", { class: "controls" }, labelled("f", this.activation),
            labelled("numbers", choice(presets, "page", (preset) => this.load(preset)))),
          make("div", { class: "controls" }, button("Step downhill", () => this.descend()),
            labelled("η", eta), button("Reset", () => this.load(this.preset)), this.status),
          this.history)));
    this.box.hidden = false;
  }

  /* A text of the drawing that is written anew whenever a number changes. */
  text(x, y, kind, write, shownFrom = 0) {
    const element = make("text", { x, y, class: kind });
    this.shows.push((now) => {
      element.textContent = write(now);
      element.classList.toggle("later", this.stage < shownFrom);
    });
    this.drawing.append(element);
    return element;
  }

  number(x, y, name, label, array, i, range) {
    const get = () => array()[i];
    const element = this.text(x, y, "given", () => label + written(get(), 2));
    const announce = draggable(element, name, get, (value) => {
      array()[i] = value;
      this.changed();
    }, range);
    this.shows.push(announce);
  }

  connections() {
    const wires = [["x", 0, 0, "h", 0, 0.5, -7, 15], ["x", 0, 0, "h", 1, 0.27, -3, 12],
      ["x", 1, 0, "h", 0, 0.27, -3, 12], ["x", 1, 0, "h", 1, 0.5, -7, 15],
      ["h", 0, 1, "o", 0, 0.5, -3, 12], ["h", 1, 1, "o", 0, 0.5, -3, 12]];
    const labels = [];
    for (const [from, k, n, to, j, at, up, down] of wires) {
      const [x1, y1] = PLACES[from][k], [x2, y2] = PLACES[to][j];
      const line = make("line", { x1, y1, x2, y2, class: "wire" });
      this.shows.push((now) => {
        line.style.strokeWidth = 1 + Math.min(5, Math.abs(now.network[n].w[k * now.network[n].size + j]));
        line.classList.toggle("active", this.active?.at === to + j);
      });
      this.drawing.append(line);
      const [x, y] = [x1 + at * (x2 - x1), y1 + at * (y2 - y1)];
      labels.push(() => {
        const i = () => k * this.network[n].size + j;
        this.number(x, y + up, `weight ${n + 1}: to ${j + 1} from ${k + 1}`, "", () => this.network[n].w, i(), [-8, 8]);
        this.text(x, y + down, "back", (now) => written(now.dw[n][i()]), SHOWN[`∂${n},${j}`]);
      });
    }
    for (const label of labels) label(); // above all lines
  }

  neurons() {
    const circle = (place, kind, id) => {
      const [cx, cy] = place;
      const element = make("circle", { cx, cy, r: kind === "input" ? 23 : 34, class: `neuron ${kind}` });
      this.shows.push(() => element.classList.toggle("active", this.active?.at === id));
      this.drawing.append(element);
    };
    PLACES.x.forEach((place, k) => {
      circle(place, "input", "");
      this.number(place[0], place[1] + 5, `input ${k + 1}`, "", () => this.input, k, [-5, 5]);
    });
    for (const [key, n] of [["h", 0], ["o", 1]]) {
      PLACES[key].forEach(([x, y], j) => {
        circle([x, y], "cell", key + j);
        this.text(x, y - 3, "forth", (now) => written(now.y[n + 1][j]), SHOWN[key + j]);
        this.text(x, y + 14, "back", (now) => `Δ ${written(now.deltas[n][j])}`, SHOWN[`Δ${key}${j}`]);
        const below = key === "h" && j === 1; // the lower neuron has its bias below
        const [bias, sum, slope] = below ? [y + 62, y + 47, y + 77] : [y - 54, y - 39, y - 69];
        this.number(x, bias, `bias of ${n ? "the output" : `hidden neuron ${j + 1}`}`, "b = ", () => this.network[n].b, j, [-12, 12]);
        this.text(x, sum, "forth small", (now) => `z = ${written(now.z[n][j])}`, SHOWN[key + j]);
        this.text(x, slope, "back small", (now) => `∂C/∂b ${written(now.db[n][j])}`, SHOWN[`∂${n},${j}`]);
      });
    }
    const [x, y] = PLACES.o[0];
    this.number(x, y + 50, "target", "F = ", () => this.target, 0, [-2, 2]);
    const costLine = this.text(x, y + 67, "forth", (now) => `C = ${written(now.C)}`, SHOWN.C);
    this.shows.push(() => costLine.classList.toggle("active", this.active?.at === "cost"));
  }

  show() {
    const now = this.computed();
    this.active = STAGES[this.stage - 1];
    for (const show of this.shows) show(now);
    for (const equation of this.equations) {
      equation.classList.toggle("now", equation.dataset.equation === this.active?.equation);
    }
    const lines = this.active ? this.active.says(now)
      : ["Press Next: the network computes one neuron at a time, first forward, then backward."];
    this.words.replaceChildren(...lines.map((line) => make("p", {}, line)));
    this.first.disabled = this.back.disabled = this.stage === 0;
    this.next.disabled = this.all.disabled = this.stage === STAGES.length;
    this.sizes(now);
    this.curve(now);
  }

  /* How large the gradient is in each layer, on a logarithmic scale from 1e-8 to 1. */
  sizes(now) {
    const bars = [1, 0].map((n) => {
      const largest = Math.max(...now.dw[n].map(Math.abs), ...now.db[n].map(Math.abs));
      const width = Math.max(0, Math.min(1, 1 + Math.log10(largest || 1e-99) / 8));
      return make("div", { class: "bar" },
        make("span", {}, n ? "output layer" : "hidden layer"),
        make("i", { style: `--part: ${width}` }), make("span", {}, written(largest)));
    });
    this.size.replaceChildren(make("p", {}, "Largest |∂C/∂w|, |∂C/∂b| in each layer"), ...bars);
    this.size.classList.toggle("later", this.stage < STAGES.length);
  }

  curve(now) {
    const { costs } = this;
    this.status.textContent = this.trouble || (costs.length
      ? `C: ${written(costs[0])} → ${written(now.C)} in ${counted(costs.length - 1, "step")}` : "");
    const highest = Math.max(...costs, 1e-12);
    const points = costs.map((C, i) => `${(100 * i) / Math.max(1, costs.length - 1)},${29 - (28 * C) / highest}`);
    this.history.replaceChildren(make("title", {}, "The cost after each step"),
      make("path", { d: points.length ? `M${points.join("L")}` : "" }));
    this.history.classList.toggle("later", !costs.length);
  }
}

for (const box of document.querySelectorAll(".live[data-figure='chain-rule']")) box.figure = new Figure(box);

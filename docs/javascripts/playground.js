/* Page 6's network: it learns the lecture's function of two variables, or points that are drawn. */

import { backward, cost, descend, forward, generator, initialise, layer } from "./network.js";
import { button, choice, counted, labelled, make, written } from "./elements.js";

const GRID = 41; // points of the picture along each axis
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const MOST_LAYERS = 4, MOST_NEURONS = 64;
const MILLISECONDS = 25; // of training between two pictures

/** F(x₀, x₁) = exp(−5 (x₀² + x₁²)) |x₀ + x₁| */
export const lectureFunction = (x0, x1) => Math.exp(-5 * (x0 * x0 + x1 * x1)) * Math.abs(x0 + x1);

/** The points of a grid over the square from −½ to ½, row by row from below. */
function grid() {
  const points = new Float64Array(2 * GRID * GRID);
  for (let row = 0; row < GRID; row++) {
    for (let column = 0; column < GRID; column++) {
      points.set([column / (GRID - 1) - 0.5, row / (GRID - 1) - 0.5], 2 * (row * GRID + column));
    }
  }
  return points;
}

const SQUARE = grid();
const WANTED = Float64Array.from({ length: GRID * GRID }, (_, i) => lectureFunction(SQUARE[2 * i], SQUARE[2 * i + 1]));

class Playground {
  constructor(box) {
    this.box = box;
    this.hidden = [20, 20];
    this.f = "relu";
    this.eta = 0.5;
    this.batch = 100;
    this.seed = 1;
    this.points = []; // [x₀, x₁, value]
    this.draws = 1;
    this.data = "function";
    this.cursor = null;
    this.build();
    this.restart();
  }

  /* A new network, with the same seed unless another one is asked for. */
  restart(seed = this.seed) {
    this.seed = seed;
    this.random = generator(seed);
    this.network = [...this.hidden, 1].map((size, n, all) =>
      layer(n ? all[n - 1] : 2, size, n === all.length - 1 ? "linear" : this.f));
    initialise(this.network, this.random);
    this.steps = 0;
    this.costs = [];
    this.norms = this.network.map(() => 0);
    this.trouble = "";
    this.show();
  }

  /* The rows of one step: new ones of the function, or some of the points. */
  rows() {
    if (this.data === "function") {
      const x = Float64Array.from({ length: 2 * this.batch }, () => this.random() - 0.5);
      return { x, t: Float64Array.from({ length: this.batch }, (_, i) => lectureFunction(x[2 * i], x[2 * i + 1])) };
    }
    const count = Math.min(this.batch, this.points.length);
    const order = this.points.map((point) => [this.random(), point]).sort((a, b) => a[0] - b[0]);
    const some = order.slice(0, count).map(([, point]) => point);
    return { x: Float64Array.from(some.flatMap(([a, b]) => [a, b])), t: Float64Array.from(some.map((point) => point[2])) };
  }

  step() {
    const { x, t } = this.rows();
    if (!t.length) return this.stop("Draw some points first.");
    const pass = forward(this.network, x);
    const C = cost(pass.y.at(-1), t, 1);
    if (!Number.isFinite(C) || C > 1e6) {
      return this.stop("The cost has grown without bound. Choose a smaller η, then press New start.");
    }
    const gradient = backward(this.network, pass, t);
    descend(this.network, gradient, this.eta);
    this.costs.push(C);
    this.norms = gradient.deltas.map((d) => Math.sqrt(d.reduce((sum, one) => sum + one * one, 0) / d.length));
    this.steps++;
    return true;
  }

  play() {
    if (this.running) return this.stop("");
    this.running = true;
    this.trouble = "";
    this.button.textContent = "Pause";
    const frame = () => {
      if (!this.running) return;
      const until = performance.now() + MILLISECONDS;
      while (performance.now() < until && this.step());
      this.show();
      if (this.running) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  stop(trouble) {
    this.running = false;
    this.trouble = trouble;
    this.button.textContent = "Train";
    this.show();
    return false;
  }

  build() {
    const canvas = (name, more = {}) => make("canvas", { width: GRID, height: GRID, role: "img", "aria-label": name, ...more });
    this.output = canvas("The output of the network over the square; press Enter to draw a point", { tabindex: "0" });
    this.wanted = canvas("The picture of F");
    this.marks = make("svg", { viewBox: "-0.5 -0.5 1 1", class: "marks" });
    this.output.addEventListener("click", (event) => { // and not on every swipe over it
      const place = this.output.getBoundingClientRect();
      this.draw((event.clientX - place.left) / place.width - 0.5, 0.5 - (event.clientY - place.top) / place.height);
    });
    this.output.addEventListener("keydown", (event) => this.key(event));
    this.button = button("Train", () => this.play(), { class: "main" });
    this.curve = make("svg", { viewBox: "0 0 100 40", class: "history", preserveAspectRatio: "none", role: "img" });
    this.status = make("p", { class: "status", "aria-live": "off" });
    this.warning = make("p", { class: "status warning", role: "status" });
    this.layers = make("div", { class: "layers" });
    this.sizes = make("div", { class: "sizes" });
    this.drawing = make("div", { class: "controls" },
      make("p", {}, "Click on the square to draw a point, or select it and use the arrow keys and Enter."),
      labelled("draw", choice({ "1 ": "high points (1, yellow)", "0 ": "low points (0, violet)" }, "1 ", (value) => (this.draws = Number(value)))),
      button("Clear the points", () => { this.points = []; this.show(); }));
    const rates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5];
    const batches = [1, 3, 10, 30, 100, 300];
    const same = (numbers) => Object.fromEntries(numbers.map((number) => [`${number} `, String(number)]));
    this.box.prepend(make("div", { class: "bench" },
      make("div", { class: "drawing" },
        make("div", { class: "square" }, this.output, this.marks),
        make("div", { class: "goal" }, this.wanted, make("span", {}, "F itself")),
        this.status, this.warning),
      make("div", { class: "panel" },
        make("div", { class: "controls" }, this.button, button("One step", () => { this.step(); this.show(); }),
          button("New start", () => this.restart(this.seed + 1))),
        make("div", { class: "controls" },
          labelled("learn", choice({ function: "the lecture's F", points: "points that I draw" }, "function", (data) => {
            this.data = data;
            this.stop("");
            this.restart();
          }))),
        this.drawing,
        make("div", { class: "controls" },
          labelled("f", choice({ relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid" }, "relu", (f) => { this.f = f; this.restart(); })),
          labelled("η", choice(same(rates), "0.5 ", (eta) => (this.eta = Number(eta)))),
          labelled("batch", choice(same(batches), "100 ", (batch) => (this.batch = Number(batch))))),
        this.layers, this.sizes, make("p", { class: "hint" }, "Cost of each batch, logarithmic"), this.curve)));
    paint(this.wanted, WANTED, -0.05, 0.28);
    this.box.hidden = false;
  }

  draw(x0, x1) {
    if (this.data !== "points") return;
    this.points.push([x0, x1, this.draws]);
    this.trouble = "";
    this.show();
  }

  /* With the keyboard: arrows move a cursor over the square, Enter draws a point there. */
  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (this.data !== "points" || !(event.key in moves || event.key === "Enter")) return;
    event.preventDefault();
    this.cursor ??= [0, 0];
    if (event.key === "Enter") return this.draw(...this.cursor);
    this.cursor = this.cursor.map((at, i) => Math.min(0.5, Math.max(-0.5, at + moves[event.key][i] / 20)));
    this.show();
  }

  resize(change) {
    change(this.hidden);
    this.restart();
  }

  show() {
    const y = forward(this.network, SQUARE).y.at(-1);
    const isFunction = this.data === "function";
    paint(this.output, y, ...(isFunction ? [-0.05, 0.28] : [-0.1, 1.1]));
    const error = Math.sqrt(y.reduce((sum, one, i) => sum + (one - WANTED[i]) ** 2, 0) / y.length);
    this.wanted.parentElement.hidden = !isFunction;
    this.drawing.hidden = isFunction;
    this.status.textContent = counted(this.steps, "step")
      + (this.costs.length ? `, C = ${written(this.costs.at(-1), 5)}` : "")
      + (isFunction ? `, root mean square error ${written(error)}` : `, ${counted(this.points.length, "point")}`);
    this.warning.textContent = this.trouble;
    this.marks.replaceChildren(...this.points.map(([x0, x1, value]) =>
      make("circle", { cx: x0, cy: -x1, r: 0.018, class: value ? "high" : "low" })));
    if (this.cursor && !isFunction) {
      this.marks.append(make("circle", { cx: this.cursor[0], cy: -this.cursor[1], r: 0.03, class: "cursor" }));
    }
    this.showLayers();
    this.showDeltas();
    this.showCurve();
  }

  showLayers() {
    const description = this.hidden.join();
    if (this.layers.dataset.shown === description) return;
    this.layers.dataset.shown = description;
    const buttons = () => [...this.layers.querySelectorAll("button")];
    const name = (one) => one.getAttribute("aria-label") ?? one.textContent;
    const pressed = buttons().find((one) => one === document.activeElement);
    this.layers.replaceChildren(...this.hidden.map((size, n) => make("div", { class: "controls" },
      make("span", { class: "status" }, `layer ${n + 1}: ${counted(size, "neuron")}`),
      button("−", () => this.resize((sizes) => (sizes[n] = Math.max(1, size - (size > 10 ? 5 : 1)))), { "aria-label": `fewer neurons in layer ${n + 1}` }),
      button("+", () => this.resize((sizes) => (sizes[n] = Math.min(MOST_NEURONS, size + (size >= 10 ? 5 : 1)))), { "aria-label": `more neurons in layer ${n + 1}` }),
      button("remove", () => this.resize((sizes) => sizes.splice(n, 1)), { "aria-label": `remove layer ${n + 1}` }))),
    button("add a layer", () => this.resize((sizes) => sizes.push(sizes.at(-1) ?? 10)),
      this.hidden.length < MOST_LAYERS ? {} : { disabled: "" }));
    if (!pressed) return; // the focus stays on the button, or goes to one that is left
    const left = buttons().filter((one) => !one.disabled);
    (left.find((one) => name(one) === name(pressed)) ?? left.at(-1)).focus();
  }

  showDeltas() {
    this.sizes.replaceChildren(make("p", {}, "Root mean square of Δ in each layer, logarithmic"),
      ...this.norms.map((norm, n) => make("div", { class: "bar" },
        make("span", {}, n < this.norms.length - 1 ? `layer ${n + 1}` : "output"),
        make("i", { style: `--part: ${Math.max(0, Math.min(1, 1 + Math.log10(norm || 1e-99) / 6))}` }),
        make("span", {}, this.steps ? written(norm, 5) : ""))));
  }

  /* At most 200 points, each the average of as many steps. */
  showCurve() {
    const each = Math.ceil(this.costs.length / 200);
    const means = [];
    for (let at = 0; at + each <= this.costs.length && each; at += each) {
      means.push(this.costs.slice(at, at + each).reduce((sum, one) => sum + one, 0) / each);
    }
    const heights = means.map((mean) => Math.log10(Math.max(mean, 1e-16)));
    const [low, high] = [Math.min(...heights), Math.max(...heights)];
    const points = heights.map((height, i) =>
      `${(100 * i) / Math.max(1, heights.length - 1)},${38 - (36 * (height - low)) / (high - low || 1)}`);
    this.curve.replaceChildren(make("title", {}, "The cost over the steps"), make("path", { d: points.length > 1 ? `M${points.join("L")}` : "" }));
  }
}

/** Paint the values over the square, with the second coordinate upwards. */
function paint(canvas, values, low, high) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(GRID, GRID);
  values.forEach((value, i) => {
    const place = Math.min(0.9999, Math.max(0, (value - low) / (high - low) || 0)) * (VIRIDIS.length - 1);
    const [from, to, part] = [VIRIDIS[Math.floor(place)], VIRIDIS[Math.floor(place) + 1], place % 1];
    const at = 4 * ((GRID - 1 - Math.floor(i / GRID)) * GRID + (i % GRID));
    for (let c = 0; c < 3; c++) image.data[at + c] = from[c] + part * (to[c] - from[c]);
    image.data[at + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

for (const box of document.querySelectorAll(".live[data-figure='playground']")) box.figure = new Playground(box);

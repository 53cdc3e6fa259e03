/* The lecture's network, as in `chainrule.lecture`, for the interactive figures.
 *
 *   y⁽ⁿ⁾ = f(z⁽ⁿ⁾),  z⁽ⁿ⁾ = y⁽ⁿ⁻¹⁾ w⁽ⁿ⁾ + b⁽ⁿ⁾,     C = ½ ⟨‖y⁽ᴺ⁾ − F‖²⟩
 *
 *   Δ⁽ᴺ⁾ = (y⁽ᴺ⁾ − F) f′(z⁽ᴺ⁾),    Δ⁽ⁿ⁻¹⁾ = (Δ⁽ⁿ⁾ w⁽ⁿ⁾ᵀ) f′(z⁽ⁿ⁻¹⁾)
 *   ∂C/∂w⁽ⁿ⁾ = ⟨y⁽ⁿ⁻¹⁾ Δ⁽ⁿ⁾⟩,     ∂C/∂b⁽ⁿ⁾ = ⟨Δ⁽ⁿ⁾⟩
 *
 * Arrays are flat and row by row, with the batch first: y is (batch, neurons), w is (neurons below,
 * neurons). A network is a list of layers {below, size, f, w, b}. The tests compare every number
 * with the lecture's functions in Python.
 */

/** Each activation gives [f(z), f′(z)]. */
export const ACTIVATIONS = {
  sigmoid(z) {
    const decay = Math.exp(-Math.abs(z)); // never overflows
    return [(z < 0 ? decay : 1) / (1 + decay), decay / (1 + decay) ** 2];
  },
  tanh(z) {
    const y = Math.tanh(z);
    return [y, (1 - y) * (1 + y)];
  },
  relu: (z) => [Math.max(z, 0), z > 0 ? 1 : 0],
  linear: (z) => [z, 1],
};

/** A layer of `size` neurons above `below` others, with weights and biases of zero. */
export function layer(below, size, f) {
  return { below, size, f, w: new Float64Array(below * size), b: new Float64Array(size) };
}

/** The values y⁽ⁿ⁾ of all layers from the input on, and z⁽ⁿ⁾ and f′(z⁽ⁿ⁾) of all after the input. */
export function forward(network, input) {
  const y = [input], z = [], slope = [];
  for (const { below, size, f, w, b } of network) {
    const under = y.at(-1), batch = under.length / below;
    const sums = new Float64Array(batch * size);
    const values = new Float64Array(batch * size);
    const slopes = new Float64Array(batch * size);
    for (let row = 0; row < batch; row++) {
      const start = row * size;
      for (let k = 0; k < below; k++) {
        const factor = under[row * below + k];
        for (let j = 0; j < size; j++) sums[start + j] += factor * w[k * size + j];
      }
      for (let j = 0; j < size; j++) {
        sums[start + j] += b[j];
        [values[start + j], slopes[start + j]] = ACTIVATIONS[f](sums[start + j]);
      }
    }
    y.push(values);
    z.push(sums);
    slope.push(slopes);
  }
  return { y, z, slope };
}

/** C = ½ ⟨‖y − F‖²⟩ for rows of `size` numbers. */
export function cost(y, target, size) {
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += (y[i] - target[i]) ** 2;
  return sum / (2 * (y.length / size));
}

/** Δ of every layer after the input, and the derivatives dw and db of C. */
export function backward(network, { y, slope }, target) {
  const batch = target.length / network.at(-1).size;
  let delta = slope.at(-1).map((df, i) => (y.at(-1)[i] - target[i]) * df);
  const deltas = [], dw = [], db = [];
  for (let n = network.length - 1; n >= 0; n--) {
    const { below, size, w } = network[n];
    const under = y[n];
    const dwOf = new Float64Array(below * size), dbOf = new Float64Array(size);
    const next = new Float64Array(n ? batch * below : 0);
    for (let row = 0; row < batch; row++) {
      const start = row * size;
      for (let j = 0; j < size; j++) dbOf[j] += delta[start + j];
      for (let k = 0; k < below; k++) {
        const value = under[row * below + k];
        let sum = 0;
        for (let j = 0; j < size; j++) {
          dwOf[k * size + j] += value * delta[start + j];
          sum += delta[start + j] * w[k * size + j];
        }
        if (n) next[row * below + k] = sum * slope[n - 1][row * below + k];
      }
    }
    deltas.unshift(delta);
    dw.unshift(dwOf.map((sum) => sum / batch));
    db.unshift(dbOf.map((sum) => sum / batch));
    delta = next;
  }
  return { deltas, dw, db };
}

/** w ↦ w − η ∂C/∂w, b ↦ b − η ∂C/∂b, in place. */
export function descend(network, { dw, db }, eta) {
  network.forEach(({ w, b }, n) => {
    for (let i = 0; i < w.length; i++) w[i] -= eta * dw[n][i];
    for (let j = 0; j < b.length; j++) b[j] -= eta * db[n][j];
  });
}

/** One step of gradient descent; gives C before it, and what was computed. */
export function train(network, input, target, eta) {
  const pass = forward(network, input);
  const gradient = backward(network, pass, target);
  descend(network, gradient, eta);
  return { cost: cost(pass.y.at(-1), target, network.at(-1).size), pass, gradient };
}

/** Random numbers in [0, 1), the same for the same seed (mulberry32, by T. Ettinger). */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Weights uniform in ±√(6/(below + size)), as Glorot and Bengio chose them; biases of zero. */
export function initialise(network, random) {
  for (const { below, size, w, b } of network) {
    const limit = Math.sqrt(6 / (below + size));
    for (let i = 0; i < w.length; i++) w[i] = (2 * random() - 1) * limit;
    b.fill(0);
  }
}

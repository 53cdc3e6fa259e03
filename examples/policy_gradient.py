"""Policy gradient: a walker learns to reach a target, and a way through a maze.

    python examples/policy_gradient.py

A network gives the probability π(a|s; θ) of each action a in a situation s. It is not shown the
right action; there is only a reward R at the end. The gradient of the mean reward is the mean of
what can be observed:

    ∂⟨R⟩/∂θ = ⟨ Σ_t (R_t − b) ∂ ln π(a_t|s_t; θ)/∂θ ⟩

with R_t, the reward from step t on, and b, any baseline that does not depend on the action; here
the mean of R_t over the walkers (R. J. Williams, Machine Learning 8, 229, 1992). An action that led
to more than the mean becomes more probable, one that led to less becomes less probable.

This is the cross entropy of the actions that were drawn, in which each action has the weight
R_t − b, positive or negative. So there are two ways to program it, and both are here:

    with_trainer    sample weights: Trainer.step(situations, actions, sample_weights=R_t − b)
    by_hand         the delta of the formula: z = forward(s), Δ = (π − onehot(a)) (R_t − b) / N

They take the same steps. The walker learns in the first way and in the second, the maze in the
first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attrs import define, field
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chainrule import Activation, Dense, Layer, Sequential, Softmax, Trainer, losses, optimizers

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"

MAZE = """
#########
#S..#...#
#.#.#.#.#
#.#...#.#
#.#####.#
#.#...#.#
#.#.#.#.#
#...#..E#
#########
"""


# ------------------------------------------------------------------------------- the two worlds


@define
class Line:
    """A walker on a line, who sees how far away the target is and gets 1 for each step on it."""

    steps: int = 20
    reach: int = 8
    actions: tuple[str, ...] = ("left", "stay", "right")
    discount: float = 0.9

    def begin(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The distances of new targets, one for each walker."""
        return rng.integers(-self.reach, self.reach + 1, count)

    def seen(self, distance: np.ndarray) -> np.ndarray:
        """What the network is given: the distance, in units of the largest."""
        return distance[:, np.newaxis] / self.reach

    def after(self, distance: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distances after a step, and the rewards for it."""
        distance = distance - (action - 1)
        return distance, (distance == 0).astype(float)


@define
class Maze:
    """A maze of cells: the walker sees in which one it is, and gets 1 when it reaches the exit."""

    steps: int = 60
    drawing: str = MAZE.strip()
    actions: tuple[str, ...] = ("up", "right", "down", "left")
    discount: float = 0.95
    is_wall: np.ndarray = field(init=False)
    start: tuple[int, int] = field(init=False)
    exit: tuple[int, int] = field(init=False)

    moves = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])

    def __attrs_post_init__(self) -> None:
        cells = np.array([list(line) for line in self.drawing.splitlines()])
        self.is_wall = cells == "#"
        self.start, self.exit = (
            tuple(int(n) for n in np.argwhere(cells == letter)[0]) for letter in "SE"
        )

    def begin(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """All walkers at the start."""
        return np.tile(self.start, (count, 1))

    def seen(self, place: np.ndarray) -> np.ndarray:
        """A 1 for the cell the walker is in, and a 0 for every other one."""
        width = self.is_wall.shape[1]
        return np.eye(self.is_wall.size)[place[:, 0] * width + place[:, 1]]

    def after(self, place: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cells after a step, and 1 for those who have just reached the exit."""
        was_there = (place == self.exit).all(axis=1)
        moved = place + self.moves[action]
        stays = self.is_wall[tuple(moved.T)] | was_there  # the walk ends at the exit
        place = np.where(stays[:, np.newaxis], place, moved)
        return place, ((place == self.exit).all(axis=1) & ~was_there).astype(float)


# ------------------------------------------------------------------------------- what is learned


@define
class Walks:
    """Walks of many walkers: arrays of (steps, walkers), situations with one more axis."""

    situations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    states: list[np.ndarray]

    def advantages(self, discount: float) -> np.ndarray:
        """R_t − b: the reward from each step on, minus the mean over the walkers."""
        to_come = np.zeros_like(self.rewards)
        total = np.zeros(self.rewards.shape[1])
        for t in reversed(range(len(self.rewards))):
            total = self.rewards[t] + discount * total
            to_come[t] = total
        return to_come - to_come.mean(axis=1, keepdims=True)


def walks(world: Line | Maze, model: Layer, count: int, rng: np.random.Generator) -> Walks:
    """Let walkers draw their actions from the policy of the network."""
    state = world.begin(count, rng)
    softmax = Softmax()
    situations, actions, rewards, states = [], [], [], [state]
    for _ in range(world.steps):
        seen = world.seen(state)
        chances = softmax(model(seen)).cumsum(axis=1)
        action = (rng.random((count, 1)) > chances[:, :-1]).sum(axis=1)
        state, reward = world.after(state, action)
        for values, value in zip(
            (situations, actions, rewards, states), (seen, action, reward, state), strict=True
        ):
            values.append(value)
    return Walks(np.array(situations), np.array(actions), np.array(rewards), states)


Step = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def with_trainer(model: Layer, rate: float) -> Step:
    """The step as training on the actions, with signed weights."""
    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(rate))

    def step(situations: np.ndarray, actions: np.ndarray, advantages: np.ndarray) -> None:
        trainer.step(situations, actions, sample_weights=advantages)

    return step


def by_hand(model: Layer, rate: float) -> Step:
    """The same step as the formula says it."""
    optimizer, parameters = optimizers.Adam(rate), model.parameters

    def step(situations: np.ndarray, actions: np.ndarray, advantages: np.ndarray) -> None:
        z = model.forward(situations)
        policy = Softmax()(z)
        drawn = np.eye(z.shape[1])[actions]  # onehot(a)
        delta = (policy - drawn) * advantages[:, np.newaxis] / len(z)
        parameters.zero_grad()
        model.backward_parameters(delta)
        optimizer.step(parameters.value, parameters.grad)

    return step


def learn(
    world: Line | Maze,
    hidden: int,
    make_step: Callable[[Layer, float], Step],
    *,
    updates: int,
    count: int = 64,
    rate: float = 0.01,
    seed: int = 0,
) -> tuple[Sequential, np.ndarray]:
    """A policy, and the mean reward of a walk in each update."""
    rng = np.random.default_rng(seed)
    layers = [Dense(hidden), Activation("tanh")] if hidden else []
    model = Sequential([*layers, Dense(len(world.actions), initializer="zeros")])
    model.build(world.seen(world.begin(1, rng)).shape[1:], rng=rng)
    step, rewards = make_step(model, rate), []
    for _ in range(updates):
        seen = walks(world, model, count, rng)
        weights = seen.advantages(world.discount)
        step(seen.situations.reshape(-1, *model.input_shape), seen.actions.ravel(), weights.ravel())
        rewards.append(seen.rewards.sum(axis=0).mean())
    return model, np.array(rewards)


# ------------------------------------------------------------------------------- the program


def main(updates: int = 200, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Let both learn, draw what they do, and return the printed figures."""
    line, maze = Line(), Maze()
    walker, rewards = learn(line, 32, with_trainer, updates=updates, seed=seed)
    _, rewards_by_hand = learn(line, 32, by_hand, updates=updates, seed=seed)
    finder, exits = learn(maze, 0, with_trainer, updates=updates, rate=0.1, seed=seed)

    rng = np.random.default_rng(seed + 1)
    best = line.steps - np.mean(np.maximum(np.abs(np.arange(-line.reach, line.reach + 1)) - 1, 0))
    found = {
        "steps on the target, of the best possible": float(rewards[-10:].mean() / best),
        "largest difference between the two ways": float(np.abs(rewards - rewards_by_hand).max()),
        "walkers that find the exit of the maze": float(exits[-10:].mean()),
        "steps to the exit": float(np.median(lengths(walks(maze, finder, 200, rng)))),
    }
    print(f"{updates} updates of 64 walks")
    for name, value in found.items():
        print(f"  {name:<44} {value:8.3f}")
    path = Path(output) / "policy_gradient.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(line, walker, (rewards / best, rewards_by_hand / best), maze, finder, exits, rng).savefig(
        path, dpi=150
    )
    print(f"figure: {path}")
    return found


def lengths(seen: Walks) -> np.ndarray:
    """How many steps each walker needed for its reward; the whole walk if it found none."""
    arrived = seen.rewards.cumsum(axis=0) > 0
    return np.where(arrived.any(axis=0), arrived.argmax(axis=0) + 1, len(arrived))


def draw(line, walker, rewards, maze, finder, exits, rng) -> Figure:
    """The walks to a target, the policy in the maze, and how both were learned."""
    figure = Figure(figsize=(12.4, 4.4), layout="constrained")
    paths, ways, curves = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    seen = walks(line, walker, 12, rng)
    for distances in np.array(seen.states).T:
        paths.plot(-distances, color=BLUE, lw=1.6, alpha=0.75)
    paths.axhline(0, color=VERMILION, lw=6, alpha=0.25, zorder=0)
    paths.text(line.steps, 0.35, "target", color=VERMILION, ha="right", va="bottom", fontsize=11)
    paths.set(title="12 walkers after learning", xlabel="step", ylabel="place, from the target")
    paths.set(xticks=range(0, line.steps + 1, 5))

    ways.imshow(maze.is_wall, cmap="Greys", vmax=1.6)
    cells = np.array([cell for cell in np.argwhere(~maze.is_wall) if tuple(cell) != maze.exit])
    chances = Softmax()(finder(maze.seen(cells)))
    down, right = (chances @ maze.moves).T
    ways.quiver(
        cells[:, 1], cells[:, 0], right, down, color=BLUE, angles="xy", scale_units="xy", scale=1.3,
        width=0.012, pivot="middle",
    )  # fmt: skip
    ways.text(maze.start[1], maze.start[0] - 0.8, "start", color="white", ha="center", va="center")
    ways.add_patch(Rectangle((maze.exit[1] - 0.5, maze.exit[0] - 0.5), 1, 1, color=VERMILION))
    ways.text(maze.exit[1], maze.exit[0], "exit", color="white", ha="center", va="center")
    ways.set(title="mean step of the policy in each cell", xticks=[], yticks=[])

    both, by_hand_only = rewards
    curves.plot(both, color=BLUE, lw=5, alpha=0.3, label="line, with sample weights")
    curves.plot(by_hand_only, color=BLUE, lw=1.3, label="line, by hand")
    curves.plot(exits, color=GREEN, lw=1.8, label="maze, share that arrives")
    curves.set(title="reward, of the best possible", xlabel="update", ylim=(0, 1.05))
    curves.legend(frameon=False, loc="lower right")
    for axes in (paths, curves):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))

"""The example keeps its promise: two ways to program a policy gradient, and both learn."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Dense, Sequential


@pytest.fixture(scope="module")
def program():
    import runpy
    from pathlib import Path

    return runpy.run_path(str(Path(__file__).parents[2] / "examples" / "policy_gradient.py"))


def test_the_walker_reaches_the_target_and_the_maze_is_left_by_the_shortest_way(
    program, tmp_path, capsys, png_size
):
    found = program["main"](output=tmp_path)
    on_target, apart, arrived, steps = found.values()
    assert on_target > 0.9 and arrived > 0.95
    assert apart == 0
    assert steps == shortest_way(program["Maze"]())
    assert f"{steps:8.3f}" in capsys.readouterr().out
    assert png_size(tmp_path / "policy_gradient.png") == (1860, 660)


def shortest_way(maze) -> int:
    """By breadth-first search."""
    front, seen, steps = {maze.start}, {maze.start}, 0
    while maze.exit not in front:
        around = {tuple(np.add(cell, move)) for cell in front for move in maze.moves}
        front = {cell for cell in around - seen if not maze.is_wall[cell]}
        seen |= front
        steps += 1
    return steps


def test_signed_weights_and_the_delta_by_hand_take_the_same_step(program):
    rng = np.random.default_rng(3)
    situations, actions = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    advantages = rng.normal(size=50)  # of both signs
    values = []
    for way in ("with_trainer", "by_hand"):
        model = Sequential([Dense(3)])
        model.build((4,), rng=0)
        program[way](model, 0.1)(situations, actions, advantages)
        values.append(model.parameters.value.copy())
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-14)


def test_the_gradient_is_that_of_the_mean_reward(program):
    """For one step with a known reward for each action: ∂/∂z_k Σ_a π_a r_a = π_k (r_k − ⟨r⟩)."""
    rng = np.random.default_rng(0)
    rewards, z = np.array([1.0, 0.0, -0.5]), np.array([0.3, -0.2, 0.1])
    policy = np.exp(z) / np.exp(z).sum()
    exact = policy * (rewards - policy @ rewards)
    actions = rng.choice(3, size=400_000, p=policy)
    advantages = rewards[actions] - rewards[actions].mean()
    observed = ((np.eye(3)[actions] - policy) * advantages[:, np.newaxis]).mean(axis=0)
    np.testing.assert_allclose(observed, exact, atol=4e-3)


def test_rewards_to_come_are_discounted_and_compared_with_their_mean(program):
    rewards = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    walks = program["Walks"](None, None, rewards, [])
    to_come = np.array([[0.5, 1.25], [1.0, 0.5], [0.0, 1.0]])  # with a discount of 1/2
    expected = to_come - to_come.mean(axis=1, keepdims=True)
    np.testing.assert_array_equal(walks.advantages(0.5), expected)


def test_walls_hold_and_a_walk_ends_at_the_exit(program):
    maze = program["Maze"]()
    place, reward = maze.after(np.array([maze.start, maze.start]), np.array([0, 2]))
    assert place.tolist() == [list(maze.start), [maze.start[0] + 1, maze.start[1]]]
    assert reward.tolist() == [0, 0]
    beside = (maze.exit[0] - 1, maze.exit[1])
    place, reward = maze.after(np.array([beside, maze.exit]), np.array([2, 0]))
    assert place.tolist() == [list(maze.exit)] * 2
    assert reward.tolist() == [1, 0]

"""Where streams go: by measured cost, and as seldom elsewhere as can be."""

import os
import random

from streamprn.cluster.local import shares
from streamprn.cluster.placement import better, loads, measured, place


def test_a_stream_goes_to_the_worker_with_the_least_to_do():
    assert place({"a": "0", "b": "1"}, {"a": 0.3, "b": 0.1}, {"0", "1"}) == "1"
    assert place({"a": "0"}, {}, {"0", "1"}) == "1"
    assert place({}, {}, set()) is None


def test_a_stream_without_a_measured_cost_counts_as_the_others_do():
    assert loads({"a": "0", "b": "1"}, {"a": 0.4}, {"0", "1"}) == {"0": 0.4, "1": 0.4}


def test_streams_stay_where_they_are_unless_a_move_is_worth_its_gap():
    costs = dict.fromkeys("abcdefg", 0.1)
    assert better(dict(zip("abcde", "00011", strict=True)), costs, {"0", "1"}) is None
    assert better({"a": "0", "b": "1"}, {"a": 0.9, "b": 0.1}, {"0", "1"}) is None
    assert better({"a": "0", "b": "0"}, costs, {"0"}) is None


def test_what_is_measured_a_little_differently_each_time_moves_nothing():
    where, costs = {"a": "0", "b": "0", "c": "1"}, dict.fromkeys("abc", 0.1)
    shaken = random.Random(5)
    for _ in range(1000):
        for name in costs:
            costs[name] = measured(costs[name], 0.1 * shaken.uniform(0.7, 1.3))
        assert better(where, costs, {"0", "1"}) is None


def test_what_lastingly_costs_more_is_noticed():
    cost = 0.1
    for _ in range(10):
        cost = measured(cost, 0.4)
    assert cost > 0.38
    assert measured(None, 0.4) == 0.4


def test_a_new_worker_takes_over_streams_until_the_rest_is_not_worth_it():
    where, costs = dict.fromkeys("abcdef", "0"), dict.fromkeys("abcdef", 0.1)
    moves = 0
    while (move := better(where, costs, {"0", "1"})) is not None:
        where[move[0]] = move[1]
        moves += 1
    assert moves == 3
    assert list(where.values()).count("0") == 3


def test_every_worker_has_a_processor_and_every_processor_a_worker():
    for workers in (1, 2, 3, 64):
        assert all(shares(workers))
        assert len(shares(workers)) == workers
        used = {core for share in shares(workers) for core in share}
        assert used == os.sched_getaffinity(0) or len(used) == workers

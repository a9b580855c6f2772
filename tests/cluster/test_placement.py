"""Where streams go: by measured cost, and as seldom elsewhere as can be."""

import os

from streamprn.cluster.local import shares
from streamprn.cluster.placement import better, loads, place


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

"""Whether anybody looks: what tabs say, what they forget to say, and nonsense."""

from __future__ import annotations

from streamprn.view.onlookers import PATH, Onlookers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def say(onlookers, tab, state):
    onlookers.hear(f"{PATH}?tab={tab}&state={state}")


def test_who_is_connected_looks_until_its_tab_is_hidden():
    onlookers = Onlookers()
    assert not onlookers.look(0)
    assert onlookers.look(1)
    say(onlookers, "a", "hidden")
    assert not onlookers.look(1)
    assert onlookers.look(2)
    say(onlookers, "b", "shown")
    assert onlookers.look(2)
    say(onlookers, "b", "hidden")
    assert not onlookers.look(2)
    say(onlookers, "a", "shown")
    assert onlookers.look(2)


def test_a_tab_that_went_without_a_word_hides_nobody():
    clock = Clock()
    onlookers = Onlookers(clock)
    say(onlookers, "gone", "hidden")
    say(onlookers, "here", "shown")
    # One client is left; it says that it is on show.
    assert onlookers.look(1)
    say(onlookers, "here", "gone")
    assert not onlookers.look(1)
    clock.now = 200.0
    assert onlookers.look(1)


def test_what_was_said_of_being_shown_does_not_hold_for_ever():
    clock = Clock()
    onlookers = Onlookers(clock)
    say(onlookers, "a", "shown")
    say(onlookers, "b", "hidden")
    clock.now = 30.0
    assert onlookers.look(1) is False
    say(onlookers, "a", "shown")
    assert onlookers.look(1)


def test_nonsense_and_floods_are_ignored():
    onlookers = Onlookers()
    for path in ("", "?", f"{PATH}?tab=", f"{PATH}?tab=../x&state=hidden", f"{PATH}?state=hidden"):
        onlookers.hear(path)
    assert onlookers.look(1)
    for number in range(10_000):
        say(onlookers, f"t{number}", "hidden")
    assert len(onlookers._said) <= 256

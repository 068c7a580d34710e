"""The JVM is still when it uses no CPU time."""

from consumer.supervisor.stillness import Stillness


def test_cpu_time_that_grows_is_a_sign_of_life() -> None:
    stillness = Stillness(0.0)
    assert [stillness.seconds(cpu=float(second), now=float(second)) for second in range(1, 100)] == [0.0] * 99


def test_without_cpu_time_the_seconds_add_up_until_the_next_sign() -> None:
    stillness = Stillness(0.0)
    assert [stillness.seconds(1.5, now) for now in (1.0, 2.0, 4.0, 5.0)] == [0.0, 1.0, 3.0, 4.0]
    assert stillness.seconds(1.51, 6.0) == 0.0


def test_unknown_cpu_time_is_no_silence() -> None:
    stillness = Stillness(0.0)
    assert [stillness.seconds(None, float(now)) for now in range(1, 200)] == [0.0] * 199


def test_time_in_which_the_container_was_frozen_does_not_count() -> None:
    stillness = Stillness(0.0)
    stillness.seconds(1.0, 1.0)
    assert stillness.seconds(1.0, 10_000.0) < 10.0

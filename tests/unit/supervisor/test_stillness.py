"""The JVM is still when it uses no CPU time, or when the main loop of the KCL no longer logs."""

from consumer.supervisor.stillness import LOOP_SECONDS, Stillness


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


def test_a_main_loop_that_no_longer_logs_is_still() -> None:
    stillness = Stillness(0.0)
    stillness.looped()
    stillness.looped()
    seen = [stillness.seconds(float(now), float(now)) for now in range(1, 101)]
    assert seen[int(LOOP_SECONDS) - 1] == 0.0
    assert seen[-1] == 100.0 - LOOP_SECONDS
    stillness.looped()
    assert stillness.seconds(101.0, 101.0) == 0.0


def test_the_line_counts_only_after_it_was_seen_repeatedly() -> None:
    """An operator's logback.xml may leave it out."""
    stillness = Stillness(0.0)
    stillness.looped()
    assert [stillness.seconds(float(now), float(now)) for now in range(1, 500)] == [0.0] * 499


def test_time_in_which_the_container_was_frozen_does_not_count() -> None:
    stillness = Stillness(0.0)
    stillness.looped()
    stillness.looped()
    stillness.seconds(1.0, 1.0)
    assert stillness.seconds(1.0, 10_000.0) < 10.0

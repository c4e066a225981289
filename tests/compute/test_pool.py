"""The pool against real processes: results, errors, deaths, timeouts, order and bounds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest

from position_server.compute.pool import ComputePool, Kind, Task
from position_server.compute.process import WorkerProcess
from position_server.compute.worker import SetUp
from position_server.errors import Busy, SectionTimeout, WorkerDied
from tests.servers import until


def remote(name: str, *arguments: object, timeout: float = 60.0) -> Task:
    return Task(f"tests.compute.remote:{name}", arguments, timeout)


@pytest.fixture(scope="module")
def pool() -> Iterator[ComputePool]:
    with ComputePool("tests.compute.remote:open_workbench", ("store",), workers=2, queue=3) as pool:
        yield pool


def run(pool: ComputePool, task: Task) -> object:
    return pool.submit(Kind.MISS, [task])[0].result(60)


def test_a_task_gets_the_workbench_and_returns_its_result(pool: ComputePool) -> None:
    assert run(pool, remote("echo", 7)) == (("store",), 7)


def test_an_error_of_the_task_comes_back_as_it_was(pool: ComputePool) -> None:
    with pytest.raises(ValueError, match="no such bond"):
        run(pool, remote("raise_error", "no such bond"))


def test_a_timeout_that_the_task_raised_itself_keeps_its_message(pool: ComputePool) -> None:
    with pytest.raises(TimeoutError, match="the store took too long"):
        run(pool, remote("raise_timeout"))


def test_a_task_past_its_timeout_is_ended_and_the_next_one_runs(pool: ComputePool) -> None:
    with pytest.raises(SectionTimeout, match=r"0\.3 s"):
        run(pool, remote("sleep", 60, timeout=0.3))
    assert run(pool, remote("echo", 1)) == (("store",), 1)


@pytest.mark.parametrize(("task", "code"), [(remote("exit_now", 3), "3"), (remote("crash"), "-11")])
def test_the_death_of_a_worker_names_its_exit_code_and_harms_no_other_task(
    pool: ComputePool, task: Task, code: str
) -> None:
    death, other = pool.submit(Kind.MISS, [task, remote("sleep", 0.2)])
    with pytest.raises(WorkerDied, match=code):
        death.result(60)
    assert other.result(60)


def test_a_task_that_eats_memory_fails_alone(pool: ComputePool) -> None:
    with pytest.raises(MemoryError):
        run(pool, remote("eat_memory", 5000))


def test_workers_are_nice(pool: ComputePool) -> None:
    assert run(pool, remote("niceness")) == min(os.nice(0) + 10, 19)


def test_a_full_queue_refuses_all_tasks_at_once_and_other_kinds_still_enter(pool: ComputePool, tmp_path: Path) -> None:
    end = tmp_path / "end"
    busy = pool.submit(Kind.WARMUP, [remote("wait_for", str(end))] * 2)
    until(lambda: pool.stats()["busy"] == 2)
    waiting = pool.submit(Kind.WARMUP, [remote("echo", 1)] * 2)
    with pytest.raises(Busy):
        pool.submit(Kind.WARMUP, [remote("echo", 2)] * 2)
    assert pool.stats()["queue"]["warmup"] == 2
    assert pool.stats()["busy"] == 2
    urgent = pool.submit(Kind.MISS, [remote("echo", 3)])
    end.touch()
    wait([*busy, *waiting, *urgent], 60)
    assert pool.stats()["queue"]["warmup"] == 0


def test_what_somebody_waits_for_overtakes_warm_ups(tmp_path: Path) -> None:
    order: list[str] = []
    end = tmp_path / "end"
    with ComputePool("tests.compute.remote:open_workbench", (), workers=1, queue=10) as pool:
        pool.submit(Kind.WARMUP, [remote("wait_for", str(end))])
        until(lambda: pool.stats()["busy"] == 1)
        futures = []
        for kind in (Kind.WARMUP, Kind.REFRESH, Kind.WHAT_IF, Kind.MISS):
            (future,) = pool.submit(kind, [remote("echo", 1)])
            future.add_done_callback(lambda _, name=kind.name: order.append(name))
            futures.append(future)
        end.touch()
        wait(futures, 60)
    assert order == ["MISS", "WHAT_IF", "REFRESH", "WARMUP"]


class EndsItsReader:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_a_slow_lane_leaves_a_worker_to_the_others(pool: ComputePool, tmp_path: Path) -> None:
    end = tmp_path / "end"
    slow = pool.submit(Kind.MISS, [replace(remote("wait_for", str(end)), lane="bonds")] * 3)
    (quick,) = pool.submit(Kind.WARMUP, [replace(remote("echo", 1), lane="spot")])
    assert quick.result(60)
    assert not any(future.done() for future in slow)
    end.touch()
    wait(slow, 60)


def test_a_lane_alone_is_served_to_its_end(pool: ComputePool) -> None:
    futures = pool.submit(Kind.MISS, [replace(remote("echo", n), lane="bonds") for n in range(10)])
    assert [future.result(60)[1] for future in futures] == list(range(10))


def test_a_worker_killed_while_it_waits_is_replaced(pool: ComputePool) -> None:
    pids = {future.result(60) for future in pool.submit(Kind.MISS, [remote("sleep", 0.2)] * 2)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids))
    survivors = pool.submit(Kind.MISS, [remote("sleep", 0.2)] * 2)
    assert not pids & {future.result(60) for future in survivors}


def test_a_worker_killed_a_moment_before_its_task_loses_nothing(pool: ComputePool) -> None:
    for _ in range(5):
        pid = run(pool, remote("sleep", 0.01))
        os.kill(pid, signal.SIGKILL)  # not waited for: it may still look alive and its pipe open
        assert pid != run(pool, remote("sleep", 0.01))


def test_a_task_whose_arguments_end_every_worker_fails_and_the_pool_goes_on(pool: ComputePool) -> None:
    with pytest.raises(WorkerDied, match="exit code 3"):
        run(pool, remote("echo", EndsItsReader()))
    assert run(pool, remote("echo", 1))[1] == 1


def test_an_error_that_cannot_travel_comes_back_as_text(pool: ComputePool) -> None:
    with pytest.raises(RuntimeError, match="a wild one"):
        run(pool, remote("raise_wild"))


def test_a_result_of_megabytes_comes_back_whole(pool: ComputePool) -> None:
    assert run(pool, remote("blob", 3_000_000)) == b"x" * 3_000_000


def test_twenty_deaths_among_eighty_tasks_fail_exactly_those_twenty() -> None:
    with ComputePool("tests.compute.remote:open_workbench", (), workers=2, queue=100) as pool:
        tasks = [remote("exit_now", 1) if n % 4 == 0 else remote("echo", n) for n in range(80)]
        futures = pool.submit(Kind.MISS, tasks)
        errors = [future.exception(60) for future in futures]
    expected = [WorkerDied if n % 4 == 0 else type(None) for n in range(80)]
    assert [type(error) for error in errors] == expected, [repr(error) for error in errors]


def test_stopping_ends_running_tasks_and_refuses_waiting_and_new_ones() -> None:
    with ComputePool("tests.compute.remote:open_workbench", (), workers=1, queue=10) as pool:
        running, waiting = pool.submit(Kind.MISS, [remote("sleep", 60), remote("echo", 1)])
    assert isinstance(waiting.exception(60), Busy)
    assert isinstance(running.exception(60), Busy)
    with pytest.raises(Busy):
        pool.submit(Kind.MISS, [remote("echo", 1)])


def test_a_worker_may_be_killed_by_one_thread_while_another_closes_it() -> None:
    for _ in range(3):
        process = WorkerProcess(SetUp("tests.compute.remote:open_workbench", (), niceness=10, memory_bytes=4 << 30))
        closing = threading.Thread(target=process.close)
        closing.start()
        while closing.is_alive():
            process.kill()
        process.kill()

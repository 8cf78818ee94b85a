"""The asynchronous lane: one connection for each event loop, shared by all its tasks."""

import asyncio
import gc
import math
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync

from django_counter import CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter, pipeline
from django_counter.backends.redis.call import pack
from django_counter.backends.redis.errors import ReplyLost
from tests.faults.proxy import Fault, Proxy
from tests.faults.watch import admin_of, apatiently, connections_of, eventually
from tests.servers import ServerProcess

pytest_plugins = ["tests.faults.fixtures"]

TIMEOUT = 0.2  # seconds that a call may take where it has to run out


async def outcomes(calls: list[Awaitable[Any]]) -> list[Any]:
    """Return what calls made at once gave or raised; fail when they do not end."""
    async with asyncio.timeout(30 * TIMEOUT):
        return await asyncio.gather(*calls, return_exceptions=True)


async def turns() -> None:
    """Let the loop do what is due, and what follows from that."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_loop_has_one_connection(counter: RedisCounter, admin: redis.Redis) -> None:
    async def main() -> list[int]:
        await asyncio.gather(*(counter.aincrement("key") for _ in range(300)))
        return connections_of(counter, admin)

    assert len(asyncio.run(main())) == 1


def test_each_task_gets_its_own_reply(counter: RedisCounter) -> None:
    async def main() -> list[int]:
        for number in range(100):
            await counter.aset(f"key-{number}", number)
        return await asyncio.gather(*(counter.aget(f"key-{number}") for number in range(100)))

    assert asyncio.run(main()) == list(range(100))


def test_increments_are_answered_in_the_order_asked(counter: RedisCounter) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(counter.aincrement("key") for _ in range(200)))

    assert asyncio.run(main()) == list(range(1, 201))


def test_two_thousand_calls_at_once_all_succeed(
    make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(valkey.url, timeout=30)

    async def main() -> list[int]:
        return await asyncio.gather(*(counter.aincrement("key", ttl=60) for _ in range(2000)))

    assert sorted(asyncio.run(main())) == list(range(1, 2001))


def test_a_large_reply_comes_whole(counter: RedisCounter) -> None:
    keys = [f"key-{number}" for number in range(10_000)]

    async def main() -> dict[str, int]:
        await counter.aset(keys[-1], 2**63 - 1)
        return await counter.amulti_get(keys)

    answer = asyncio.run(main())
    assert list(answer) == keys
    assert answer[keys[-1]] == 2**63 - 1


@pytest.mark.figure("cancelled tasks")
def test_a_cancelled_call_costs_no_connection(counter: RedisCounter, admin: redis.Redis) -> None:
    async def main() -> tuple[list[int], list[int], int]:
        await counter.aset("key", 7)
        before = connections_of(counter, admin)
        calls = [asyncio.create_task(counter.aincrement("other")) for _ in range(10)]
        await asyncio.sleep(0)
        for each in calls:
            each.cancel()
        answer = await counter.aget("key")
        return before, connections_of(counter, admin), answer

    before, after, answer = asyncio.run(main())
    assert before == after
    assert answer == 7


def test_nothing_is_sent_again_after_a_loop_stood_still_past_the_deadline(
    make_counter: Callable[..., RedisCounter], proxy: Proxy, admin: redis.Redis
) -> None:
    counter = make_counter(proxy.url, timeout=TIMEOUT)

    async def main() -> None:
        await apatiently(lambda: counter.aget("key"))
        admin.script_flush()
        proxy.commands.clear()
        proxy.pause = TIMEOUT / 2
        proxy.faults.append(Fault.DELAY)  # the refusal of the script comes meanwhile
        call = asyncio.create_task(counter.aincrement("key", ttl=60))
        await turns()
        time.sleep(2 * TIMEOUT)  # noqa: ASYNC251 - as other code of the loop may
        with pytest.raises((CounterUnavailable, CounterOutcomeUnknown)):
            await call
        await apatiently(lambda: counter.aget("key"))

    asyncio.run(main())
    assert b"EVAL" not in [command[0] for command in proxy.commands]


def test_an_error_for_a_cancelled_call_is_dropped(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    admin.rpush(f"{counter.alias}:list", "no counter")

    async def main() -> int:
        await counter.aget("key")
        refused = asyncio.create_task(counter.aincrement("list"))
        await asyncio.sleep(0)
        refused.cancel()
        return await counter.aincrement("key")

    assert asyncio.run(main()) == 1


@pytest.mark.figure("cancelled tasks")
@pytest.mark.fault("cancelled task")
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
def test_calls_cancelled_at_any_step_give_no_wrong_reply(
    counter: RedisCounter, connected: bool
) -> None:
    async def main(steps: int) -> None:
        if connected:
            await counter.aget("none")
        calls = [asyncio.create_task(counter.aget(f"key-{number}")) for number in range(20)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for each in calls[::3]:
            each.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert answer == number or isinstance(answer, asyncio.CancelledError)
        assert await counter.aget("key-13") == 13

    for number in range(20):
        counter.set(f"key-{number}", number)
    for steps in 10 * list(range(40)):
        asyncio.run(main(steps))


@pytest.mark.figure("cancelled tasks")
def test_a_call_cancelled_before_it_was_sent_is_not_sent(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    async def main() -> None:
        call = asyncio.create_task(counter.aincrement("key"))
        await asyncio.sleep(0)
        call.cancel()
        await counter.aget("key")

    asyncio.run(main())
    assert counter.get("key") == 0


def test_a_lost_connection_leaves_what_was_sent_unknown(
    make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    counter = make_counter(proxy.url, timeout=10)

    async def main() -> list[Any]:
        await counter.aget("key")
        proxy.faults.append(Fault.CUT_BEFORE)
        return await outcomes([counter.aincrement(f"key-{number}") for number in range(10)])

    errors = asyncio.run(main())
    assert isinstance(errors[0], CounterOutcomeUnknown)
    assert {type(error) for error in errors} <= {CounterOutcomeUnknown, CounterUnavailable}
    assert all(
        error.key == f"key-{number}"
        for number, error in enumerate(errors)
        if isinstance(error, CounterOutcomeUnknown)
    )


def test_a_lost_connection_leaves_what_was_not_sent_unavailable(
    make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    counter = make_counter(proxy.url, timeout=10)

    async def main() -> list[Any]:
        await counter.aget("key")
        connection = next(iter(counter._async_lane._pipelines.values()))._connection
        sent = asyncio.create_task(counter.aincrement("key"))
        await asyncio.sleep(0)
        connection.pause_writing()  # as with a full buffer
        unsent = asyncio.create_task(counter.aincrement("key"))
        await asyncio.sleep(0)
        connection._transport.abort()
        return await outcomes([sent, unsent])

    proxy.pause = 0.05
    sent, unsent = asyncio.run(main())
    assert isinstance(sent, CounterOutcomeUnknown)
    assert isinstance(unsent, CounterUnavailable)


def test_a_lost_connection_is_no_matter_to_a_cancelled_call(
    make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    counter = make_counter(proxy.url, timeout=10)

    async def main() -> list[Any]:
        await counter.aget("key")
        proxy.faults.append(Fault.HANG)
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(2)]
        await turns()
        assert len(pipeline_of(counter)._connection.unanswered) == 2
        calls[0].cancel()
        await asyncio.sleep(0)
        proxy.cut_all()
        return await outcomes(calls)

    assert [type(each) for each in asyncio.run(main())] == [
        asyncio.CancelledError,
        CounterOutcomeUnknown,
    ]


def test_what_waits_for_a_full_buffer_is_written_when_there_is_room(
    counter: RedisCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MAX_CALLS", 3)

    async def main() -> list[int]:
        await counter.aget("key")
        connection = pipeline_of(counter)._connection
        connection.pause_writing()
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(3)]
        await turns()
        assert not connection.unanswered
        connection.resume_writing()
        return await outcomes(calls)

    assert asyncio.run(main()) == [1, 2, 3]


def test_a_push_is_not_taken_for_a_reply(
    make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    counter = make_counter(valkey.url, CONNECTION_POOL_KWARGS={"protocol": 3})

    async def main() -> int:
        await counter.aset("key", 5)
        connection = pipeline_of(counter)._connection
        connection._transport.write(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n")
        connection._answered = math.inf  # however slow this is, it was not idle
        return await counter.aincrement("key")

    assert asyncio.run(main()) == 6


def test_the_call_after_a_lost_connection_connects_anew(
    make_counter: Callable[..., RedisCounter], proxy: Proxy
) -> None:
    counter = make_counter(proxy.url, timeout=10)

    async def main() -> int:
        await counter.aget("key")
        proxy.faults.append(Fault.RESET_AFTER)
        with pytest.raises(CounterOutcomeUnknown):
            await counter.aincrement("key")
        return await counter.aincrement("key")

    assert asyncio.run(main()) == 2


def test_a_connection_closed_while_the_loop_rests_is_noticed(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    async def main() -> int:
        await counter.aincrement("key")
        await asyncio.sleep(0.01)
        for each in connections_of(counter, admin):
            admin.client_kill_filter(_id=each)
        return await counter.aincrement("key")

    assert asyncio.run(main()) == 2


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
def test_a_paused_server_fails_all_who_wait(
    make_counter: Callable[..., RedisCounter], running: ServerProcess, connected: bool
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)

    async def main() -> list[Any]:
        if connected:
            await apatiently(lambda: counter.aget("key"))
        running.pause()
        return await outcomes([counter.aincrement("key") for _ in range(50)])

    expected = CounterOutcomeUnknown if connected else CounterUnavailable
    assert {type(error) for error in asyncio.run(main())} == {expected}


def test_a_call_has_the_whole_timeout_for_itself(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=10)

    async def main() -> list[Any]:
        running.pause()
        first = asyncio.create_task(counter.aincrement("key"))
        await asyncio.sleep(0)
        pending = pipeline_of(counter)
        later = asyncio.create_task(counter.aincrement("key"))
        await asyncio.sleep(0)
        packed, reply, _ = pending._unsent[0]
        pending._unsent[0] = packed, reply, 0
        pending._watch()
        running.resume()
        return await outcomes([first, later])

    first, later = asyncio.run(main())
    assert isinstance(first, CounterUnavailable)
    assert later == 1


def test_a_call_that_has_less_time_than_others_does_not_wait_for_theirs(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=100)

    async def main() -> list[Any]:
        await counter.aget("key")
        running.pause()
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        repeat = counter._async_lane.exchange(("PING",), deadline)
        return await outcomes([counter.aincrement("key"), repeat])

    assert [type(each) for each in asyncio.run(main())] == [CounterOutcomeUnknown, ReplyLost]


def test_a_call_behind_replies_is_watched(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)

    async def main() -> list[Any]:
        await apatiently(lambda: counter.aget("key"))
        running.pause()
        asked = pipeline_of(counter)
        asked._watchdog.cancel()
        asked._watch()
        assert asked._watchdog is None
        asked._alone = False
        asked._changed(asked._connection)  # as if some were answered now
        return await outcomes([counter.aincrement("key")])

    assert [type(each) for each in asyncio.run(main())] == [CounterOutcomeUnknown]


def pipeline_of(counter: RedisCounter) -> Any:
    return counter._async_lane._pipelines[asyncio.get_running_loop()]


def test_a_server_that_answers_again_answers_the_next_call(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)

    async def main() -> int:
        await apatiently(lambda: counter.aset("key", 5))
        running.pause()
        with pytest.raises(CounterOutcomeUnknown):
            await counter.aincrement("other")
        running.resume()
        return await apatiently(lambda: counter.aget("key"))

    assert asyncio.run(main()) == 5


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
def test_all_calls_share_one_timer(
    counter: RedisCounter, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    timers = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if connected:
            await counter.aget("key")
        call_at = loop.call_at

        def note(when: float, callback: Callable[..., object], *more: Any, **options: Any) -> Any:
            if getattr(callback, "__func__", None) is pipeline.Pipeline._watch:
                timers.append(when)
            elif connected:
                timers.append(callback)
            return call_at(when, callback, *more, **options)

        monkeypatch.setattr(loop, "call_at", note)
        for _ in range(3):
            await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))

    asyncio.run(main())
    assert len(timers) <= 1


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A pipeline that holds little."""
    monkeypatch.setattr(pipeline, *request.param)


every_bound = pytest.mark.parametrize(
    "narrow", [("MAX_CALLS", 5), ("MAX_UNSENT_BYTES", 200)], indirect=True, ids=["calls", "bytes"]
)


@every_bound
def test_callers_wait_for_room(narrow: None, counter: RedisCounter) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(counter.aincrement("key") for _ in range(300)))

    assert sorted(asyncio.run(main())) == list(range(1, 301))


@every_bound
def test_callers_of_one_node_wait_for_room(narrow: None, counter: RedisCounter) -> None:
    command = pack(("INCRBY", f"{counter.alias}:key", "1"))

    async def main() -> list[int]:
        deadline = asyncio.get_running_loop().time() + 5
        calls = (counter._async_lane.exchange(command, deadline) for _ in range(300))
        return await asyncio.gather(*calls)

    assert sorted(asyncio.run(main())) == list(range(1, 301))


def test_no_more_calls_are_under_way_than_the_bound(
    counter: RedisCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MAX_CALLS", 5)
    most = []

    async def watch(of_loop: Any) -> None:
        while True:
            most.append(len(of_loop._connection.unanswered) + len(of_loop._unsent))
            await asyncio.sleep(0)

    async def main() -> None:
        await counter.aget("key")
        watching = asyncio.create_task(watch(pipeline_of(counter)))
        await asyncio.gather(*(counter.aincrement("key") for _ in range(100)))
        watching.cancel()

    asyncio.run(main())
    assert 1 < max(most) <= 5


@every_bound
def test_callers_wait_for_room_no_longer_than_the_timeout(
    narrow: None, make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=TIMEOUT)

    async def main() -> list[Any]:
        await apatiently(lambda: counter.aget("key"))
        running.pause()
        increments = [counter.aincrement("key") for _ in range(50)]
        return await outcomes([*increments, counter.amulti_get(["key"])])

    *errors, last = asyncio.run(main())
    assert type(last) is CounterUnavailable
    assert {type(error) for error in errors} == {CounterOutcomeUnknown, CounterUnavailable}
    assert sum(isinstance(error, CounterOutcomeUnknown) for error in errors) <= 10


def test_the_room_of_cancelled_calls_is_given_to_others(
    make_counter: Callable[..., RedisCounter],
    valkey: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "MAX_CALLS", 2)
    counter = make_counter(valkey.url, timeout=10)

    async def main() -> int:
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls[0].cancel()
        calls[1].cancel()
        return await calls[2]

    assert asyncio.run(main()) == 1


def test_loops_of_several_threads_count_exactly(counter: RedisCounter) -> None:
    async def main() -> None:
        await asyncio.gather(*(counter.aincrement("key") for _ in range(250)))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counter.get("key") == 1000


def run_by_asyncio(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def run_by_asgiref(work: Callable[[], Any]) -> None:
    async_to_sync(work)()


RUNS = {"asyncio.run": run_by_asyncio, "async_to_sync": run_by_asgiref}
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())


@every_run
def test_the_connection_of_a_closed_loop_is_closed(
    counter: RedisCounter, admin: redis.Redis, run: Callable[..., None]
) -> None:
    async def work() -> None:
        await counter.aincrement("key")

    for _ in range(3):
        run(work)
    assert eventually(lambda: connections_of(counter, admin) == [])


@every_run
def test_closed_loops_are_forgotten(counter: RedisCounter, run: Callable[..., None]) -> None:
    async def work() -> None:
        await counter.aincrement("key")

    for _ in range(3):
        run(work)
    assert counter._async_lane._pipelines == {}


def test_a_loop_closed_with_its_generators_open_leaves_its_connection_to_the_next(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    with warnings.catch_warnings(record=True) as told:  # by Python, when it collects a transport
        warnings.simplefilter("always")
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(counter.aincrement("key"))
            loop.close()
            gc.collect()
        assert eventually(lambda: len(connections_of(counter, admin)) == 1)
        asyncio.run(counter.aincrement("key"))
        del loop
        gc.collect()
        assert eventually(lambda: connections_of(counter, admin) == [])
    assert counter._async_lane._pipelines == {}
    assert {each.category for each in told} == {ResourceWarning}


def test_a_loop_that_ends_while_it_connects_leaves_nothing(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=10)

    async def main() -> None:
        call = asyncio.create_task(counter.aincrement("key"))
        for _ in range(20):
            await asyncio.sleep(0.001)
        call.cancel()

    running.pause()
    asyncio.run(main())
    gc.collect()
    running.resume()
    with admin_of(running) as admin:
        assert eventually(lambda: connections_of(counter, admin) == [])


def test_aclose_lets_calls_under_way_finish(counter: RedisCounter) -> None:
    async def main() -> list[Any]:
        await counter.aget("key")
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(100)]
        await asyncio.sleep(0)
        await counter.aclose()
        return await outcomes(calls)

    assert asyncio.run(main()) == list(range(1, 101))


def test_aclose_lets_calls_finish_that_wait_for_the_connection(counter: RedisCounter) -> None:
    async def main() -> list[Any]:
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(100)]
        await asyncio.sleep(0)
        await counter.aclose()
        return await outcomes(calls)

    assert asyncio.run(main()) == list(range(1, 101))


def test_aclose_lets_calls_finish_that_send_their_script(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    async def main() -> list[Any]:
        await counter.aget("key")
        admin.script_flush()
        calls = [asyncio.create_task(counter.aincrement("key", ttl=60)) for _ in range(10)]
        await asyncio.sleep(0)
        await counter.aclose()
        return await outcomes(calls)

    assert sorted(asyncio.run(main()), key=str) == sorted(range(1, 11), key=str)


def test_aclose_lets_a_call_finish_that_is_about_to_send_its_script(
    counter: RedisCounter, admin: redis.Redis
) -> None:
    async def close_after_a_call() -> None:
        await counter.aincrement("key")
        await counter.aclose()

    async def main() -> list[Any]:
        await asyncio.gather(counter.aget("key"), counter.aget("key"))
        admin.script_flush()
        asked = pipeline_of(counter)
        asked._alone = False  # both leave in one write, and are answered in one turn
        answers = await outcomes([close_after_a_call(), counter.aincrement("key", ttl=60)])
        assert asked._connection is None
        return answers

    assert asyncio.run(main()) == [None, 2]


@every_bound
def test_aclose_lets_calls_finish_that_wait_for_room(narrow: None, counter: RedisCounter) -> None:
    async def main() -> list[Any]:
        calls = [asyncio.create_task(counter.aincrement("key")) for _ in range(50)]
        await asyncio.sleep(0)
        await counter.aclose()
        return await outcomes(calls)

    assert sorted(asyncio.run(main()), key=str) == sorted(range(1, 51), key=str)


def test_aclose_drops_the_connection_of_the_loop(counter: RedisCounter, admin: redis.Redis) -> None:
    async def main() -> bool:
        await counter.aincrement("key")
        await counter.aclose()
        return await asyncio.to_thread(eventually, lambda: connections_of(counter, admin) == [])

    assert asyncio.run(main())


def test_aclose_without_a_call_does_nothing(counter: RedisCounter) -> None:
    asyncio.run(counter.aclose())


def test_aclose_ends_a_connection_that_nobody_waits_for(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=10)

    async def main() -> None:
        call = asyncio.create_task(counter.aincrement("key"))
        await turns()
        connecting = pipeline_of(counter)._connecting
        call.cancel()
        await asyncio.sleep(0)
        await counter.aclose()
        await asyncio.wait([connecting], timeout=5)
        assert connecting.cancelled()

    running.pause()
    asyncio.run(main())
    running.resume()
    assert counter.get("key") == 0


def test_a_call_after_aclose_connects_anew(counter: RedisCounter) -> None:
    async def main() -> int:
        await counter.aincrement("key")
        await counter.aclose()
        return await counter.aincrement("key")

    assert asyncio.run(main()) == 2


def test_calls_to_a_demoted_server_are_all_unavailable(
    make_counter: Callable[..., RedisCounter], running: ServerProcess
) -> None:
    counter = make_counter(running.url, timeout=10)

    async def main() -> list[Any]:
        await counter.aget("key")
        return await outcomes([counter.aincrement("key") for _ in range(50)])

    with admin_of(running) as admin:
        admin.replicaof("127.0.0.1", 1)
        try:
            errors = asyncio.run(main())
        finally:
            admin.replicaof("NO", "ONE")
    assert {type(error) for error in errors} == {CounterUnavailable}


def test_a_reply_to_nothing_ends_the_connection(counter: RedisCounter, admin: redis.Redis) -> None:
    async def main() -> int:
        await counter.aset("key", 7)
        asked = pipeline_of(counter)
        asked._connection._transport.write(b"*1\r\n$4\r\nPING\r\n")
        assert await asyncio.to_thread(eventually, lambda: asked._connection is None)
        return await counter.aget("key")

    assert asyncio.run(main()) == 7


def test_commands_that_leave_together_wait_for_room_no_longer_than_the_deadline(
    counter: RedisCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[Any]:
        await counter.aget("key")
        monkeypatch.setattr(pipeline, "MAX_CALLS", 0)
        deadline = asyncio.get_running_loop().time() + 0.01
        return await counter._async_lane.exchange_all([("PING",), ("PING",)], deadline)

    assert [type(reply) for reply in asyncio.run(main())] == [TimeoutError, TimeoutError]

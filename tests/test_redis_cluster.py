"""What is known of a cluster, and where its redirections lead, without one."""

import pytest
from redis import exceptions as driver
from redis.crc import key_slot

from django_counter import CounterConfigError, CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis.call import Call, pack, packed_together, raw
from django_counter.backends.redis.errors import ReplyLost, redirection, unreachable
from django_counter.backends.redis.masters import TRIED, Master
from django_counter.backends.redis.route import MAX_REDIRECTIONS, Route
from django_counter.backends.redis.scripts import script
from django_counter.backends.redis.topology import Address, Topology, by_slot, slot_of

SEED = Address("seed", 1)
ASKED = Address("asked", 2)
ONE = Address("one", 3)
TWO = Address("two", 4)
SLOTS = [
    [0, 8191, [b"one", 3, b"id", []], [b"three", 5, b"id", []]],
    [8192, 16383, [b"two", 4, b"id", []]],
]


def get(key: str) -> Call:
    return Call(("GET", key), "get", key, raw, safe=True)


@pytest.fixture
def topology() -> Topology:
    topology = Topology([SEED])
    topology.learn(SLOTS, ASKED)
    return topology


class TestTopology:
    def test_at_first_only_the_seeds_can_be_asked(self) -> None:
        topology = Topology([SEED, ONE])
        assert not topology.known
        assert topology.nodes == [SEED, ONE]
        assert topology.master(0) is None

    def test_each_slot_has_its_master(self, topology: Topology) -> None:
        assert topology.known
        assert [topology.master(slot) for slot in (0, 8191, 8192, 16383)] == [ONE, ONE, TWO, TWO]
        assert topology.masters() == [ONE, TWO]

    def test_who_answered_is_asked_first(self, topology: Topology) -> None:
        assert topology.nodes == [ASKED, ONE, TWO, Address("three", 5), SEED]

    def test_who_is_doubted_is_asked_last(self, topology: Topology) -> None:
        topology.doubt(ONE)
        assert not topology.known
        assert topology.nodes == [ASKED, TWO, Address("three", 5), SEED, ONE]

    @pytest.mark.parametrize("host", [None, b""])
    def test_a_node_that_does_not_know_its_host_is_where_it_was_asked(
        self, topology: Topology, host: bytes | None
    ) -> None:
        topology.learn([[0, 16383, [host, 9]]], ASKED)
        assert topology.master(5) == Address("asked", 9)

    def test_slots_that_are_not_told_have_no_master(self, topology: Topology) -> None:
        topology.learn(SLOTS[:1], ASKED)
        assert topology.master(8192) is None
        assert topology.masters() == [ONE]

    def test_a_slot_can_move(self, topology: Topology) -> None:
        topology.move(7, TWO)
        assert [topology.master(slot) for slot in (6, 7, 8)] == [ONE, TWO, ONE]

    def test_masters_have_numbers(self, topology: Topology) -> None:
        assert topology.numbered(1) == (TWO, 2)
        with pytest.raises(CounterUnavailable, match="has 2 masters now: begin the scan anew"):
            topology.numbered(2)


class TestSlots:
    def test_a_tag_decides(self) -> None:
        commands = [
            ("MGET", "a{x}", "b{x}", "x"),
            ("EVALSHA", "sha", "3", "a{x}", "b{x}", "x", "y", "z"),
            ("INCRBY", "x", "1"),
        ]
        slots = {slot_of(Call(command, "any", "x", raw)) for command in commands}
        assert len(slots) == 1

    def test_keys_of_several_slots_are_refused(self) -> None:
        with pytest.raises(CounterConfigError, match="must share a hash tag"):
            slot_of(Call(("MGET", "a", "b"), "multi_get", "a, b", raw))

    def test_keys_are_grouped_by_their_whole_names(self) -> None:
        assert by_slot("p:", ["a{x}", "b", "c{x}"]) == [["a{x}", "c{x}"], ["b"]]
        assert by_slot("{p}:", ["a", "b{x}"]) == [["a", "b{x}"]]


class TestRedirections:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (driver.MovedError("7 one:3"), ("one", 3, False)),
            (driver.AskError("7 one:3"), ("one", 3, True)),
            (driver.ResponseError("MOVED 7 one:3"), ("one", 3, False)),
            (driver.ResponseError("ASK 7 one:3"), ("one", 3, True)),
            (driver.ResponseError("MOVED 7 :3"), ("", 3, False)),
            (driver.ResponseError("MOVED 7 ::1:3"), ("::1", 3, False)),
            (driver.ResponseError("ERR MOVED 7 one:3"), None),
            (driver.ConnectionError("7 one:3"), None),
        ],
    )
    def test_each_version_of_the_driver_has_its_words(
        self, error: Exception, expected: object
    ) -> None:
        assert redirection(error) == expected

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (ReplyLost(), True),
            (ConnectionRefusedError(), True),
            (driver.TimeoutError(), True),
            (driver.BusyLoadingError(), True),
            (driver.ClusterDownError("down"), True),
            (driver.ResponseError("CLUSTERDOWN The cluster is down"), True),
            (driver.ResponseError("WRONGTYPE"), False),
        ],
    )
    def test_a_node_that_is_gone(self, error: Exception, expected: bool) -> None:
        assert unreachable(error) is expected


class TestMasters:
    def test_each_slot_has_a_key_whatever_the_prefix(self) -> None:
        keys = (f"app:counter:doctor:{{{number}}}" for number in range(TRIED))
        assert len({key_slot(key.encode()) for key in keys}) == 16384
        key = Master(None, [3017]).key("app:counter")
        assert key_slot(f"app:counter:{key}".encode()) == 3017

    def test_a_prefix_with_a_hash_tag_keeps_all_keys_from_other_slots(self) -> None:
        assert Master(None, [3017]).key("{shop}") is None


class TestRoute:
    def test_moved_is_remembered_for_all(self, topology: Topology) -> None:
        route = Route(get("key"), topology)
        route.go_on(driver.MovedError(f"{route.slot} three:5"))
        assert (route.node, route.asking) == (Address("three", 5), False)
        assert Route(get("key"), topology).node == Address("three", 5)

    def test_ask_is_for_one_call(self, topology: Topology) -> None:
        before = Route(get("key"), topology).node
        route = Route(get("key"), topology)
        route.go_on(driver.AskError(f"{route.slot} three:5"))
        assert (route.node, route.asking) == (Address("three", 5), True)
        assert Route(get("key"), topology).node == before

    def test_no_host_is_that_of_who_says_so(self, topology: Topology) -> None:
        route = Route(get("key"), topology)
        before = route.node
        route.go_on(driver.ResponseError(f"MOVED {route.slot} :5"))
        assert before
        assert route.node == Address(before.host, 5)

    def test_a_call_that_is_sent_to_and_fro_is_unavailable(self, topology: Topology) -> None:
        route = Route(get("key"), topology)
        for _ in range(MAX_REDIRECTIONS):
            route.go_on(driver.MovedError(f"{route.slot} three:5"))
        with pytest.raises(CounterUnavailable, match="moving the key"):
            route.go_on(driver.MovedError(f"{route.slot} three:5"))

    def test_to_and_fro_says_nothing_of_a_try_that_was_lost(self, topology: Topology) -> None:
        route = Route(get("key")._replace(safe=False, once=True), topology)
        route.go_on(ReplyLost())
        for _ in range(MAX_REDIRECTIONS):
            route.go_on(driver.MovedError(f"{route.slot} three:5"))
        with pytest.raises(CounterOutcomeUnknown):
            route.go_on(driver.MovedError(f"{route.slot} three:5"))

    def test_keys_torn_apart_are_asked_for_where_the_slot_is(self, topology: Topology) -> None:
        route = Route(get("key"), topology)
        owner = route.node
        for _ in range(2 * MAX_REDIRECTIONS):
            route.go_on(driver.AskError(f"{route.slot} three:5"))
            assert (route.node, route.asking) == (Address("three", 5), True)
            route.go_on(driver.TryAgainError("Multiple keys request during rehashing"))
            assert (route.node, route.asking) == (owner, False)
        route.go_on(driver.MovedError(f"{route.slot} three:5"))
        assert (route.node, route.asking) == (Address("three", 5), False)

    def test_a_call_goes_to_the_successor_of_a_node_that_is_gone(self, topology: Topology) -> None:
        route = Route(Call(("INCRBY", "key", "1"), "increment", "key", raw, 1), topology)
        topology.move(route.slot, Address("three", 5))
        route.go_on(ConnectionRefusedError())
        assert route.node == Address("three", 5)

    def test_a_call_whose_node_is_gone_and_has_no_successor_fails(self, topology: Topology) -> None:
        route = Route(get("key"), topology)
        with pytest.raises(CounterUnavailable):
            route.go_on(ConnectionRefusedError())
        assert not topology.known or route.node

    def test_a_node_that_is_known_to_have_the_slot_no_more_is_not_doubted(
        self, topology: Topology
    ) -> None:
        route = Route(get("key"), topology)
        topology.move(route.slot, Address("three", 5))
        assert route.doubt_node(ConnectionRefusedError())
        assert topology.known

    def test_what_is_known_of_a_slot_without_a_node_is_doubted(self, topology: Topology) -> None:
        topology.learn([], ASKED)
        nodes = list(topology.nodes)
        assert Route(get("key"), topology).doubt_node(driver.ClusterDownError("down"))
        assert not topology.known
        assert topology.nodes == nodes

    @pytest.mark.parametrize("safe", [True, False])
    def test_a_lost_reply_is_asked_for_again_only_when_it_is_safe(
        self, topology: Topology, safe: bool
    ) -> None:
        route = Route(get("key")._replace(safe=safe), topology)
        assert route.doubt_node(ReplyLost()) is safe


def test_calls_at_once_bring_each_script_once() -> None:
    one, two = (script(name) for name in ("take", "set"))
    calls = [
        Call(("EVALSHA", each.digest, "1", key), "any", key, raw, script=each)
        for key, each in (("a", one), ("b", two), ("c", one))
    ]
    assert packed_together([*calls, get("d")]) == [
        pack(("EVAL", one.source, "1", "a")),
        pack(("EVAL", two.source, "1", "b")),
        pack(("EVALSHA", one.digest, "1", "c")),
        pack(("GET", "d")),
    ]


def test_a_call_by_itself_brings_no_script() -> None:
    call = Call(("EVALSHA", "sha", "1", "a"), "take", "a", raw, script=script("take"))
    assert packed_together([call]) == [pack(call.command)]


def test_what_was_packed_before_is_not_packed_again() -> None:
    packed = get("a")._replace(packed=b"as it was packed")
    assert packed_together([get("b"), packed]) == [pack(("GET", "b")), b"as it was packed"]

"""Connections over TLS, with a certificate authority of the tests' own."""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import hiredis
import pytest

from django_counter import CounterConfigError, CounterOutcomeUnknown, CounterUnavailable
from django_counter.backends.redis import RedisCounter
from django_counter.backends.redis.call import pack
from tests.certificates import Authority, trusting
from tests.faults.operations import ALL, Caller, make
from tests.servers import ServerProcess

pytest_plugins = ["tests.faults.fixtures"]


@pytest.fixture
def url(tls_port: int) -> str:
    return f"rediss://127.0.0.1:{tls_port}/0"


@pytest.mark.parametrize("protocol", [2, 3])
def test_all_operations_work_over_tls(
    call: Caller,
    make_counter: Callable[..., RedisCounter],
    url: str,
    authority: Authority,
    protocol: int,
) -> None:
    counter = make_counter(url, **trusting(authority, protocol=protocol))
    for operation in ALL.values():
        call(counter, "set", "key", 10)
        assert make(call, counter, operation) == operation.result
        call(counter, "delete", "other")


def test_a_large_reply_comes_over_tls(
    call: Caller, make_counter: Callable[..., RedisCounter], url: str, authority: Authority
) -> None:
    counter = make_counter(url, **trusting(authority))
    keys = [f"key-{number}" for number in range(5000)]
    call(counter, "set", keys[-1], 10**18)
    answer = call(counter, "multi_get", keys)
    assert list(answer) == keys
    assert answer[keys[-1]] == 10**18


def test_a_read_over_tls_waits_until_the_deadline_of_its_call(
    make_counter: Callable[..., RedisCounter], url: str, authority: Authority
) -> None:
    counter = make_counter(url, timeout=10, **trusting(authority))
    counter.increment("key")
    connection = counter._lane._idle[0]
    deadline = monotonic() + 0.02
    with pytest.raises(TimeoutError):
        connection.receive_all([], 1, deadline)
    assert connection._socket.gettimeout() <= 0.02
    connection.send(pack(("PING",)), monotonic() + 10)
    assert 9 < connection._socket.gettimeout() <= 10


@pytest.mark.fault("unknown certificate authority")
def test_an_unknown_authority_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], url: str
) -> None:
    with pytest.raises(CounterConfigError, match=r"TLS connection failed: .*certificate"):
        call(make_counter(url), "increment", "key")


@pytest.mark.fault("missing certificate file")
def test_a_missing_file_of_authorities_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], url: str
) -> None:
    options = {"ssl_ca_certs": "/nowhere/root.pem"}
    with pytest.raises(CounterConfigError):
        call(make_counter(url, CONNECTION_POOL_KWARGS=options), "increment", "key")


def test_a_file_that_holds_no_authority_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], url: str, tmp_path: Path
) -> None:
    (tmp_path / "root.pem").write_text("not a certificate")
    options = {"ssl_ca_certs": str(tmp_path / "root.pem")}
    with pytest.raises(CounterConfigError, match="TLS"):
        call(make_counter(url, CONNECTION_POOL_KWARGS=options), "increment", "key")


@pytest.mark.fault("wrong name in the certificate")
def test_a_certificate_for_another_host_is_a_configuration_error(
    call: Caller, make_counter: Callable[..., RedisCounter], url: str, authority: Authority
) -> None:
    counter = make_counter(
        url.replace("127.0.0.1", "localhost"), **trusting(authority, ssl_check_hostname=True)
    )
    with pytest.raises(CounterConfigError, match="TLS"):
        call(counter, "increment", "key")


@pytest.mark.fault("TLS to a plain port")
def test_tls_to_a_server_without_it_is_a_counter_error(
    call: Caller, make_counter: Callable[..., RedisCounter], valkey: ServerProcess
) -> None:
    with pytest.raises((CounterConfigError, CounterUnavailable)):
        call(make_counter(f"rediss://127.0.0.1:{valkey.port}/0", timeout=1), "increment", "key")


@pytest.mark.fault("plain to a TLS port")
def test_a_server_with_tls_met_without_it_is_a_counter_error(
    call: Caller, make_counter: Callable[..., RedisCounter], tls_port: int
) -> None:
    with pytest.raises((CounterConfigError, CounterUnavailable)):
        call(make_counter(f"redis://127.0.0.1:{tls_port}/0", timeout=1), "increment", "key")


def test_a_server_that_hangs_behind_tls_is_noticed(
    call: Caller, make_counter: Callable[..., RedisCounter], authority: Authority, tls_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        counter = make_counter(f"rediss://127.0.0.1:{port}/0", timeout=0.2, **trusting(authority))
        with pytest.raises(CounterUnavailable):
            call(counter, "increment", "key")


def test_a_connection_that_ends_behind_tls_leaves_a_change_unknown(
    call: Caller, make_counter: Callable[..., RedisCounter], authority: Authority
) -> None:
    with OneCall(authority) as server:
        counter = make_counter(server.url, **trusting(authority, protocol=2))
        with pytest.raises(CounterOutcomeUnknown):
            call(counter, "increment", "key")


class OneCall:
    """A TLS server that shakes hands as Redis, reads one command more, and is gone."""

    def __init__(self, authority: Authority) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.certificate, authority.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"rediss://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> "OneCall":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        plain.settimeout(10)
        with self._context.wrap_socket(plain, server_side=True) as client:
            commands = hiredis.Reader()
            while True:
                commands.feed(client.recv(65_536))
                while (command := commands.gets()) is not False:
                    if command[0] == b"INCRBY":
                        return
                    client.sendall(b"+OK\r\n")

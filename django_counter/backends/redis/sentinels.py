"""The Sentinels that know where a master is."""

from time import monotonic
from typing import Any

from redis.exceptions import AuthenticationError, ConnectionError, ResponseError, TimeoutError
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from django_counter.backends.redis.deadline import connection_by
from django_counter.backends.redis.errors import SentinelRefusal
from django_counter.backends.redis.options import connection_options
from django_counter.backends.redis.topology import Address


class Sentinels:
    """Those of a cache, with what it knows of them.

    redis-py's own keep their connections, and with them the reply that was not read when a signal's
    handler raised; and where they read numbers, they swallow what the handler raises. Here
    connections last for one question.
    """

    def __init__(self, pool: SentinelConnectionPool) -> None:
        manager: Any = pool.sentinel_manager
        self.service_name = pool.service_name
        self.check_connection = pool.check_connection
        self._least_others: int = manager.min_other_sentinels
        self._pools = [client.connection_pool for client in manager.sentinels]

    def master(self, deadline: float) -> Address:
        """Return where the master is; raise one of DRIVER_ERRORS.

        `deadline` is by time.monotonic(). Each has its share of the time until then, so that one
        that hangs leaves some to the others.
        """
        failure: Exception | None = None
        refusal: SentinelRefusal | None = None
        for number, pool in enumerate(self._pools):
            now = monotonic()
            share = (deadline - now) / (len(self._pools) - number)
            try:
                master = self._ask(pool, now + share)
            except AuthenticationError as error:
                refusal = SentinelRefusal(*error.args)
                continue
            except (ConnectionError, TimeoutError) as error:
                failure = error
                continue
            if master:
                # The next time it is the first.
                self._pools = [pool, *(other for other in self._pools if other is not pool)]
                return master
        if refusal:
            raise refusal
        raise MasterNotFoundError(f"no Sentinel knows {self.service_name!r}") from failure

    def _ask(self, pool: Any, deadline: float) -> Address | None:
        """Return where one Sentinel says that the master is, None where it knows of none."""
        connection = connection_by(deadline, pool.connection_class, **connection_options(pool))
        try:
            connection.connect()
            connection.send_command("SENTINEL", "MASTER", self.service_name)
            reply = connection.read_response()
        except ResponseError as error:
            if "No such master" in str(error):
                return None
            raise
        finally:
            connection.disconnect()
        if isinstance(reply, list):  # with RESP2: names and values by turns
            reply = dict(zip(reply[::2], reply[1::2], strict=True))
        return self._address(reply)

    def _address(self, state: dict[bytes, bytes]) -> Address | None:
        flags = set(state[b"flags"].split(b","))
        well = b"master" in flags and not flags & {b"s_down", b"o_down"}
        if not well or int(state[b"num-other-sentinels"]) < self._least_others:
            return None
        return Address(state[b"ip"].decode(), int(state[b"port"]))


class Discovery:
    """What a connection of an unknown class asks where its master is, in place of redis-py's pool.

    It may ask whenever it connects again, each time for that many seconds.
    """

    is_master = True  # a replica's answers are old

    def __init__(self, sentinels: Sentinels, timeout: float) -> None:
        self.service_name = sentinels.service_name
        self.check_connection = sentinels.check_connection
        self._sentinels = sentinels
        self._timeout = timeout

    def get_master_address(self) -> Address:
        """See Sentinels.master()."""
        return self._sentinels.master(monotonic() + self._timeout)

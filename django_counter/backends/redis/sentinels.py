"""The Sentinels that know where a master is."""

from copy import copy
from typing import Any

from redis import Redis
from redis.sentinel import SentinelConnectionPool

from django_counter.backends.redis.packers import Packer


class Discovery:
    """What a SentinelManagedConnection asks where its master is, in place of redis-py's pool.

    That one keeps connections to the Sentinels, and with them the reply that was not read when a
    signal's handler raised. Here they last for one question.
    """

    is_master = True  # a replica's answers are old

    def __init__(self, pool: SentinelConnectionPool) -> None:
        self.service_name = pool.service_name
        self.check_connection = pool.check_connection
        self._manager: Any = pool.sentinel_manager
        clients = self._manager.sentinels
        self._addresses = [_address(client) for client in clients]

    def get_master_address(self) -> tuple[str, int]:
        """Return the host and port of the master; raise one of DRIVER_ERRORS."""
        manager = copy(self._manager)
        manager.sentinels = [self._client(*address) for address in self._addresses]
        try:
            host, port = manager.discover_master(self.service_name)
            # The one that answered is the first now.
            self._addresses = [_address(client) for client in manager.sentinels]
        finally:
            for client in manager.sentinels:
                client.close()
        return host, port

    def _client(self, host: str, port: int) -> Redis:
        client = Redis(host, port, **self._manager.sentinel_kwargs)
        client.connection_pool.connection_kwargs["command_packer"] = Packer()
        return client


def _address(client: Redis) -> tuple[str, int]:
    options = client.connection_pool.connection_kwargs
    return options["host"], options["port"]

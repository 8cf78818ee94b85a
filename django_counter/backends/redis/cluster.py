"""What CACHES needs for a Redis Cluster."""

from typing import Any

from django_redis.pool import ConnectionFactory
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]  # django-redis is untyped
    """Connect django-redis to a cluster: OPTIONS["CONNECTION_FACTORY"].

    LOCATION names some of its nodes; the others are found. Counters send by themselves, to each
    node what is its. The client that `get_redis_connection()` gives is redis-py's, without retries;
    it cannot do what needs several slots at once, such as `cache.get_many()`.
    """

    def get_connection(self, params: dict[str, Any]) -> RedisCluster:
        options = {**params, **self.pool_cls_kwargs, "retry": Retry(NoBackoff(), 0)}
        options.pop("parser_class")
        return RedisCluster.from_url(options.pop("url"), **options)

    def disconnect(self, connection: RedisCluster) -> None:
        connection.close()

"""Counters in Redis or Valkey, over the project's django-redis connection."""

from django_counter.backends.redis.counter import RedisCounter

__all__ = ["RedisCounter"]

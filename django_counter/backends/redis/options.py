"""What the connections of redis-py's pools are made with."""

from typing import Any

# What a pool hands to its connections for its own ends, and what we decide ourselves.
_NOT_OURS = {
    "decode_responses",
    "event_dispatcher",
    "health_check_interval",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "orig_host_address",
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
}


def connection_options(pool: Any) -> dict[str, Any]:
    """Return the options for a connection of our own to where those of a pool go."""
    options = pool.connection_kwargs
    return {name: options[name] for name in options.keys() - _NOT_OURS}

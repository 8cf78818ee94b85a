"""The databases of the server that a Redis URL names."""

from urllib.parse import parse_qsl, urlencode

from redis.connection import parse_url

DATABASES = 16  # of a server that is not configured otherwise


def next_database(url: str) -> str:
    """Return the URL of the following database on the same server."""
    try:
        number = parse_url(url).get("db", 0)  # type: ignore[no-untyped-call]  # redis has no type
    except ValueError:
        return url  # whoever connects to it is told what is wrong
    address, _, query = url.partition("?")
    options = {**dict(parse_qsl(query)), "db": (number + 1) % DATABASES}
    return f"{address}?{urlencode(options)}"  # in any scheme, this db wins over one in the path

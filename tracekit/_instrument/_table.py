"""What can be traced: tracekit's own edges, and what contrib's instrumentors wait for.

An edge of ours takes the place of contrib's instrumentors of the same packages. An instrumentor
that is not in the table says by its own metadata which packages it is for.
"""

from __future__ import annotations

from typing import NamedTuple


class Edge(NamedTuple):
    """One of tracekit's own edges."""

    name: str
    """What arguments and variables call it."""
    module: str
    """The edge, imported with its first use."""
    package: str
    """The package whose import it waits for."""
    distribution: str
    """Who brings that package; "" for the standard library."""
    replaces: tuple[str, ...] = ()
    """The entry points of contrib's instrumentors that it stands in for."""


# fmt: off
EDGES = (
    Edge("logging", "tracekit.logging", "logging", "", ("logging",)),
    Edge("flask", "tracekit.flask", "flask", "flask", ("flask",)),
    Edge("requests", "tracekit.requests", "requests", "requests", ("requests",)),
    Edge("grpc", "tracekit.grpc", "grpc", "grpcio",
         ("grpc_client", "grpc_server", "grpc_aio_client", "grpc_aio_server")),
    Edge("fastapi", "tracekit.fastapi", "fastapi", "fastapi", ("fastapi",)),
    Edge("starlette", "tracekit.fastapi", "starlette", "starlette", ("starlette",)),
    Edge("django", "tracekit.django", "django.core.handlers.base", "django", ("django",)),
    Edge("httpx", "tracekit.httpx", "httpx", "httpx", ("httpx",)),
    Edge("httpx2", "tracekit.httpx", "httpx2", "httpx2", ("httpx2",)),
    Edge("aiohttp", "tracekit.aiohttp", "aiohttp", "aiohttp", ("aiohttp-client",)),
    Edge("aiohttp-server", "tracekit.aiohttp", "aiohttp.web_app", "aiohttp", ("aiohttp-server",)),
    Edge("celery", "tracekit.celery", "celery", "celery", ("celery",)),
    Edge("rq", "tracekit.rq", "rq", "rq"),
)

# Entry point of an instrumentor: the package that it waits for, and who brings that.
CONTRIB: dict[str, tuple[str, str]] = {
    "aio-pika": ("aio_pika", "aio-pika"),
    "aiobotocore": ("aiobotocore", "aiobotocore"),
    "aiohttp-client": ("aiohttp", "aiohttp"),
    "aiohttp-server": ("aiohttp", "aiohttp"),
    "aiokafka": ("aiokafka", "aiokafka"),
    "aiopg": ("aiopg", "aiopg"),
    "asyncclick": ("asyncclick", "asyncclick"),
    "asyncio": ("asyncio", ""),
    "asyncpg": ("asyncpg", "asyncpg"),
    "boto": ("boto", "boto"),
    "boto3sqs": ("boto3", "boto3"),
    "botocore": ("botocore", "botocore"),
    "cassandra": ("cassandra", "cassandra-driver"),
    "celery": ("celery", "celery"),
    "click": ("click", "click"),
    "confluent_kafka": ("confluent_kafka", "confluent-kafka"),
    "django": ("django", "django"),
    "elasticsearch": ("elasticsearch", "elasticsearch"),
    "falcon": ("falcon", "falcon"),
    "fastapi": ("fastapi", "fastapi"),
    "flask": ("flask", "flask"),
    "grpc_aio_client": ("grpc", "grpcio"),
    "grpc_aio_server": ("grpc", "grpcio"),
    "grpc_client": ("grpc", "grpcio"),
    "grpc_server": ("grpc", "grpcio"),
    "httpx": ("httpx", "httpx"),
    "jinja2": ("jinja2", "jinja2"),
    "kafka": ("kafka", "kafka-python"),
    "logging": ("logging", ""),
    "mysql": ("mysql.connector", "mysql-connector-python"),
    "mysqlclient": ("MySQLdb", "mysqlclient"),
    "pika": ("pika", "pika"),
    "psycopg": ("psycopg", "psycopg"),
    "psycopg2": ("psycopg2", "psycopg2"),
    "pymemcache": ("pymemcache", "pymemcache"),
    "pymongo": ("pymongo", "pymongo"),
    "pymssql": ("pymssql", "pymssql"),
    "pymysql": ("pymysql", "pymysql"),
    "pyramid": ("pyramid", "pyramid"),
    "redis": ("redis", "redis"),
    "remoulade": ("remoulade", "remoulade"),
    "requests": ("requests", "requests"),
    "sqlalchemy": ("sqlalchemy", "sqlalchemy"),
    "sqlite3": ("sqlite3", ""),
    "starlette": ("starlette", "starlette"),
    "system_metrics": ("psutil", "psutil"),
    "threading": ("threading", ""),
    "tornado": ("tornado", "tornado"),
    "tortoiseorm": ("tortoise", "tortoise-orm"),
    "urllib": ("urllib.request", ""),
    "urllib3": ("urllib3", "urllib3"),
}
# fmt: on

"""The servers that other tests build on are what they are named after."""

from __future__ import annotations

from typing import Any

import psycopg
import pymysql
import pytest
import redis
from sqlalchemy import make_url


@pytest.mark.parametrize(
    ("fixture", "field", "version"),
    [("redis7", "redis_version", "7."), ("redis62", "redis_version", "6.2.")],
)
def test_each_redis_is_of_its_version(
    fixture: str, field: str, version: str, request: pytest.FixtureRequest
) -> None:
    with redis.Redis.from_url(request.getfixturevalue(fixture)) as client:
        assert str(client.info("server")[field]).startswith(version)


def test_valkey_is_of_its_version(valkey9: str) -> None:
    with redis.Redis.from_url(valkey9) as client:
        assert str(client.info("server")["valkey_version"]).startswith("9.")


def test_postgresql_takes_its_password_only(postgres: str) -> None:
    psycopg.connect(postgres).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres, password="wrong").close()


def test_mariadb_takes_its_password_only(mariadb: str) -> None:
    url = make_url(mariadb)
    place: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "database": url.database,
    }
    pymysql.connect(**place, password=str(url.password)).close()
    with pytest.raises(pymysql.OperationalError):
        pymysql.connect(**place, password="wrong").close()

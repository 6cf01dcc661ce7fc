"""The options that say how a Kafka cluster is reached, for all verbs that are given no pipeline."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.kafka import KafkaRule

P = ParamSpec("P")
R = TypeVar("R")

# The option, the environment's name for it, what it is.
_OPTIONS = (
    ("library", "LIBRARY", "kafka-python, or librdkafka for volume."),
    ("security-protocol", "SECURITY_PROTOCOL", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."),
    ("sasl-mechanism", "SASL_MECHANISM", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."),
    ("sasl-username", "SASL_USERNAME", "Who m2 is."),
    ("ssl-cafile", "SSL_CAFILE", "Whose signature on the servers is trusted."),
    ("ssl-certfile", "SSL_CERTFILE", "The certificate that m2 shows."),
    ("ssl-keyfile", "SSL_KEYFILE", "Its key."),
)
_PREFIX = "M2_KAFKA_"
PASSWORD = f"{_PREFIX}SASL_PASSWORD"


def cluster_options(*, is_required: bool = True) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """`--bootstrap-server` and its kin; the command gets `cluster`, by `KafkaRule`'s names, in their place."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def with_cluster(*args: Any, bootstrap_server: tuple[str, ...], **kwargs: Any) -> R:
            names = [name.replace("-", "_") for name, _, _ in _OPTIONS]
            settings = {name: value for name in names if (value := kwargs.pop(name)) is not None}
            return command(*args, cluster=settings | {"bootstrap_servers": bootstrap_server}, **kwargs)

        decorated: Any = with_cluster
        for name, variable, help_text in reversed(_OPTIONS):
            option = click.option(
                f"--{name}", envvar=_PREFIX + variable, metavar=name.split("-")[-1].upper(), help=help_text
            )
            decorated = option(decorated)
        server = click.option(
            "--bootstrap-server",
            multiple=True,
            required=is_required,
            envvar=f"{_PREFIX}BOOTSTRAP_SERVERS",
            metavar="HOST:PORT",
            help="A server of the cluster; may be given several times.",
        )
        return server(decorated)  # type: ignore[no-any-return]  # as `command`, by click

    return decorate


def make_kafka_rule(cluster: dict[str, Any], environment: Any) -> KafkaRule:
    """The rule of these options; the password comes from the environment alone, where no list of processes shows it."""
    from m2cli.kafka import KafkaRule

    password = environment.get(PASSWORD)
    return KafkaRule(**cluster, sasl_password=password)


__all__ = ["PASSWORD", "cluster_options", "make_kafka_rule"]

"""Which library a rule means, imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m2cli.kafka.client import Client, Sink
    from m2cli.kafka.rule import KafkaRule


def open_client(rule: KafkaRule) -> Client:
    """A client for the cluster of `rule`.

    Raises `BrokerAwayError` where none answers, `NoLibraryError`, `UnreadableSourceError` for a certificate's file.
    """
    rule.check_files()
    if rule.library == "librdkafka":
        from m2cli.kafka.rdkafka_client import RdkafkaClient

        return RdkafkaClient(rule)
    from m2cli.kafka.python_client import PythonClient

    return PythonClient(rule)


def open_sink(rule: KafkaRule, transactional_id: str) -> Sink:
    """A sink that writes as `transactional_id`, others with that id shut out.

    Raises `BrokerAwayError` where no broker answers, `NoLibraryError`, `UnreadableSourceError`.
    """
    rule.check_files()
    if rule.library == "librdkafka":
        from m2cli.kafka.rdkafka_sink import RdkafkaSink

        return RdkafkaSink(rule, transactional_id)
    from m2cli.kafka.python_sink import PythonSink

    return PythonSink(rule, transactional_id)

"""Settings of Kafka: how the cluster is reached, [kafka], and what is written there, [topics]."""

from __future__ import annotations

from functools import partial

from m2cli.kafka.rule import LIBRARIES, SASL_MECHANISMS, SECURITY_PROTOCOLS
from m2cli.pipeline.keys.key import Key, one_of
from m2cli.pipeline.kinds import DURATION, PATH, PLACE, TEXT, TEXTS
from m2cli.pipeline.rule import (
    check_topic,
)

_kafka, _topics = partial(Key, section="kafka", kind=TEXT), partial(Key, section="topics", kind=TEXT)

KAFKA_KEYS = (
    _kafka(
        name="bootstrap_servers",
        kind=TEXTS,
        sample='["kafka-1:9092", "kafka-2:9092"]',
        meaning="Some of the cluster's servers; the others are found.",
    ),
    _kafka(
        name="library",
        default=LIBRARIES[0],
        check=one_of("Kafka library", LIBRARIES),
        meaning="The client: `kafka-python`, or for volume `librdkafka`; `pip install 'm2cli[librdkafka]'` brings it.",
    ),
    _kafka(
        name="schemas",
        kind=PLACE,
        sample='"schemas"',
        meaning="The Avro schemas that messages are written by: a folder of `.avsc` files, see `m2 schema`, or the URL "
        "of a registry that speaks as Confluent's does.",
    ),
    _kafka(
        name="keys",
        kind=PATH,
        sample='"/etc/m2/keys"',
        meaning="A folder of keys that [encrypted messages](../avro.md#encryption) are opened with.",
    ),
    _kafka(
        name="seal_with",
        sample='"2026-11"',
        meaning="The key that tagged events and ends of visit are encrypted with; by default they are not.",
    ),
    _kafka(
        name="security_protocol",
        default=SECURITY_PROTOCOLS[0],
        check=one_of("security protocol", SECURITY_PROTOCOLS),
        meaning="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.",
    ),
    _kafka(
        name="sasl_mechanism",
        sample='"SCRAM-SHA-512"',
        check=one_of("SASL mechanism", SASL_MECHANISMS),
        meaning="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.",
    ),
    _kafka(name="sasl_username", sample='"m2"', meaning="Who m2 is."),
    _kafka(
        name="sasl_password",
        sample='"${M2_KAFKA_PASSWORD}"',
        meaning="Its password; better filled from the environment than written here.",
    ),
    _kafka(name="ssl_cafile", kind=PATH, sample='"ca.pem"', meaning="Whose signature on the servers is trusted."),
    _kafka(name="ssl_certfile", kind=PATH, sample='"m2.pem"', meaning="The certificate that m2 shows."),
    _kafka(name="ssl_keyfile", kind=PATH, sample='"m2.key"', meaning="Its key."),
    _kafka(
        name="timeout",
        kind=DURATION,
        default="30s",
        meaning="How long the cluster may say nothing before it counts as away.",
    ),
    _topics(
        name="tagged_events",
        sample='"tagged_events"',
        check=check_topic,
        meaning="The topic that every event goes to as soon as W has passed it, with its final visit id.",
    ),
    _topics(
        name="ends_of_visit",
        sample='"ends_of_visit"',
        check=check_topic,
        meaning="The topic that every end of visit goes to.",
    ),
    _topics(
        name="pseudonymous_events",
        sample='"pseudonymous_events"',
        check=check_topic,
        meaning="The topic that tagged events go to under pseudonyms, by the rules of [anonymize].",
    ),
    _topics(
        name="pseudonymous_ends",
        sample='"pseudonymous_ends"',
        check=check_topic,
        meaning="The same for ends of visit.",
    ),
    _topics(
        name="group",
        sample='"m2-shop"',
        check=check_topic,
        meaning="The transactional id, and the consumer group that says how far the pipeline has come; no other may "
        "have it; by default `m2-` and the pipeline's name.",
    ),
)

"""The event: every column, its type, its meaning; and the two other rows that m2 writes, rejects and visits."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

TIME = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 4)
REVENUE = pl.Decimal(38, 4)  # a sum of MONEY cannot overflow it
TEXTS = pl.Map(pl.String, pl.String)


class Column(NamedTuple):
    """One column of a table that m2 writes."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str


# DESIGN 3.1. The order is that of the files in the lake.
EVENT_COLUMNS = (
    Column("event_id", pl.String, "Names the event; for a log line its part and byte offset."),
    Column("event_time", TIME, "When it happened, UTC, in microseconds."),
    Column("event_type", pl.String, "enter, page, request, show, seen, click, add_to_cart, purchase, or any other."),
    Column("session_id", pl.String, "The session cookie."),
    Column("customer_id", pl.String, "The customer who was logged in."),
    Column("ip", pl.String, "The address of the client."),
    Column("user_agent", pl.String, "The User-Agent header."),
    Column("method", pl.String, "The request's method."),
    Column("url", pl.String, "What was asked for: path and query, or the whole URL."),
    Column("status", pl.Int32, "The response's status."),
    Column("bytes", pl.Int64, "The size of the response's body, in bytes."),
    Column("referrer", pl.String, "The Referer header: the URL that led here."),
    Column("entity_type", pl.String, "What the event is about: product, banner, search term, list, page."),
    Column("entity_id", pl.String, "Which one."),
    Column("cause_id", pl.String, "The event that led to this one; null for a root."),
    Column("hook", pl.String, "What was clicked on the shown entity: add_to_cart, product_page."),
    Column("reason", pl.String, "Why it was put there (recommendation, campaign, search), or where a root came from."),
    Column("position", pl.Int32, "The place on the page or in the list, from 1."),
    Column("quantity", pl.Int64, "How many, on an order line or in the cart."),
    Column("amount", MONEY, "The line's total."),
    Column("currency", pl.String, "The amount's currency, ISO 4217."),
    Column("attributes", TEXTS, "All else that the source says, by its own names."),
    Column("source", pl.String, "The partition it came from: a log with its rotated parts, a Kafka partition, a file."),
    Column("part_id", pl.String, "The physical log file, by its content."),
    Column("position_in_source", pl.Int64, "Byte offset in the decompressed part, Kafka offset, or row number."),
    Column("arrival_time", TIME, "When it reached m2's input, UTC."),
)
ADDED_COLUMNS = (
    Column("visitor_id", pl.String, "The browser or app: its session cookie, else from address and user agent."),
    Column("visit_id", pl.String, "The visit it belongs to."),
    Column("country", pl.String, "Country of the address, ISO 3166-1 alpha-2."),
    Column("is_robot", pl.Boolean, "Whether the visitor is automated, by the user agent."),
    Column("browser", pl.String, "Browser family."),
    Column("device", pl.String, "desktop, mobile, tablet, robot or other."),
)
VISIT_COLUMNS = (  # DESIGN 4.10
    Column("visit_id", pl.String, "Names the visit: a digest of visitor, first event's time and id."),
    Column("visitor_id", pl.String, "Whose visit it is."),
    Column("start_time", TIME, "Time of the first event."),
    Column("end_time", TIME, "Time of the last event."),
    Column("event_count", pl.Int64, "Events in the visit."),
    Column("page_count", pl.Int64, "Of these, pages."),
    Column("show_count", pl.Int64, "Of these, shows."),
    Column("click_count", pl.Int64, "Of these, clicks."),
    Column("purchase_count", pl.Int64, "Of these, purchased order lines."),
    Column("end_reason", pl.String, "inactivity, max_duration, end_of_input or flush."),
    Column("continues_visit_id", pl.String, "The visit that this one continues after the maximum duration."),
    Column("landing_url", pl.String, "URL of the first page."),
    Column("exit_url", pl.String, "URL of the last page."),
    Column("country", pl.String, "Country of the first event."),
    Column("is_robot", pl.Boolean, "Whether the first event's visitor is automated."),
    Column("browser", pl.String, "Browser of the first event."),
    Column("device", pl.String, "Device of the first event."),
    Column("revenue", REVENUE, "Sum of the purchases' amounts; null where currencies mix or nothing was bought."),
    Column("currency", pl.String, "Its currency; null where currencies mix."),
    Column("revenue_by_currency", pl.Map(pl.String, REVENUE), "Where currencies mix: the sum for each."),
)
REJECT_COLUMNS = (
    Column("source", pl.String, "The partition it came from."),
    Column("part_id", pl.String, "The physical file, by its content; null where that could not be told."),
    Column("file", pl.String, "The file as it was named."),
    Column("line_number", pl.Int64, "Line or row number, from 1."),
    Column("position_in_source", pl.Int64, "Byte offset in the decompressed part, or row number from 0."),
    Column("reason", pl.String, "Why it could not become an event."),
    Column("raw", pl.String, "The line or row itself, redacted, bytes that are no text escaped."),
    Column("arrival_time", TIME, "When it reached m2's input, UTC."),
)

EVENT_SCHEMA = {column.name: column.dtype for column in EVENT_COLUMNS}
LAKE_EVENT_SCHEMA = EVENT_SCHEMA | {column.name: column.dtype for column in ADDED_COLUMNS}
VISIT_SCHEMA = {column.name: column.dtype for column in VISIT_COLUMNS}
REJECT_SCHEMA = {column.name: column.dtype for column in REJECT_COLUMNS}

PAGE, SHOW, SEEN, CLICK, PURCHASE = "page", "show", "seen", "click", "purchase"


class Intake(NamedTuple):
    """One piece of input, read: what became events, what did not, and the count that they must add up to.

    `read_count` lines or rows = events + rejects + `ignored_count` (blank lines, directives). `format_counts` is, for
    lines of access logs, how many events were read by each format; `redacted_counts` how many secrets were replaced, by
    what they are.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    read_count: int
    ignored_count: int
    format_counts: tuple[tuple[str, int], ...] = ()
    redacted_counts: tuple[tuple[str, int], ...] = ()

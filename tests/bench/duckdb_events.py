"""A peer of `m2 sessionize` for event files: the same lake made by DuckDB in SQL.

Duplicates apart, both limits, ids, totals, visits in order of start, a folder for each day.
"""

import sys
from pathlib import Path

import duckdb

_CUT = """
CREATE TEMP TABLE chained AS
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY visitor_id, event_id, event_time) AS copy FROM read_parquet($source)
), gaps AS (
    SELECT * EXCLUDE (copy),
           coalesce(event_time - lag(event_time) OVER visitor > INTERVAL 30 MINUTE, true) AS is_first
    FROM ranked WHERE copy = 1 WINDOW visitor AS (PARTITION BY visitor_id ORDER BY event_time, event_id)
)
SELECT *, sum(is_first::INT) OVER (PARTITION BY visitor_id ORDER BY event_time, event_id) AS chain FROM gaps;
"""
# Greedy from each visit's own first event, for the chains that are too long only.
_LONG = """
CREATE TEMP TABLE long_starts AS
WITH RECURSIVE long AS (
    SELECT visitor_id, chain, min(event_time) AS start_time, max(event_time) AS last_time
    FROM chained GROUP BY ALL HAVING max(event_time) - min(event_time) > INTERVAL 12 HOUR
), starts AS (
    SELECT visitor_id, chain, start_time FROM long
    UNION ALL
    SELECT s.visitor_id, s.chain, (
        SELECT min(c.event_time) FROM chained c
        WHERE c.visitor_id = s.visitor_id AND c.chain = s.chain AND c.event_time > s.start_time + INTERVAL 12 HOUR)
    FROM starts s WHERE s.start_time IS NOT NULL
)
SELECT * FROM starts WHERE start_time IS NOT NULL;
"""
_VISITS = """
CREATE TEMP TABLE cut AS
SELECT c.* EXCLUDE (is_first), coalesce(l.start_time, first_value(c.event_time) OVER w) AS start_time,
FROM chained c ASOF LEFT JOIN long_starts l
  ON c.visitor_id = l.visitor_id AND c.chain = l.chain AND c.event_time >= l.start_time
WINDOW w AS (PARTITION BY c.visitor_id, c.chain ORDER BY c.event_time, c.event_id);

CREATE TEMP TABLE visits AS
SELECT md5(epoch_us(start_time) || ':' || visitor_id || arg_min(event_id, event_time)) AS visit_id,
       visitor_id, start_time, max(event_time) AS end_time, count(*) AS event_count,
       count(*) FILTER (event_type = 'page') AS page_count, count(*) FILTER (event_type = 'show') AS show_count,
       count(*) FILTER (event_type = 'click') AS click_count,
       count(*) FILTER (event_type = 'purchase') AS purchase_count,
       arg_min(url, event_time) FILTER (event_type = 'page') AS landing_url,
       arg_max(url, event_time) FILTER (event_type = 'page') AS exit_url
FROM cut GROUP BY visitor_id, start_time;
"""
_WRITE_EVENTS = """
COPY (SELECT c.* EXCLUDE (chain), v.visit_id, c.start_time::DATE AS date
      FROM cut c JOIN visits v USING (visitor_id, start_time) ORDER BY start_time, visit_id, event_time, event_id)
TO '{target}/events' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date));
"""
_WRITE_VISITS = """
COPY (SELECT *, start_time::DATE AS date FROM visits ORDER BY start_time)
TO '{target}/visits' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date));
"""


def main(source: str, target: Path) -> None:
    target.mkdir(parents=True)
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(_CUT, {"source": source})
    for statement in (_LONG, _VISITS, _WRITE_EVENTS.format(target=target), _WRITE_VISITS.format(target=target)):
        con.execute(statement)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

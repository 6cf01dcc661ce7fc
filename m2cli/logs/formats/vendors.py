"""Formats that clouds and proxies write by themselves, each with the document that lays it down."""

from __future__ import annotations

from m2cli.logs.formats.kinds import Escape
from m2cli.logs.formats.template import compile_template

_ALB = (
    "{connection_type:word} {time:iso} {load_balancer:word} {remote_ip:address_port} {target_ip:address_port} "
    "{request_processing_duration:s} {target_processing_duration:s} {response_processing_duration:s} {status:status} "
    '{target_status:word} {bytes_received:size} {bytes_sent:size} "{request:request}" "{user_agent}" '
    '{ssl_cipher:word} {ssl_protocol:word} {target_group:word} "{trace_id}"'
)
_ALB_2018 = (
    ' "{host}" "{certificate}" {rule_priority:word} {creation_time:word} "{actions}" "{redirect_url}" "{error_reason}"'
)
_ELB = (
    "{time:iso} {load_balancer:word} {remote_ip:address_port} {target_ip:address_port} {request_processing_duration:s} "
    "{target_processing_duration:s} {response_processing_duration:s} {status:status} {target_status:word} "
    '{bytes_received:size} {bytes_sent:size} "{request:request}"'
)
_S3 = (
    "{bucket_owner:word} {bucket:word} [{time:clf}] {remote_ip:address} {requester:word} {request_id:word} "
    '{operation:word} {object_key:word} "{request:request}" {status:status} {error_code:word} {bytes_sent:size} '
    '{object_size:size} {duration:ms} {turn_around_duration:ms} "{referrer}" "{user_agent}" '
    "{version_id:word}{rest:rest}"
)
_HAPROXY = (
    "{remote_ip:address_port} [{time:clf_millis}] {frontend:word} {backend:word}/{server:word} "
    "{request_duration:signed_ms}/{queue_duration:signed_ms}/{connect_duration:signed_ms}/"
    "{response_duration:signed_ms}/{duration:signed_ms} {status:signed_status} {bytes_sent:signed} "
    "{captured_cookie:word} {response_captured_cookie:word} {termination_state:word} "
    "{connection_count:number}/{frontend_connection_count:number}/"
    "{backend_connection_count:number}/{server_connection_count:number}/{retry_count:signed} "
    '{server_queue_count:number}/{backend_queue_count:number} {captured_headers:captures}"{request:request}"'
)
_SQUID = (
    "{time:epoch} {duration:ms} {remote_ip:address} {result_code:word}/{status:status} {bytes_sent:size} "
    "{method:method} {url:url} {user:user} {hierarchy_code:word}/{peer:word} {content_type:word}"
)
_TRAEFIK = (
    '{remote_host:word} - {user:user} [{time:clf}] "{request:request}" {status:status} {bytes:size} "{referrer}" '
    '"{user_agent}" {request_count:number} "{router}" "{server_url}" {duration:ms}ms'
)
_CLOUDSTORAGE = ",".join(
    f'"{{{field}}}"'
    for field in (
        *("time:micros_since_1970", "remote_ip:address", "remote_ip_type:number", "remote_ip_region", "method:method"),
        *("url:url", "status:status", "bytes_received:size", "bytes_sent:size", "duration:us", "host", "referrer"),
        *("user_agent", "request_id", "operation", "bucket", "object_key"),
    )
)

VENDORS = (
    compile_template(
        f"{_ALB}{_ALB_2018}{{rest:rest}}",
        name="alb",
        about="Amazon's: docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html",
        escape=Escape.BACKSLASH,
        has_absolute_urls=True,
        others=(
            compile_template(
                f"{_ALB}{{rest:rest}}", name="alb", about="before 2018", escape=Escape.BACKSLASH, has_absolute_urls=True
            ),
        ),
    ),
    compile_template(
        f'{_ELB} "{{user_agent}}" {{ssl_cipher:word}} {{ssl_protocol:word}}',
        name="elb",
        about="Amazon's classic: docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html",
        escape=Escape.BACKSLASH,
        has_absolute_urls=True,
        others=(
            compile_template(_ELB, name="elb", about="before 2015", escape=Escape.BACKSLASH, has_absolute_urls=True),
        ),
    ),
    compile_template(
        _S3,
        name="s3",
        about="Amazon's storage: docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html",
    ),
    compile_template(
        _HAPROXY,
        name="haproxy",
        about="`option httplog`: docs.haproxy.org/3.0/configuration.html#8.2.3; its times are the machine's own",
    ),
    compile_template(
        _SQUID,
        name="squid",
        about="Squid's native: wiki.squid-cache.org/Features/LogFormat",
        is_lenient=True,
    ),
    compile_template(
        _TRAEFIK,
        name="traefik",
        about="Traefik's CLF: doc.traefik.io/traefik/observability/access-logs/#clf-common-log-format",
        escape=Escape.BACKSLASH,
    ),
    compile_template(
        _CLOUDSTORAGE,
        name="cloudstorage",
        about="Google's storage: cloud.google.com/storage/docs/access-logs#format",
        escape=Escape.DOUBLED_QUOTES,
        heading='"time_micros",',
    ),
)

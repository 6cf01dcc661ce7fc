"""The table of formats with names: how a server is told to write each, and where that is laid down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.logs.formats.apache import compile_apache
from m2cli.logs.formats.nginx import compile_nginx
from m2cli.logs.formats.objects import ANY_OBJECT, CADDY, TRAEFIK
from m2cli.logs.formats.vendors import VENDORS
from m2cli.logs.formats.w3c import CLOUDFRONT, W3C

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat

_APACHE = "httpd.apache.org/docs/2.4/mod/mod_log_config.html#examples"

FORMATS: dict[str, LogFormat] = {
    log_format.name: log_format
    for log_format in (
        compile_apache(
            '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
            name="combined",
            about=f"Apache's and nginx' default: {_APACHE}",
        ),
        compile_apache('%h %l %u %t "%r" %>s %b', name="common", about=f"the NCSA's: {_APACHE}"),
        compile_apache(
            '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
            name="vhost_combined",
            about="Debian's, the virtual host in front of combined: /etc/apache2/apache2.conf",
        ),
        compile_apache(
            '%v %h %l %u %t "%r" %>s %b', name="vhost_common", about=f"common with the virtual host in front: {_APACHE}"
        ),
        compile_apache(
            '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %I %O',
            name="combinedio",
            about="combined with bytes in and out, headers and all: httpd.apache.org/docs/2.4/mod/mod_logio.html",
        ),
        compile_nginx(
            '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
            '"$http_referer" "$http_user_agent"',
            name="nginx",
            about="nginx' own combined: nginx.org/en/docs/http/ngx_http_log_module.html#log_format",
        ),
        W3C,
        CLOUDFRONT,
        *VENDORS,
        CADDY,
        TRAEFIK,
        ANY_OBJECT,
    )
}

ALIASES: dict[str, str] = {
    "vcombined": "vhost_combined",
    "vcommon": "vhost_common",
    "awsalb": "alb",
    "awselb": "elb",
    "awss3": "s3",
    "traefikclf": "traefik",
    "iis": "w3c",
    "ncsa": "combined",
    "nginx_json": "json",
}
"""What GoAccess calls formats, in lower case (goaccess.io/man, --log-format), where it is not m2's name."""

"""Formats out of a server's own configuration, with all that it includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.logs.formats import find_format
from m2cli.logs.formats.configs import read_config

if TYPE_CHECKING:
    from pathlib import Path

NGINX = r"""
user www-data;  # who
http {
    log_format shop '$remote_addr - $remote_user [$time_local] "$request" '
                    '$status $body_bytes_sent $request_time';
    log_format json_log escape=json '{"time":"$time_iso8601","url":"$request_uri",'
        '"status":$status,"ip":"$remote_addr"}';
    include conf.d/*.conf;
    access_log /var/log/nginx/access.log;
    access_log off;
}
"""
SITE = """
server {
    location / { return 200 "a;b{c}"; }
    access_log /var/log/nginx/shop.log shop buffer=32k;
    access_log "/var/log/nginx/api.json" json_log;
}
"""
APACHE = r"""
ServerRoot "/nowhere"
Define LOGS /var/log/apache2
LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined
LogFormat "%v:%p %h %l %u %t \"%r\" \
%>s %O" vhost
IncludeOptional sites/*.conf
IncludeOptional none/*.conf
# CustomLog commented.log combined
CustomLog ${LOGS}/access.log combined env=!dontlog
customlog "|/usr/bin/rotatelogs /var/log/other.log 86400" "%h %t %D"
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def test_nginx_says_which_log_is_written_with_which_format(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"nginx.conf": NGINX, "conf.d__site.conf": SITE})
    found = read_config(folder / "nginx.conf")
    shop = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time'
    assert found.layouts["shop"] == shop
    assert found.choose(["/backup/shop.log.2.gz"]) == shop
    assert found.choose(["access.log"]) == "nginx"
    assert find_format(found.choose(["api.json"])).columns == ("time", "url", "status", "remote_ip")
    assert found.choose(["other.log"]).splitlines()[0] == shop


def test_apache_says_it_too(tmp_path: Path) -> None:
    site = "CustomLog /var/log/apache2/shop.log vhost\nTransferLog t.log\nInclude httpd.conf\n"
    folder = write(tmp_path, **{"httpd.conf": APACHE, "sites__shop.conf": site})
    found = read_config(folder / "httpd.conf")
    assert find_format(found.choose(["access.log.1"])).columns[-1] == "user_agent"
    assert find_format(found.choose(["shop.log"])).columns[0] == "server_name"
    assert "%h %t %D" in found.choose(["unknown.log"]).splitlines()


def test_a_file_that_is_included_and_not_there_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"nginx.conf": "http { include mime.types; }"})
    with pytest.raises(UsageError, match=r"includes `mime\.types`, and there is no such file"):
        read_config(folder / "nginx.conf")


def test_a_configuration_that_settles_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="settles no log format"):
        read_config(write(tmp_path, **{"x.conf": "a = 1\n"}) / "x.conf")
    with pytest.raises(UnreadableSourceError):
        read_config(tmp_path / "absent.conf")


def test_an_escape_of_nginx_stands_before_the_layout() -> None:
    log_format = find_format('escape=json $remote_addr [$time_local] "$http_user_agent"')
    assert [each.escape.name for each in log_format.fields] == ["NONE", "NONE", "JSON"]

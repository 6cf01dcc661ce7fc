"""Lines as servers write them, one or two for each format with a name, with the oddities of that format.

Made up for these tests from the vendor's document, which `m2 formats` names; addresses are those of RFC 5737 and 3849.
"""

# ruff: noqa: E501 - lines of a log are as long as they are

from __future__ import annotations

IIS = (
    b"#Software: Microsoft Internet Information Services 10.0\n"
    b"#Version: 1.0\n"
    b"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) "
    b"sc-status sc-substatus sc-win32-status time-taken\n"
    b"2026-11-20 08:00:01 10.0.0.5 GET /basket/default.aspx id=7&x=%20 443 - 192.0.2.10 "
    b"Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64) https://shop.example/ 200 0 0 46\n"
    b"2026-11-20 08:00:02 10.0.0.5 POST /login - 443 SHOP\\jan+de+vries 2001:db8::7 curl/8.5.0 - 500 19 64 15032\n"
    b"#Date: 2026-11-20 09:00:00\n"
    b"#Fields: time date c-ip cs-method cs-uri-stem sc-status cs-bytes sc-bytes x-forwarded-for\n"
    b"09:00:03 2026-11-20 10.0.0.9 GET /later.html 304 311 128 192.0.2.44,+10.0.0.9\n"
    b"09:00:03 2026-11-20 10.0.0.9 GET /cut.html\n"
)
CLOUDFRONT = (
    b"#Version: 1.0\n"
    b"#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
    b"cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken "
    b"x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status "
    b"fle-encrypted-fields\n"
    b"2026-11-20\t09:14:02\tAMS1-C1\t2390\t192.0.2.100\tGET\td111.cloudfront.net\t/a%2520b.html\t200\t"
    b"https://shop.example/?q=caf%25C3%25A9\tMozilla/5.0%2520(Windows%2520NT%252010.0)\tq=%2541%2520b\tsid=abc;%2520v=1\tHit\t"
    b"SOX4xw==\tshop.example\thttps\t23\t0.001\t-\tTLSv1.3\tTLS_AES_128_GCM_SHA256\tHit\tHTTP/2.0\t-\t-\n"
)
ALB = (
    b"h2 2026-11-20T22:20:00.186641Z app/shop/50dc6c495c0c9188 192.0.2.9:46532 10.0.0.66:9000 0.000 0.001 0.000 200 200 "
    b'34 366 "GET https://shop.example:443/p/7?x=1 HTTP/2.0" "Mozilla/5.0 (X11)" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
    b"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/73e2d6bc24d8a067 "
    b'"Root=1-58337364-23a8c76965a2ef7629b185e3" "shop.example" "arn:aws:acm:eu-west-1:123456789012:certificate/1" 1 '
    b'2026-11-20T22:20:00.185000Z "waf,forward" "-" "-" "10.0.0.66:9000" "200" "-" "-"\n'
    b"https 2026-11-20T22:20:01.000000Z app/shop/50dc6c495c0c9188 [2001:db8::9]:4711 - -1 -1 -1 460 - 0 0 "
    b'"- https://shop.example:443- " "-" - - - "-"\n'
)
ELB = (
    b"2026-11-20T19:40:34.441699Z shop 192.0.2.199:62543 10.0.0.5:80 0.000062 0.001039 0.000035 200 200 0 57193 "
    b'"GET http://shop.example:80/about HTTP/1.1" "curl/8.5.0" - -\n'
    b'2026-11-20T19:40:35.441699Z shop 192.0.2.199:62544 - -1 -1 -1 503 0 0 0 "GET https://shop.example:443/x HTTP/1.1"\n'
)
S3 = (
    b"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be shop-images [20/Nov/2026:00:00:38 +0000] 192.0.2.3 "
    b'arn:aws:iam::123456789012:user/jan 3E57427F3EXAMPLE REST.GET.OBJECT img/a%2520b.png "GET /shop-images/img/a%20b.png '
    b'HTTP/1.1" 200 - 2662992 2662992 70 10 "https://shop.example/" "S3Console/0.4" - s9lzHYrFp76ZVxRcpX9+5cjA= SigV4 '
    b"ECDHE-RSA-AES128-GCM-SHA256 AuthHeader shop-images.s3.amazonaws.com TLSV1.2 -\n"
    b'79a59df9 shop-images [20/Nov/2026:00:00:39 +0000] - AmazonS3 DE5A2D19A S3.EXPIRE.OBJECT old.png "-" - - - 313 - - '
    b'"-" "-" -\n'
)
CADDY = (
    b'{"level":"info","ts":1795133001.5241024,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":'
    b'"10.0.0.2","remote_port":"41342","client_ip":"192.0.2.77","proto":"HTTP/2.0","method":"GET","host":"shop.example",'
    b'"uri":"/p/7?x=1&y=2","headers":{"User-Agent":["Mozilla/5.0 (X11; \\"q\\")"],"Referer":["https://shop.example/"],'
    b'"Cookie":["sid=c1; theme=dark"]},"tls":{"resumed":false,"version":772}},"bytes_read":0,"user_id":"","duration":'
    b'0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"],"Content-Type":["text/html"]}}\n'
    b'{"level":"warn","ts":1795133002,"logger":"tls","msg":"stapling OCSP"}\n'
    b'{"level":"info","ts":"2026-11-20T00:03:23.5Z","request":{"remote_addr":"192.0.2.78:4711","method":"HEAD","uri":"/",'
    b'"headers":{}},"status":304,"size":0}\n'
)
TRAEFIK_JSON = (
    b'{"ClientAddr":"192.0.2.20:50000","ClientHost":"192.0.2.20","ClientPort":"50000","ClientUsername":"-",'
    b'"DownstreamContentSize":1815,"DownstreamStatus":200,"Duration":4212345,"OriginDuration":4100000,"Overhead":112345,'
    b'"RequestAddr":"shop.example","RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/a?b=1\\u0026c=2",'
    b'"RequestProtocol":"HTTP/1.1","RequestScheme":"https","RouterName":"shop@docker","ServiceName":"shop@docker",'
    b'"StartLocal":"2026-11-20T12:00:01.123456789+01:00","StartUTC":"2026-11-20T11:00:01.123456789Z","entryPointName":'
    b'"websecure","level":"info","msg":"","request_User-Agent":"curl/8.5.0","time":"2026-11-20T12:00:01+01:00"}\n'
)
TRAEFIK = (
    b'192.0.2.20 - - [20/Nov/2026:11:00:01 +0000] "GET /a HTTP/2.0" 200 1815 "https://shop.example/" "curl/8.5.0" 42 '
    b'"shop@docker" "http://10.0.0.9:80" 12ms\n'
    b'192.0.2.20 - - [20/Nov/2026:11:00:02 +0000] "GET /b HTTP/2.0" 404 19 "-" "-" 43 "-" "-" 0ms\n'
)
HAPROXY = (
    b"192.0.2.9:33317 [20/Nov/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "
    b'{shop.example|Mozilla/5.0 (X11)} {text/html} "GET /index.html HTTP/1.1"\n'
    b"2001:db8::9:33318 [20/Nov/2026:12:14:15.000] https-in~ shop/<NOSRV> -1/-1/-1/-1/+50001 408 +212 - - cR-- 2/2/0/0/+3 0/0 "
    b'"<BADREQ>"\n'
)
SQUID = (
    b"1795133001.505     46 192.0.2.33 TCP_MISS/200 4512 GET http://shop.example/a?b=1 jan HIER_DIRECT/198.51.100.7 text/html\n"
    b"1795133002.001      0 192.0.2.33 TCP_DENIED/403 3912 CONNECT shop.example:443 - HIER_NONE/- text/html\n"
)
CLOUDSTORAGE = (
    b'"time_micros","c_ip","c_ip_type","c_ip_region","cs_method","cs_uri","sc_status","cs_bytes","sc_bytes",'
    b'"time_taken_micros","cs_host","cs_referer","cs_user_agent","s_request_id","cs_operation","cs_bucket","cs_object"\n'
    b'"1795133001505123","192.0.2.55","1","","GET","/shop-images/a.png","200","0","1234","85000","storage.googleapis.com",'
    b'"https://shop.example/","Mozilla/5.0 (""X11"")","AAANsUnKk","GET_Object","shop-images","a.png"\n'
)
COMBINED = (
    b'192.0.2.1 - - [20/Nov/2026:10:00:00 +0100] "GET /p/7 HTTP/1.1" 200 512 "https://shop.example/" "Mozilla/5.0 (X11)"\n'
    b'192.0.2.2 - - [20/Nov/2026:10:00:01 +0100] "\\x16\\x03\\x01" 400 226 "-" "-"\n'
    b'192.0.2.3 - - [20/Nov/2026:10:00:02 +0100] "-" 408 - "-" "-"\n'
)
COMMON = b'192.0.2.1 - jan [20/Nov/2026:10:00:00 +0100] "VERSION-CONTROL /a b HTTP/1.0" 200 -\n'
VHOST_COMBINED = b"shop.example:443 " + COMBINED.splitlines()[0] + b"\n"
VHOST_COMMON = b"shop.example " + COMMON
COMBINEDIO = COMBINED.splitlines()[0] + b" 533 900\n" + COMBINED.splitlines()[2] + b" 0 0\n"
NGINX = (
    b'2001:db8::1 - - [20/Nov/2026:10:00:00 +0100] "GET /\\x22a HTTP/1.1" 499 0 "android-app://com.example" "caf\\xC3\\xA9"\n'
    b'192.0.2.9 - jan de vries [20/Nov/2026:10:00:01 +0100] "" 400 0 "-" "-"\n'
)
JSON = (
    b'{"time_iso8601":"2026-11-20T10:00:00+01:00","remote_addr":"192.0.2.1","request_method":"GET","request_uri":"/a?b=1",'
    b'"status":200,"body_bytes_sent":512,"request_time":0.123,"http_referer":"","http_user_agent":"curl/8.5.0 \\"x\\""}\n'
    b'{"time_local":"20/Nov/2026:10:00:01 +0100","remote_addr":"192.0.2.2","request":"GET /\\xC3\\xA9 HTTP/1.1","status":"404"}\n'
)

LINES = {
    "combined": COMBINED,
    "common": COMMON,
    "vhost_combined": VHOST_COMBINED,
    "vhost_common": VHOST_COMMON,
    "combinedio": COMBINEDIO,
    "nginx": NGINX,
    "w3c": IIS,
    "cloudfront": CLOUDFRONT,
    "alb": ALB,
    "elb": ELB,
    "s3": S3,
    "haproxy": HAPROXY,
    "squid": SQUID,
    "traefik": TRAEFIK,
    "cloudstorage": CLOUDSTORAGE,
    "caddy": CADDY,
    "traefik_json": TRAEFIK_JSON,
    "json": JSON,
}

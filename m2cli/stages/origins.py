"""What URLs and referrers say of where a visitor came from: a page before, search, social, campaign, link."""

from __future__ import annotations

import polars as pl

from m2cli.stages.distinct import code_values

SEARCH, SOCIAL, CAMPAIGN, LINK, DIRECT = "search", "social", "campaign", "link", "direct"

_WEB_SCHEMES = ["http", "https", "android-app"]

# Search engines by name, with any country's ending and with subdomains that search, not with those of mail or
# documents; then single hosts.
_SEARCH_HOST = r"""(?x) ^(?:(?:www?\d*|m|images?|news|search|cse|encrypted|html|lite|[a-z]{2})\.)*
    (?: google | bing | duckduckgo | baidu | yandex | ecosia | qwant | startpage | naver | sogou | seznam
      | ask | lycos | dogpile | kagi | mojeek | metager | swisscows | presearch )\.[a-z]{2,4}(?:\.[a-z]{2})?$
  | ^(?:[a-z0-9-]+\.)*search\.(?: yahoo | brave | aol | marginalia | lilo | daum )\.[a-z]{2,4}(?:\.[a-z]{2})?$
  | ^(?: ya\.ru | go\.mail\.ru | www\.so\.com | m\.so\.com | syndicatedsearch\.goog | you\.com | yep\.com
      | com\.google\.android\.googlequicksearchbox )$"""
_SOCIAL_HOST = r"""(?x) (?:^|\.)(?: facebook\.com | fb\.com | fb\.me | messenger\.com | instagram\.com
      | threads\.(?:net|com) | twitter\.com | t\.co | x\.com | bsky\.app | mastodon\.[a-z]+ | linkedin\.com
      | lnkd\.in | xing\.com | pinterest\.[a-z]{2,3}(?:\.[a-z]{2})? | pin\.it | reddit\.com | redd\.it
      | tumblr\.com | quora\.com | news\.ycombinator\.com | youtube\.com | youtu\.be | tiktok\.com
      | snapchat\.com | twitch\.tv | discord\.com | t\.me | telegram\.org | whatsapp\.com | wa\.me | line\.me
      | vk\.com | ok\.ru | weibo\.(?:com|cn) | t\.cn | plus\.google\.com | plus\.url\.google\.com )$
  | ^com\.(?: facebook | instagram | twitter | linkedin | pinterest | reddit | zhiliaoapp )\."""
# What advertisers and mailers add to the address of the page that they send people to.
_CAMPAIGN = (
    r"(?i)[?&;](?:utm_[a-z_]+|gclid|gbraid|wbraid|dclid|gad_source|fbclid|msclkid|ttclid|twclid|yclid|li_fat_id|epik"
    r"|mc_cid|mtm_campaign|pk_campaign|campaign_id)=[^&;#]"
)


def describe_urls(urls: pl.Series) -> pl.DataFrame:
    """For each of `urls` (String, path or whole URL) the columns that a referrer is compared with.

    `page` (String): path and query, after the host where the URL has one; null where it is no URL.
    `has_host`, `is_campaign` (Boolean).
    """
    parts = _split(urls)
    return parts.select(
        page=pl.when(pl.col("host") != "").then(pl.col("host") + pl.col("path")).otherwise("path"),
        has_host=pl.col("host") != "",
        is_campaign=pl.lit(urls).str.contains(_CAMPAIGN).fill_null(value=False),
    )


def describe_referrers(referrers: pl.Series, own_hosts: frozenset[str]) -> pl.DataFrame:
    """For each of `referrers` (String) the page it names, and what it is if no page of the visit is that.

    `page_here`, `page_there` (String): the page of this visit that it may name, without and with its host;
    null where it is of no host that can be the shop's. `origin` (String): search, social, link; direct where
    there is no referrer, or one that names no place in the web (`-`, about:blank, file:///...).
    """
    parts = _split(referrers)
    hosts = code_values(parts["host"])
    of_host = _describe_hosts(hosts.values, own_hosts)
    host, path = pl.col("host"), pl.col("path")
    is_own = pl.lit(hosts.spread(of_host["is_own"]))
    return parts.select(
        page_here=pl.when(is_own).then(path),
        page_there=pl.when(is_own & (host != "")).then(host + path),
        origin=pl.when(path.is_null()).then(pl.lit(DIRECT)).otherwise(hosts.spread(of_host["origin"])),
    )


def _describe_hosts(hosts: pl.Series, own_hosts: frozenset[str]) -> pl.DataFrame:
    """For each of `hosts` (String, maybe empty) `is_own` (Boolean) and `origin` (String)."""
    host = pl.col("host")
    is_search, is_social = host.str.contains(_SEARCH_HOST), host.str.contains(_SOCIAL_HOST)
    if own_hosts:
        either = "|".join(pl.escape_regex(own) for own in sorted(own_hosts))
        is_own = (host == "") | host.str.contains(rf"(?:^|\.)(?:{either})$")
    else:
        is_own = ~is_search & ~is_social
    origin = pl.when(~is_own & is_search).then(pl.lit(SEARCH)).when(~is_own & is_social).then(pl.lit(SOCIAL))
    return hosts.to_frame("host").select(is_own=is_own, origin=origin.otherwise(pl.lit(LINK)))


def _split(urls: pl.Series) -> pl.DataFrame:
    """`host`, in lower case or empty; `path` with its query, null where it is no URL of the web.

    By splitting: one regex with groups (RFC 3986, appendix B) takes five times as long.
    """
    parts = urls.str.splitn("://", 2).struct
    is_web = parts.field("field_0").str.to_lowercase().is_in(_WEB_SCHEMES)
    rest = parts.field("field_1")
    if rest.str.contains("^[^/]*[?#]").any():  # https://shop.example?a=1 has a path as well: the root
        rest = rest.str.replace("^([^/?#]*)([?#])", "${1}/${2}")
    parts = rest.str.splitn("/", 2).struct
    host = parts.field("field_0").str.to_lowercase()
    if host.str.contains("[@:]").any():  # userinfo and port
        host = host.str.replace("^.*@", "").str.replace(":[0-9]*$", "")
    split = pl.DataFrame({"url": urls, "host": host, "path": parts.field("field_1"), "is_web": is_web})
    whole, is_place = pl.col("url"), pl.col("is_web") & (pl.col("host") != "")
    relative = pl.when(whole.str.starts_with("/")).then(whole).when(whole.str.starts_with("?")).then("/" + whole)
    return split.select(
        host=pl.when(is_place).then(pl.col("host").str.strip_chars_end(".")).otherwise(pl.lit("")),
        path=pl.when(is_place).then("/" + pl.col("path").fill_null("")).otherwise(relative).str.replace("#.*", ""),
    )

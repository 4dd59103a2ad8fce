"""Secrets that no rule was made for: what is measured with them is what a rule misses that it never saw.

Do not tune on this list. When rules are made for kinds that stand here, move those to the other list, and write new
ones here.
"""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from redaction.planted import (
    BASE64,
    DIGITS,
    HEX,
    LOWER,
    MIXED,
    UPPER,
    URLSAFE,
    WORDS,
    Maker,
    Planted,
    Recipe,
    inside,
    token,
)


def _base64_of_login(maker: Maker) -> Planted:
    secret = base64.b64encode(f"ada:{maker.password()}".encode()).decode()
    return Planted("login in base64", secret, f"proxy_headers={{'Proxy-Authorization': 'Basic {secret}'}}")


def _escaped_json(maker: Maker) -> Planted:
    secret = maker.password()
    text = json.dumps(json.dumps({"user": "ada", "password": secret}))
    return Planted("json within json", secret, text)


def _quoted_url(maker: Maker) -> Planted:
    password = f"{maker.password()}@/{maker.of(MIXED, 4)}"
    secret = quote(password, safe="")
    url = f"mssql+pyodbc://sa:{secret}@db.example.org/sales?driver=ODBC"
    return Planted("quoted password", secret, f"engine {url}", "engine", url)


def _pgpass(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("pgpass line", secret, f"db.example.org:5432:sales:ada:{secret}")


def _netrc(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("netrc line", secret, f"machine api.example.org login ada password {secret}")


def _putty(maker: Maker) -> Planted:
    secret = maker.of(BASE64, 64)
    return Planted(
        "putty key", secret, f"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{secret}\nPrivate-MAC: 0"
    )


def _service_account(maker: Maker) -> Planted:
    secret = maker.of(BASE64, 64)
    body = {
        "type": "service_account",
        "private_key_id": maker.of(HEX, 40),
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n",
    }
    return Planted("service account", secret, json.dumps(body), "gcs", {"token": body})


def _diff(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("line of a diff", secret, f"@@ -1 +1 @@\n-DB_PASS=''\n+DB_PASS='{secret}'\n")


def _yaml(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("yaml", secret, f"database:\n  user: ada\n  pass: {secret}\n")


def _printed(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("repr of an object", secret, f"Connection(host='db', user='ada', passwd='{secret}', port=5432)")


def _curl(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("curl", secret, f"!curl -s -u ada:{secret} https://api.example.org/rows.csv")


def _shell(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("shell option", secret, f"mysql -h db.example.org -u ada -p{secret} sales < dump.sql")


def _said(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("in a sentence", secret, f"# the password for the warehouse is {secret}, ask Ada")


def _tuple(maker: Maker) -> Planted:
    secret = maker.password()
    return Planted("pair", secret, f"requests.get(url, auth=('ada', '{secret}'))", "auth", ("ada", secret))


def _nested(maker: Maker) -> Planted:
    secret = maker.of(MIXED, 40)
    options = {"client_kwargs": {"aws_secret_access_key": secret}}
    return Planted("nested options", secret, f"storage_options={options}", "storage_options", options)


def _header(maker: Maker) -> Planted:
    secret = maker.of(HEX, 32)
    headers = {"X-Api-Key": secret}
    return Planted("header", secret, f"headers = {headers}", "headers", headers)


def _url_parameter(maker: Maker) -> Planted:
    secret = maker.of(HEX, 64)
    url = f"https://bucket.s3.amazonaws.com/train.csv?X-Amz-Expires=600&X-Amz-Signature={secret}"
    return Planted("presigned URL", secret, f"reading {url}", "source", url)


def _webhook(maker: Maker) -> Planted:
    secret = f"{maker.of(DIGITS, 18)}/{maker.of(URLSAFE, 68)}"
    url = f"https://discord.com/api/webhooks/{secret}"
    return Planted("discord webhook", secret, f"post to {url}", "notify", url)


KINDS: dict[str, tuple[Recipe, ...]] = {
    "vendors": (
        token("telegram bot", "bot", lambda m: f"{m.of(DIGITS, 10)}:AA{m.of(URLSAFE, 33)}"),
        token("discord bot", "bot", lambda m: f"M{m.of(MIXED, 25)}.{m.of(URLSAFE, 6)}.{m.of(URLSAFE, 38)}"),
        token("twilio key", "sid", lambda m: f"SK{m.of(HEX, 32)}"),
        token("mailgun", "mail", lambda m: f"key-{m.of(HEX, 32)}"),
        token("shopify", "shop", lambda m: f"shpat_{m.of(HEX, 32)}"),
        token("square", "pay", lambda m: f"sq0atp-{m.of(URLSAFE, 22)}"),
        token("linear", "tracker", lambda m: f"lin_api_{m.of(MIXED, 40)}"),
        token("notion", "pages", lambda m: f"ntn_{m.of(MIXED, 46)}"),
        token("airtable", "table", lambda m: f"pat{m.of(MIXED, 14)}.{m.of(HEX, 64)}"),
        token("new relic", "apm", lambda m: f"NRAK-{m.of(UPPER + DIGITS, 27)}"),
        token("doppler", "config", lambda m: f"dp.pt.{m.of(MIXED, 43)}"),
        token("postman", "client", lambda m: f"PMAK-{m.of(HEX, 24)}-{m.of(HEX, 34)}"),
        token("planetscale", "db", lambda m: f"pscale_tkn_{m.of(URLSAFE, 43)}"),
        token("fly.io", "deploy", lambda m: f"fo1_{m.of(URLSAFE, 43)}"),
        token("sentry", "report", lambda m: f"sntrys_{m.of(BASE64, 80)}_{m.of(BASE64, 43)}"),
        token("alibaba", "oss", lambda m: f"LTAI{m.of(MIXED, 20)}"),
        token("age", "vault", lambda m: f"AGE-SECRET-KEY-1{m.of('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}"),
        token("rubygems", "gems", lambda m: f"rubygems_{m.of(HEX, 48)}"),
        token("pulumi", "infra", lambda m: f"pul-{m.of(HEX, 40)}"),
        token("tailscale", "net", lambda m: f"tskey-auth-{m.of(MIXED, 12)}-{m.of(MIXED, 32)}"),
        token("perplexity", "llm", lambda m: f"pplx-{m.of(MIXED, 48)}"),
        token("langsmith", "trace", lambda m: f"lsv2_pt_{m.of(HEX, 32)}_{m.of(HEX, 10)}"),
        token("pinecone", "index", lambda m: f"pcsk_{m.of(MIXED, 6)}_{m.of(MIXED, 60)}"),
        token("kaggle", "kaggle_key", lambda m: m.of(HEX, 32)),
        token("comet", "COMET_API_KEY", lambda m: m.of(MIXED, 25)),
        token("cohere", "co_api_key", lambda m: m.of(MIXED, 40)),
        token("neptune", "NEPTUNE_API_TOKEN", lambda m: m.base64(90)),
        token("mapbox", "tiles", lambda m: f"sk.eyJ1Ijoi{m.of(MIXED, 60)}.{m.of(URLSAFE, 22)}"),
    ),
    "names": (
        token("german", "passwort", Maker.password),
        token("french", "mot_de_passe", Maker.password),
        token("spanish", "contraseña", Maker.password),
        token("short", "pw", Maker.password),
        token("shorter", "db_pass", Maker.password),
        token("camel case", "dbPassword", Maker.password),
        token("upper case", "SNOWFLAKE_PASSWORD", Maker.password),
        token("with a number", "password2", Maker.password),
        token("sharepoint", "clientSecret", lambda m: m.of(MIXED, 40)),
        token("signing", "signing_key", lambda m: m.of(HEX, 64)),
        token("django", "SECRET_KEY", lambda m: f"django-insecure-{m.of(LOWER + DIGITS + '!@#', 50)}"),
        token("fernet", "fernet", lambda m: m.base64(32)),
        token("seed of codes", "totp_seed", lambda m: m.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32)),
        token("pin", "card_pin", lambda m: m.of(DIGITS, 6)),
        token("cookie", "session_cookie", lambda m: m.of(HEX, 40)),
        token("passphrase", "key_passphrase", lambda m: " ".join(m.chance.choices(WORDS, k=4))),
        token("license", "license_key", lambda m: "-".join(m.of(UPPER + DIGITS, 5) for _ in range(5))),
        token("in a name", "login_for_warehouse", Maker.password),
    ),
    "carriers": (
        _base64_of_login, _escaped_json, _quoted_url, _pgpass, _netrc, _putty, _service_account, _diff, _yaml, _printed,
        _curl, _shell, _said, _tuple, _nested, _header, _url_parameter, _webhook,
        inside("redis URL", "broker", Maker.password, "redis://:{secret}@cache.example.org:6379/0"),
        inside("mongo URL", "mongo", Maker.password, "mongodb+srv://ada:{secret}@cluster0.example.net/?w=majority"),
        inside("jdbc", "source", Maker.password, "jdbc:sqlserver://db.example.org:1433;user=sa;password={secret};"),
        inside("odbc", "source", Maker.password, "Driver={{SQL Server}};Server=db;Uid=sa;Pwd={secret};"),
        inside("libpq", "source", Maker.password, "host=db.example.org dbname=sales user=ada password={secret}"),
        inside("azure SAS", "path", lambda m: quote(m.base64(32), safe=""),
                "https://lake.blob.core.windows.net/raw/a.csv?sv=2024-11-04&sr=b&sig={secret}"),
        inside("service bus", "bus", lambda m: m.base64(32),
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={secret}"),
        inside("git remote", "repo", lambda m: m.of(HEX, 40), "https://{secret}@git.example.org/ada/churn.git"),
        inside("ftp", "source", Maker.password, "ftp://ada:{secret}@files.example.org/rows.csv"),
        inside("option", "command", Maker.password, "train.py --db-password {secret} --epochs 3"),
    ),
}  # fmt: skip

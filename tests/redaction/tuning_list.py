"""60 secrets of 20 kinds that the rules were written for."""

from __future__ import annotations

import base64

from redaction.planted import BASE64, DIGITS, HEX, MIXED, UPPER, URLSAFE, Maker, Planted, Recipe, inside, token


def _pem(what: str, name: str) -> Recipe:
    def recipe(maker: Maker) -> Planted:
        value = maker.pem(what)
        return Planted("PEM key", value.splitlines()[3], f"key:\n{value}\n", name, value)

    return recipe


def _broken_pem(maker: Maker) -> Planted:
    value = maker.pem("EC PRIVATE KEY").replace("\n", "\\n").partition("-----END")[0]
    return Planted("PEM key", value[40:90], f'"private": "{value}"', "key_material", value)


def _basic(name: str) -> Recipe:
    def recipe(maker: Maker) -> Planted:
        secret = base64.b64encode(f"ada:{maker.password()}".encode()).decode()
        return Planted("basic auth", secret, f"Authorization: Basic {secret}", name, f"Basic {secret}")

    return recipe


KINDS: dict[str, tuple[Recipe, ...]] = {
    "AWS key id": (
        token("AWS key id", "user", lambda m: f"AKIA{m.of(UPPER + '234567', 16)}"),
        token("AWS key id", "aws_access_key_id", lambda m: f"ASIA{m.of(UPPER + '234567', 16)}"),
        token("AWS key id", "key", lambda m: f"AKIA{m.of(UPPER + '234567', 16)}", "using {secret} of {name}"),
    ),
    "AWS secret key": (
        token("AWS secret key", "aws_secret_access_key", lambda m: m.of(BASE64, 40)),
        token("AWS secret key", "secret", lambda m: m.of(BASE64, 40), "{{'{name}': '{secret}'}}"),
        token("AWS secret key", "AWS_SECRET_ACCESS_KEY", lambda m: m.of(BASE64, 40), "export {name}={secret}"),
    ),
    "GitHub": (
        token("GitHub", "source", lambda m: f"ghp_{m.of(MIXED, 36)}"),
        token("GitHub", "ci", lambda m: f"ghs_{m.of(MIXED, 36)}", "fatal: {secret} expired"),
        token("GitHub", "gh", lambda m: f"github_pat_{m.of(MIXED, 22)}_{m.of(MIXED, 59)}"),
    ),
    "GitLab": (
        token("GitLab", "source", lambda m: f"glpat-{m.of(URLSAFE, 20)}"),
        token("GitLab", "runner", lambda m: f"glrt-{m.of(URLSAFE, 20)}"),
        token("GitLab", "deploy", lambda m: f"gldt-{m.of(URLSAFE, 20)}"),
    ),
    "Slack": (
        token("Slack", "bot", lambda m: f"xoxb-{m.of(DIGITS, 12)}-{m.of(DIGITS, 12)}-{m.of(MIXED, 24)}"),
        token("Slack", "app", lambda m: f"xapp-1-A{m.of(UPPER, 10)}-{m.of(DIGITS, 13)}-{m.of(HEX, 64)}"),
        inside("Slack", "notify", lambda m: f"T{m.of(UPPER, 8)}/B{m.of(UPPER, 8)}/{m.of(MIXED, 24)}",
                "https://hooks.slack.com/services/{secret}"),
    ),
    "Stripe": (
        token("Stripe", "pay", lambda m: f"sk_live_{m.of(MIXED, 24)}"),
        token("Stripe", "pay", lambda m: f"rk_test_{m.of(MIXED, 24)}"),
        token("Stripe", "hook", lambda m: f"whsec_{m.of(MIXED, 32)}"),
    ),
    "OpenAI": (
        token("OpenAI", "judge", lambda m: f"sk-{m.of(MIXED, 48)}"),
        token("OpenAI", "judge", lambda m: f"sk-proj-{m.of(URLSAFE, 80)}"),
        token("OpenAI", "judge", lambda m: f"sk-svcacct-{m.of(URLSAFE, 80)}"),
    ),
    "Anthropic": (
        token("Anthropic", "judge", lambda m: f"sk-ant-api03-{m.of(URLSAFE, 93)}AA"),
        token("Anthropic", "judge", lambda m: f"sk-ant-admin01-{m.of(URLSAFE, 93)}AA"),
        token("Anthropic", "ANTHROPIC_API_KEY", lambda m: f"sk-ant-api03-{m.of(URLSAFE, 93)}AA", "{name}={secret}"),
    ),
    "Hugging Face": (
        token("Hugging Face", "hub_token", lambda m: f"hf_{m.of(MIXED, 34)}"),
        token("Hugging Face", "hub", lambda m: f"hf_{m.of(MIXED, 34)}", "push with {secret}"),
        token("Hugging Face", "org", lambda m: f"api_org_{m.of(MIXED, 34)}"),
    ),
    "Google": (
        token("Google", "maps", lambda m: f"AIza{m.of(URLSAFE, 35)}"),
        token("Google", "oauth", lambda m: f"GOCSPX-{m.of(URLSAFE, 28)}"),
        token("Google", "gcs", lambda m: f"ya29.{m.of(URLSAFE, 120)}"),
    ),
    "Azure": (
        inside("Azure", "lake", lambda m: m.base64(64),
                "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey={secret};EndpointSuffix=core.windows.net"),
        token("Azure", "app", lambda m: f"{m.of(MIXED, 3)}8Q~{m.of(URLSAFE, 34)}"),
        token("Azure", "account_key", lambda m: m.base64(64)),
    ),
    "npm": (
        token("npm", "js", lambda m: f"npm_{m.of(MIXED, 36)}"),
        token("npm", "_authToken", lambda m: f"npm_{m.of(MIXED, 36)}", "//registry.npmjs.org/:{name}={secret}"),
        token("npm", "js", lambda m: f"npm_{m.of(MIXED, 36)}", "npm ERR! {secret}"),
    ),
    "PyPI": (
        token("PyPI", "upload", lambda m: f"pypi-AgEIcHlwaS5vcmc{m.of(URLSAFE, 130)}"),
        token("PyPI", "upload", lambda m: f"pypi-AgENdGVzdC5weXBpLm9yZw{m.of(URLSAFE, 130)}"),
        inside("PyPI", "index", lambda m: f"pypi-AgEIcHlwaS5vcmc{m.of(URLSAFE, 130)}",
                "https://__token__:{secret}@upload.pypi.org/legacy/"),
    ),
    "JWT": (
        token("JWT", "session", Maker.jwt),
        token("JWT", "header", Maker.jwt, "Authorization: Bearer {secret}"),
        token("JWT", "state", Maker.jwt, "GET /x?state={secret}&y=1"),
    ),
    "PEM key": (_pem("RSA PRIVATE KEY", "cert"), _pem("OPENSSH PRIVATE KEY", "identity"), _broken_pem),
    "URL": (
        inside("URL", "index", Maker.password, "https://ada:{secret}@pypi.example.org/simple"),
        inside("URL", "proxy", Maker.password, "http://ada:{secret}@proxy.example.org:3128"),
        inside("URL", "broker", Maker.password, "amqps://guest:{secret}@queue.example.org/vhost"),
    ),
    "connection string": (
        inside("connection string", "dsn", Maker.password, "postgresql://ada:{secret}@db.example.org:5432/sales"),
        inside("connection string", "db", Maker.password, "Server=db;Database=sales;User Id=sa;Password={secret};"),
        inside("connection string", "db", Maker.password, "mysql+pymysql://root:{secret}@db/sales?charset=utf8"),
    ),
    "basic auth": (_basic("header"), _basic("auth"), _basic("Authorization")),
    "password": (
        token("password", "password", Maker.password),
        token("password", "DB_PASSWORD", Maker.password, "{name}={secret}"),
        token("password", "smtp_passwd", Maker.password, "  {name}: {secret}"),
    ),
    "key by name": (
        token("key by name", "api_key", lambda m: m.of(HEX, 32)),
        token("key by name", "wandb_api_key", lambda m: m.of(HEX, 40), "{name}={secret}"),
        token("key by name", "auth_token", lambda m: m.of(HEX, 40), "cfg['{name}'] = '{secret}'"),
    ),
}  # fmt: skip

"""Options about who may come in: proxies, hosts, origins, the lockout."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import Gateway
from gateway.agents.function import echo
from gateway.config import Config, Cors, Http, load
from gateway.config import Gateway as Settings
from gateway.errors import ConfigError

DATA = Path(__file__).parents[1] / "data" / "config"


def read(folder: Path, text: str) -> Settings:
    (folder / "main.json5").write_text(f"{{gateway: {text}}}", encoding="utf-8")
    return load(str(folder / "main.json5"), environ={}).config.gateway


def test_faults_are_told_with_place_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("admission.json5", environ={})
    assert list(caught.value.problems) == (DATA / "admission.txt").read_text(encoding="utf-8").splitlines()


def test_the_defaults_are_the_products(tmp_path: Path) -> None:
    settings = read(tmp_path, "{}")
    limit = settings.auth.rate_limit
    assert (limit.max_attempts, limit.window_ms, limit.lockout_ms, limit.exempt_loopback) == (10, 60_000, 300_000, True)
    assert settings.trusted_proxies == settings.http.allowed_hosts == settings.http.cors.allowed_origins == ()
    assert not settings.allow_real_ip_fallback


def test_values_in_one_form(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """{
            trustedProxies: ["127.0.0.1", "10.0.0.0/8", "2001:DB8::/32", "unix"],
            allowRealIpFallback: true,
            auth: { rateLimit: { maxAttempts: 0 } },
            http: {
                allowedHosts: ["Gateway.Example.com", ".lan", "*", "10.1.2.3"],
                cors: { allowedOrigins: [
                    "HTTPS://App.Example.com:443", "http://localhost:5173", "http://a:80", "http://[::1]:3000",
                    "chrome-extension://abc", "app://obsidian.md", "null", "*",
                ] },
            },
        }""",
    )
    assert settings.trusted_proxies == ("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32", "unix")
    assert settings.allow_real_ip_fallback
    assert settings.auth.rate_limit.max_attempts == 0
    assert settings.http.allowed_hosts == ("gateway.example.com", ".lan", "*", "10.1.2.3")
    assert settings.http.cors.allowed_origins == (
        "https://app.example.com", "http://localhost:5173", "http://a", "http://[::1]:3000",
        "chrome-extension://abc", "app://obsidian.md", "null", "*",
    )  # fmt: skip


def test_the_products_name_for_origins_is_the_same_list(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """{
            controlUi: { allowedOrigins: ["https://ui.example.com", "https://a.example"], basePath: "/ui" },
            http: { cors: { allowedOrigins: ["https://a.example"] } },
        }""",
    )
    assert settings.http.cors.allowed_origins == ("https://a.example", "https://ui.example.com")


@pytest.mark.parametrize("section", ["http: {cors: {allowedOrigins: ['*']}}", "controlUi: {allowedOrigins: ['*']}"])
def test_every_page_without_authentication_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(ConfigError, match=r"allowedOrigins: without authentication '\*' would let every web page"):
        read(tmp_path, f"{{auth: {{mode: 'none'}}, {section}}}")
    assert read(tmp_path, f"{{auth: {{mode: 'token'}}, {section}}}").http.cors.allowed_origins == ("*",)


def test_an_embedded_gateway_is_refused_the_same() -> None:
    everybody = Config(gateway=Settings(http=Http(cors=Cors(allowed_origins=("*",)))))
    with pytest.raises(ConfigError, match=r"gateway\.http\.cors\.allowedOrigins: without a token"):
        Gateway(everybody, agents={"main": echo})
    Gateway(everybody, agents={"main": echo}, token="s3cret")
    with pytest.raises(ConfigError, match=r"gateway\.trustedProxies: .*nonsense"):
        Gateway(Config(gateway=Settings(trusted_proxies=("nonsense",))), agents={"main": echo})

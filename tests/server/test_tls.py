"""Certificates: what is wrong with those that cannot be used, and new ones while connections go on."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import CERTIFICATE, GET, Authority, needs_openssl, run, serving, trusting

from gateway.errors import ConfigError
from gateway.server.tls import RECHECK, TlsFiles, TlsSource, server_context

KEY = Path(CERTIFICATE).read_text(encoding="ascii").partition("-----BEGIN CERT")[0]
ONLY_CERTIFICATE = Path(CERTIFICATE).read_text(encoding="ascii").removeprefix(KEY)


def refused(certificate: Path | str, key: Path | str = CERTIFICATE, client_ca: Path | str = CERTIFICATE) -> str:
    with pytest.raises(ConfigError) as raised:
        server_context(str(certificate), str(key), str(client_ca))
    return str(raised.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="ascii")
    return path


def test_what_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    assert refused(missing) == (
        f"gateway.tls.certPath: '{missing}' cannot be read: No such file or directory. Correct the path"
    )
    assert refused(CERTIFICATE, missing).startswith(f"gateway.tls.keyPath: '{missing}' cannot be read: ")
    assert refused(CERTIFICATE, CERTIFICATE, missing).startswith(f"gateway.tls.caPath: '{missing}' cannot be read: ")
    assert refused(tmp_path).endswith("Is a directory. Let the gateway's user read it")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    hidden = write(tmp_path / "hidden.pem", KEY)
    hidden.chmod(0)
    assert refused(CERTIFICATE, hidden).endswith("Permission denied. Let the gateway's user read it")


def test_what_is_something_else(tmp_path: Path) -> None:
    text = write(tmp_path / "text.pem", "not a certificate")
    assert f"gateway.tls.certPath: '{text}' holds no certificate in PEM form" in refused(text)
    assert f"gateway.tls.keyPath: '{text}' holds no private key in PEM form" in refused(CERTIFICATE, text)
    assert f"gateway.tls.caPath: '{text}' holds no certificate in PEM form" in refused(CERTIFICATE, CERTIFICATE, text)
    swapped = write(tmp_path / "cert.pem", ONLY_CERTIFICATE)
    assert f"gateway.tls.keyPath: '{swapped}' holds no private key" in refused(CERTIFICATE, swapped)
    torn = write(tmp_path / "torn.pem", ONLY_CERTIFICATE[:200] + "\n-----END CERTIFICATE-----\n")
    assert f"gateway.tls: '{torn}' and '{CERTIFICATE}' cannot be used" in refused(torn, CERTIFICATE)
    assert f"gateway.tls.caPath: '{torn}' cannot be used" in refused(CERTIFICATE, CERTIFICATE, torn)


@needs_openssl
def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    _, key = Authority(tmp_path).issue("other", "/CN=other")
    assert refused(CERTIFICATE, key) == (
        f"gateway.tls.keyPath: '{key}' is not the key of the certificate '{CERTIFICATE}'. "
        "Give the two that were made together"
    )


@needs_openssl
def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    key = tmp_path / "encrypted.pem"
    command = ["openssl", "pkey", "-in", CERTIFICATE, "-aes256", "-passout", "pass:secret", "-out", str(key)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    said = refused(CERTIFICATE, key)
    assert said.startswith(f"gateway.tls.keyPath: '{key}' is encrypted")
    assert f"openssl pkey -in {key}" in said


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_key_that_everybody_may_read_is_told(
    tmp_path: Path, mode: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    both = write(tmp_path / "both.pem", KEY + ONLY_CERTIFICATE)
    both.chmod(mode)
    server_context(str(both), None)
    assert ([f"gateway.tls.keyPath: every user of this machine may read '{both}'; chmod o= it"] if warned else []) == (
        caplog.messages
    )


class Files:
    """A certificate in use, and others to take its place."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.now = 0.0
        self.put("first")
        self.source = TlsSource(TlsFiles(str(self.certificate), str(self.key)), lambda: self.now)

    def put(self, name: str) -> None:
        """As ACME clients do: links, each put into place at once."""
        for target, link in zip(self.authority.issue(name, f"/CN={name}"), (self.certificate, self.key), strict=True):
            new = link.with_suffix(".new")
            new.symlink_to(target)
            new.replace(link)

    def wait(self) -> None:
        self.now += RECHECK


@needs_openssl
def test_a_new_certificate_is_for_new_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = Files(tmp_path)
    client = trusting(files.authority.path)

    async def main() -> None:
        async with serving(tls=files.source) as running:

            async def name_shown() -> str:
                _, writer = await running.connect(ssl=client)
                (((_, name),),) = writer.get_extra_info("peercert")["subject"]
                return str(name)

            reader, writer = await running.connect(ssl=client)
            assert await name_shown() == "first"
            files.put("second")
            assert await name_shown() == "first", "it is not looked for all the time"
            files.wait()
            assert await name_shown() == "second"
            for _ in range(3):
                writer.write(GET)
                assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200"), "the old connection goes on"
            files.put("third")
            files.source.reload()
            assert await name_shown() == "third"

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert caplog.messages == [f"gateway.tls: '{files.certificate}' is in use from now on"]


@needs_openssl
def test_a_broken_one_leaves_the_one_before_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.server.tls")
    files = Files(tmp_path)
    first = files.source()
    good = files.key.resolve()
    files.key.unlink()
    write(files.key, "garbage")
    for _ in range(5):
        files.wait()
        assert files.source() is first
    assert len(caplog.messages) == 1, "one line, however many connect"
    assert caplog.messages[0].startswith(f"gateway.tls.keyPath: '{files.key}' holds no private key")
    assert caplog.messages[0].endswith("; the certificate in use stays")
    with pytest.raises(ConfigError, match="holds no private key"):
        files.source.reload()
    files.key.unlink()
    files.wait()
    assert files.source() is first
    assert "No such file" in caplog.messages[1], "another fault, another line"
    shutil.copy(good, files.key)
    files.wait()
    assert files.source() is not first
    assert len(caplog.messages) == 2
    files.wait()
    assert files.source() is files.source()


@needs_openssl
def test_two_files_that_change_one_after_the_other(tmp_path: Path) -> None:
    """In between they do not belong together, and clients connect all the same."""
    files = Files(tmp_path)
    first = files.source()
    certificate, key = files.authority.issue("second", "/CN=second")
    shutil.copy(certificate, files.certificate.resolve())
    files.wait()
    assert files.source() is first
    shutil.copy(key, files.key.resolve())
    files.wait()
    assert files.source() is not first


@needs_openssl
def test_new_issuers_of_client_certificates(tmp_path: Path) -> None:
    files = Files(tmp_path)
    issuers = tmp_path / "issuers.pem"
    shutil.copy(files.authority.path, issuers)
    source = TlsSource(TlsFiles(str(files.certificate), str(files.key), str(issuers)), lambda: files.now)
    before = source()
    assert len(before.get_ca_certs()) == 1
    with issuers.open("a", encoding="ascii") as file:
        file.write(Authority(tmp_path, "second").path.read_text(encoding="ascii"))
    files.wait()
    assert len(source().get_ca_certs()) == 2
    shutil.copy(files.authority.path, issuers)
    files.wait()
    assert len(source().get_ca_certs()) == 1, "whoever is struck off the list is not let in any more"


def test_nothing_changes_where_nothing_changed() -> None:
    now = 0.0
    source = TlsSource(TlsFiles(CERTIFICATE, None), lambda: now)
    first = source()
    for _ in range(10):
        now += RECHECK
        assert source() is first

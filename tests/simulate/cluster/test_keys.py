"""Who has the run's keys gets in, who has others does not, and no key is ever in a file."""

import ssl
import tempfile

import pytest

pytest.importorskip("cryptography")

from hpc_ds.simulate import keys as module
from hpc_ds.simulate.keys import make_keys, tls_context


def shake_hands(server, client):
    """Let the two contexts meet in memory; raises what either side objects to."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_side=False),
    ]
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    for side in sides:
        side.do_handshake()
    return sides[0].version(), sides[0].getpeercert(binary_form=True)


def contexts(server, client):
    return tls_context(server, ssl.Purpose.CLIENT_AUTH), tls_context(client, ssl.Purpose.SERVER_AUTH)


def test_both_sides_show_the_same_certificate():
    keys = make_keys()
    version, shown = shake_hands(*contexts(keys, keys))
    assert version == "TLSv1.3" and ssl.DER_cert_to_PEM_cert(shown) == keys.certificate


def test_the_certificate_passes_the_strict_checks_of_newer_pythons():
    server, client = contexts(keys := make_keys(), keys)
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake_hands(server, client)[0] == "TLSv1.3"


def test_other_keys_are_refused_on_either_side():
    with pytest.raises(ssl.SSLError):
        shake_hands(*contexts(make_keys(), make_keys()))


def test_a_peer_without_keys_is_refused():
    keys = make_keys()
    nobody = ssl.create_default_context(cadata=keys.certificate)
    nobody.check_hostname = False
    with pytest.raises(ssl.SSLError):
        shake_hands(tls_context(keys, ssl.Purpose.CLIENT_AUTH), nobody)


def test_keys_do_not_show_themselves():
    assert "PRIVATE" not in repr(make_keys()) + str(make_keys())


def test_no_file_is_made_where_there_is_memory(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file")

    for name in ("NamedTemporaryFile", "TemporaryDirectory", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    tls_context(make_keys(), ssl.Purpose.CLIENT_AUTH)


def test_elsewhere_the_file_is_gone_at_once_and_nobody_else_reads_it(monkeypatch, tmp_path):
    monkeypatch.delattr(module.os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with module._as_file("text") as path:
        found = list(tmp_path.iterdir())
        assert [str(file) for file in found] == [path] and found[0].stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []
    tls_context(make_keys(), ssl.Purpose.CLIENT_AUTH)
    assert list(tmp_path.iterdir()) == []

"""From files to a configuration: what is read from where, how it is merged, and what is said about faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import BUILT_IN_PROVIDERS, Config, Loaded, Provider, load
from gateway.config.kinds import models_of
from gateway.config.loader import MAX_FILE_BYTES, MAX_INCLUDE_DEPTH, MAX_NESTING
from gateway.errors import ConfigError
from gateway.providers.settings import DEFAULTS

DATA = Path(__file__).parents[1] / "data" / "config"


def write(folder: Path, **files: str) -> str:
    """Write `name.json5` files; the path of the first."""
    for name, text in files.items():
        (folder / f"{name}.json5").write_text(text, encoding="utf-8")
    return str(folder / f"{next(iter(files))}.json5")


def read(folder: Path, text: str, **environ: str) -> Loaded:
    return load(write(folder, main=text), environ=environ)


def faults(folder: Path, text: str, **environ: str) -> list[str]:
    """The problems of a text, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **environ)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def only_fault(folder: Path, text: str, **environ: str) -> str:
    (problem,) = faults(folder, text, **environ)
    return problem


# Whole files.


def test_all_faults_are_told_at_once_and_at_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("faults.json5", environ={})
    assert list(caught.value.problems) == (DATA / "faults.txt").read_text(encoding="utf-8").splitlines()


def test_several_processes_cannot_share_a_memory(tmp_path: Path) -> None:
    text = '{gateway: {workers: 2},\n session: {store: "memory"}}'
    assert only_fault(tmp_path, text) == (
        "main.json5:2:19: session.store: the memory of one process, and gateway.workers has several serve. "
        'Keep sessions in a file: "sqlite"'
    )
    assert read(tmp_path, text.replace("2}", "1}")).config.gateway.workers == 1
    with pytest.raises(ConfigError, match="several serve"):
        load(write(tmp_path, main=text.replace("2}", "1}")), environ={}, overrides={"gateway.workers": "2"})


def test_several_processes_need_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert only_fault(tmp_path, "{gateway: {workers: 2}}") == (
        "main.json5:1:21: gateway.workers: several processes need a system with unix sockets. Leave it at 1"
    )
    assert read(tmp_path, "{gateway: {workers: 1}}").config.gateway.workers == 1


def test_a_configuration_of_the_product() -> None:
    loaded = load(str(DATA / "product.json5"), environ={"TOKEN": "s3cret"})
    gateway, agents = loaded.config.gateway, loaded.config.agents
    assert (gateway.port, gateway.bind, gateway.auth.token) == (18790, "10.1.2.3", "s3cret")
    assert gateway.http.endpoints.chat_completions.enabled
    assert [(agent.id, agent.default, agent.model, agent.runtime.type) for agent in agents.list] == [
        ("main", True, "custom-proxy/llama-3.1-8b", "model"),
        ("beta", False, "openrouter/some/model:free", "model"),
    ]
    assert models_of(agents.list[0].model or "") == ("custom-proxy/llama-3.1-8b", "openai/gpt-5")
    assert models_of(agents.list[1].model or "") == ("openrouter/some/model:free",)
    provider = loaded.config.models.providers["custom-proxy"]
    assert (provider.models[0].input, provider.models[0].reasoning, provider.models[1].input) == (("text",), False, ())
    assert (provider.base_url, provider.api_key) == ("http://localhost:4000/v1", "none-needed")
    assert provider.headers == {"X-Region": "west"}
    assert [model.id for model in provider.models] == ["llama-3.1-8b", "another"]
    (warning,) = loaded.warnings
    for name in (
        "channels",
        "plugins",
        "cron",
        "gateway.mode",
        "agents.list[].identity",
        "session.dmScope",
        "bindings",
    ):
        assert f" {name}," in warning
    for name in ("contextWindow", "$schema", "gateway.port"):
        assert name not in warning


def test_nothing_configured_is_the_defaults() -> None:
    assert load(environ={}) == Loaded(Config(), {})


def test_secrets_are_in_no_representation(tmp_path: Path) -> None:
    text = """{gateway: {auth: {token: "hush-1", password: "hush-2"}},
        models: {providers: {openai: {apiKey: "hush-3", headers: {A: "hush-4"}}}}}"""
    loaded = read(tmp_path, text, OTHER="hush-5")
    assert "hush" not in repr(loaded)
    assert loaded.config.models.providers["openai"].headers == {"A": "hush-4"}


# Where the file is.


def test_the_file_comes_from_the_path_then_the_environment_then_the_default_places(tmp_path: Path) -> None:
    places = ["named", "own", "product", ".gateway/gateway", ".openclaw/openclaw", ".clawdbot/clawdbot"]
    suffixes = [".json5"] * 4 + [".json"] * 2
    files = [tmp_path / f"{place}{suffix}" for place, suffix in zip(places, suffixes, strict=True)]
    for port, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{{gateway: {{port: {port}}}}}")
    environ = {
        "HOME": str(tmp_path),
        "GATEWAY_CONFIG_PATH": str(files[1]),
        "CLAWDBOT_CONFIG_PATH": str(files[2]),
    }
    found = [load(str(files[0]), environ=environ)]
    for name in ("GATEWAY_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"):
        found.append(load(environ=environ))
        environ[name] = ""
    for file in files[3:]:
        found.append(load(environ=environ))
        file.unlink()
    assert [loaded.config.gateway.port for loaded in found] == [0, 1, 2, 3, 4, 5]
    assert [loaded.path for loaded in found] == [str(file) for file in files]
    assert load(environ=environ).path is None


@pytest.mark.parametrize("how", ["path", "environment"])
def test_a_named_file_must_be_there(tmp_path: Path, how: str) -> None:
    name = str(tmp_path / "none.json5")
    with pytest.raises(ConfigError, match=r"none\.json5: this file cannot be read: No such file"):
        load(name, environ={}) if how == "path" else load(environ={"OPENCLAW_CONFIG_PATH": name})


def test_home_is_the_environments(tmp_path: Path) -> None:
    write(tmp_path, main="{gateway: {tls: {certPath: '~/c.pem', keyPath: 'k.pem'}}}")
    tls = load("~/main.json5", environ={"HOME": str(tmp_path)}).config.gateway.tls
    assert (tls.cert_path, tls.key_path) == (f"{tmp_path}/c.pem", f"{tmp_path}/k.pem")
    assert tls.enabled


def test_flags_win_and_mean_what_they_say(tmp_path: Path) -> None:
    path = write(tmp_path, main="{gateway: {port: 1, auth: {mode: 'password'}}}")
    overrides = {
        "gateway.shutdown.drainMs": None,
        "gateway.port": "8080",
        "gateway.auth.token": "a${b",
        "gateway.bind": "lan",
    }
    gateway = load(path, environ={}, overrides=overrides).config.gateway
    assert (gateway.port, gateway.auth.token, gateway.bind, gateway.auth.mode) == (8080, "a${b", "0.0.0.0", "password")
    with pytest.raises(ConfigError, match=r"^the command line: gateway\.port: expected an integer"):
        load(path, environ={}, overrides={"gateway.port": "http"})


def test_a_home_that_cannot_be_looked_into_holds_no_file() -> None:
    assert load(environ={"HOME": "/x" * 5000}).path is None


# Text that cannot be read.


def test_a_syntax_error_tells_place_and_path(tmp_path: Path) -> None:
    problem = only_fault(tmp_path, '{\n  gateway: {\n    port: 1\n    bind: "lan",\n  },\n}')
    assert problem == "main.json5:4:5: gateway.port: expected ',' or '}' but found 'b'"


def test_the_whole_must_be_an_object(tmp_path: Path) -> None:
    assert only_fault(tmp_path, "[1]") == "main.json5:1:1: expected an object, got an array"


def test_limits_of_a_file(tmp_path: Path) -> None:
    deep = "[" * (MAX_NESTING + 1)
    assert f"more than {MAX_NESTING} arrays and objects" in only_fault(tmp_path, f"{{channels: {deep}}}")
    assert "larger than" in only_fault(tmp_path, "{}" + " " * MAX_FILE_BYTES)
    (tmp_path / "main.json5").write_bytes(b"{\n \xff}")
    with pytest.raises(ConfigError, match=r"main\.json5:2:2: byte 0xff is not UTF-8"):
        load(str(tmp_path / "main.json5"), environ={})


# $include.


def test_includes_are_merged_and_own_keys_win(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", agents="{list: [{id: 'two', runtime: {$include: '../echo.json5'}}]}", more="{session: {}}")
    path = write(
        tmp_path,
        main="""{
            $include: ["base.json5", "over.json5"],
            gateway: { port: 3, http: { limits: { connections: 7 } } },
            agents: { $include: "sub/agents.json5", list: [{ id: "three", runtime: { type: "echo" } }] },
        }""",
        base="""{gateway: {port: 1, bind: "lan", http: {limits: {connections: 5, headerCount: 50}}},
            agents: {list: [{id: "one", runtime: {type: "echo"}}]}}""",
        over="{gateway: {port: 2, http: {limits: {headerCount: 60}}, $include: 'auth.json5'}}",
        auth="{auth: {token: 't'}}",
        echo="{type: 'echo'}",
    )
    config = load(path, environ={}).config
    limits = config.gateway.http.limits
    assert (config.gateway.port, config.gateway.bind, config.gateway.auth.token) == (3, "0.0.0.0", "t")
    assert (limits.connections, limits.header_count) == (7, 60)
    assert [agent.id for agent in config.agents.list] == ["one", "two", "three"]


def test_a_fault_in_an_included_file_is_told_there(tmp_path: Path) -> None:
    write(tmp_path, inc='{\n port: "x",\n tls: {certPath: "c.pem"}}', bad="{\n a b}")
    assert faults(tmp_path, "{gateway: {$include: 'inc.json5'}}") == [
        "inc.json5:2:8: gateway.port: expected an integer from 0 to 65535, got text",
        "inc.json5:3:18: gateway.tls.certPath: certPath needs keyPath beside it",
    ]
    assert (
        only_fault(tmp_path, "{$include: 'bad.json5'}") == "bad.json5:2:4: a: expected ':' after the key but found 'b'"
    )


def test_file_names_belong_to_the_file_they_stand_in(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", tls="{certPath: 'c.pem', keyPath: '/k.pem'}")
    tls = read(tmp_path, "{gateway: {tls: {$include: 'sub/tls.json5'}}}").config.gateway.tls
    assert (tls.cert_path, tls.key_path) == (str(tmp_path / "sub" / "c.pem"), "/k.pem")


def test_includes_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path, self="{$include: 'self.json5'}", back="{$include: './main.json5'}", array="[1]")
    text = "{\n$include: ['none.json5', 7, 'self.json5', 'back.json5', '']}"
    missing, wrong, itself, back, empty = faults(tmp_path, text)
    assert missing.startswith("main.json5:2:12: $include: none.json5: this file cannot be read")
    assert wrong == "main.json5:2:26: $include: expected a file name or an array of file names"
    assert itself.startswith(
        "self.json5:1:12: $include: the files include one another without end: self.json5 includes"
    )
    assert "main.json5 includes back.json5 includes main.json5" in back.replace(f"{tmp_path}/", "")
    assert empty.endswith("expected a file name or an array of file names")
    problem = only_fault(tmp_path, "{channels: {$include: 'array.json5', a: 1}}")
    assert problem == "main.json5:1:23: $include: beside other keys only an object can be included"
    loop = tmp_path / "loop.json5"
    loop.symlink_to(loop)
    assert "loop.json5" in only_fault(tmp_path, "{$include: 'loop.json5'}")


def test_limits_of_includes(tmp_path: Path) -> None:
    chain = {f"f{index}": f"{{$include: 'f{index + 1}.json5'}}" for index in range(MAX_INCLUDE_DEPTH + 1)}
    path = write(tmp_path, **chain)
    write(tmp_path, **{f"f{MAX_INCLUDE_DEPTH}": "{}"})
    assert load(path, environ={}).config == Config()
    write(tmp_path, **chain, **{f"f{MAX_INCLUDE_DEPTH + 1}": "{}"})
    with pytest.raises(ConfigError, match=f"too many files are included; the limits are {MAX_INCLUDE_DEPTH} "):
        load(path, environ={})
    twice = {f"g{index}": f"{{$include: ['g{index + 1}.json5', 'g{index + 1}.json5']}}" for index in range(9)}
    with pytest.raises(ConfigError, match="too many files"):
        load(write(tmp_path, **twice, g9="{}"), environ={})
    half = MAX_NESTING // 2
    write(tmp_path, low="[" * half + "]" * half)
    levels = "{a: " * (half + 2) + "{$include: 'low.json5'}" + "}" * (half + 2)
    assert "inside one another" in only_fault(tmp_path, f"{{channels: {levels}}}")


# Environment.


def test_values_come_from_the_environment_and_dotenv_below_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nNAME=dotenv\nexport ON=true\n", encoding="utf-8")
    text = """{
        gateway: { port: "${PORT}", http: { accessLog: "${ON}" }, auth: { token: "${NONE:-}", password: "$${PORT}" } },
        agents: { list: [{ id: "a", name: "${NAME}-${PORT}", systemPrompt: "costs $5", runtime: { type: "echo" } }] },
    }"""
    loaded = read(tmp_path, text, PORT="2")
    gateway, agent = loaded.config.gateway, loaded.config.agents.list[0]
    assert (gateway.port, gateway.http.access_log) == (2, True)
    assert (gateway.auth.token, gateway.auth.password) == (None, "${PORT}")
    assert (agent.name, agent.system_prompt) == ("dotenv-2", "costs $5")
    assert loaded.environ == {"PORT": "2", "NAME": "dotenv", "ON": "true"}


def test_what_the_environment_lacks_is_told_at_the_value(tmp_path: Path) -> None:
    text = '{agents: {list: [{id: "a", name: "${ONE} ${TWO} ${ONE}", aliases: ["${bad"]}]}}'
    first, second = faults(tmp_path, text, TWO="")
    assert first.startswith(
        "main.json5:1:34: agents.list[0].name: the environment has no value for ONE and TWO. Set it"
    )
    assert second.startswith("main.json5:1:68: agents.list[0].aliases[0]: '${' is not followed by")


def test_a_broken_dotenv_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n\nno assignment\n", encoding="utf-8")
    assert only_fault(tmp_path, "{}").startswith(".env:3:1: expected NAME=value")
    (tmp_path / ".env").write_bytes(b"A=\xff")
    assert only_fault(tmp_path, "{}").startswith(".env: this is not UTF-8")
    (tmp_path / ".env").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert only_fault(tmp_path, "{}").startswith(".env: this file is larger than")


# Options together.


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("loopback", "127.0.0.1"),
        ("auto", "127.0.0.1"),
        ("lan", "0.0.0.0"),
        ("192.168.1.7", "192.168.1.7"),
        ("::1", "::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("gateway.example", "gateway.example"),
        ("unix:/run/gateway.sock", "unix:/run/gateway.sock"),
        ("unix:@gateway", "unix:@gateway"),
    ],
)
def test_bind(tmp_path: Path, bind: str, address: str) -> None:
    assert read(tmp_path, f'{{gateway: {{bind: "{bind}"}}}}').config.gateway.bind == address


@pytest.mark.parametrize(
    "bind",
    [
        "",
        "127.0.0.1:80",
        "256.1.1.1",
        "1.2.3",
        "a b",
        "unix:sock",
        "unix:",
        "unix:/",
        "unix:@",
        f"unix:/{'x' * 110}",
        "http://x",
        "-x",
        "custom",
    ],
)
def test_bind_refused(tmp_path: Path, bind: str) -> None:
    assert only_fault(tmp_path, f'{{gateway: {{bind: "{bind}"}}}}').startswith("main.json5:1:18: gateway.bind: ")


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ("certPath: 'c'", "certPath needs keyPath"),
        ("keyPath: 'k'", "keyPath needs certPath"),
        ("enabled: true", "TLS needs certPath and keyPath"),
        ("enabled: true, autoGenerate: true", "no certificate is made for you"),
        ("caPath: 'c'", "client certificates need TLS: certPath and keyPath"),
        ("certPath: 'c', keyPath: 'k', clientCertificates: 'required'", "needs caPath"),
        ("certPath: 'c', keyPath: 'k', caPath: 'a', clientCertificates: 'no'", '"required" or "optional"'),
        ("certPath: 'c', keyPath: 'k', handshakeTimeoutMs: -1", "from 0 to"),
        ("certPath: ''", "expected a file name"),
    ],
)
def test_tls_refused(tmp_path: Path, tls: str, problem: str) -> None:
    assert problem in only_fault(tmp_path, f"{{gateway: {{tls: {{{tls}}}}}}}")


@pytest.mark.parametrize(
    ("unix", "problem"),
    [
        ("path: 'relative'", "unixSocket.path: expected an absolute path"),
        ("path: '/run/a\\0b'", "unixSocket.path: expected an absolute path"),
        ("mode: 0x1b0", "unixSocket.mode: expected text"),
        ("mode: '66'", "three octal digits"),
        ("mode: '0888'", "three octal digits"),
        ("mode: '4755'", "three octal digits"),
        ("mode: '0444'", "nobody can connect"),
    ],
)
def test_unix_sockets_refused(tmp_path: Path, unix: str, problem: str) -> None:
    assert problem in only_fault(tmp_path, f"{{gateway: {{unixSocket: {{{unix}}}}}}}")


def test_unix_sockets(tmp_path: Path) -> None:
    text = "{gateway: {unixSocket: {path: '/run/gw.sock', mode: '660', owner: 'www', group: '33'}}}"
    unix = read(tmp_path, text).config.gateway.unix_socket
    assert (unix.path, unix.mode, unix.owner, unix.group) == ("/run/gw.sock", "660", "www", "33")


def test_client_certificates(tmp_path: Path) -> None:
    text = "{gateway: {tls: {certPath: '/c', keyPath: '/k', caPath: 'a', clientCertificates: 'optional'}}}"
    tls = read(tmp_path, text).config.gateway.tls
    assert (tls.ca_path, tls.client_certificates, tls.handshake_timeout_ms) == (f"{tmp_path}/a", "optional", 10_000)


def test_tls_can_be_switched_off(tmp_path: Path) -> None:
    tls = read(tmp_path, "{gateway: {tls: {enabled: false, certPath: 'c', keyPath: 'k'}}}").config.gateway.tls
    assert not tls.enabled


def test_agents_as_array_and_as_map(tmp_path: Path) -> None:
    text = """{agents: {
        defaults: { model: "ollama/qwen3" },
        entries: { Main: { default: true }, beta: { id: "beta", model: { primary: "vllm/a/b" } } },
        list: [{ id: "py", runtime: { type: "python", target: "my.agents:Shout.run" }, aliases: ["gpt-4o"] }],
    }}"""
    agents = read(tmp_path, text).config.agents
    assert [(a.id, a.model, a.runtime.type, a.runtime.target, a.default, a.aliases) for a in agents.list] == [
        ("py", None, "python", "my.agents:Shout.run", False, ("gpt-4o",)),
        ("main", "ollama/qwen3", "model", None, True, ()),
        ("beta", "vllm/a/b", "model", None, False, ()),
    ]
    assert agents.entries == ()


def test_a_default_model_alone_is_an_agent(tmp_path: Path) -> None:
    (agent,) = read(tmp_path, "{agents: {defaults: {model: 'llama.cpp/x'}}}").config.agents.list
    assert (agent.id, agent.model, agent.runtime.type, agent.default) == ("main", "llama.cpp/x", "model", True)
    assert read(tmp_path, "{agents: {list: []}}").config.agents.list == ()


@pytest.mark.parametrize(
    ("agents", "problem"),
    [
        ("list: [{id: 'a'}]", "agents.list[0].id: agent 'a' has nothing to answer with"),
        ("list: [{id: 'a', runtime: {}}]", "agents.list[0].id: agent 'a' has nothing to answer with"),
        ("list: [{id: 'a', runtime: {type: 'python'}}]", "agents.list[0].runtime.type: 'python' needs a target"),
        ("list: [{id: 'a', runtime: {target: 'a:b'}}]", "agents.list[0].runtime.target: a target is only for"),
        ("list: [{id: 'a', model: 'nobody/x'}]", "agents.list[0].model: there is no provider 'nobody'. Add"),
        ("list: [{id: 'a', model: {fallbacks: []}}]", "agents.list[0].model: 'primary' is missing"),
        ("list: [{id: 'a', model: {primary: 'openai/x', other: 1}}]", "agents.list[0].model.other: there is no such"),
        ("list: [{id: 'x', model: 7}]", "agents.list[0].model: expected text, got a number"),
        ("defaults: {model: 'openai'}, list: [{id: 'x'}]", 'agents.defaults.model: expected "provider/model"'),
        ("list: {a: {}}", "agents.list: expected an array, got an object"),
        ("entries: [{id: 'a'}]", "agents.entries: expected an object with the ids as keys"),
        ("entries: {'': {}}", 'agents.entries[""].id: an agent\'s id is 1 to 64'),
        ("entries: {a: 7}", "agents.entries.a: expected an object, got a number"),
        ("list: [{id: 'a', runtime: {type: 'echo'}, aliases: ['agent:b']}]", "aliases[0]: this name means an agent"),
        ("list: [{id: 'a', runtime: {type: 'echo'}, aliases: ['Clawdbot']}]", "aliases[0]: this name means an agent"),
        ("list: [{id: 'a', runtime: {type: 'echo'}, aliases: [' x']}]", "aliases[0]: an alias is 1 to 256 printable"),
    ],
)
def test_agents_refused(tmp_path: Path, agents: str, problem: str) -> None:
    assert problem in only_fault(tmp_path, f"{{agents: {{{agents}}}}}")


def test_fallbacks(tmp_path: Path) -> None:
    """As the product has it: an object stands for itself, text is that model alone, and nothing means the defaults."""
    text = """{agents: {defaults: {model: {primary: "openai/a", fallbacks: ["ollama/b", "openai/a", "ollama/b"]}}, list: [
        {id: "x"}, {id: "y", model: "ollama/c"}, {id: "z", model: {primary: "ollama/c", fallbacks: []}},
        {id: "w", model: {primary: "ollama/${NAME}", fallbacks: ["groq/${NAME}"]}}]}}"""
    agents = read(tmp_path, text, NAME="d").config.agents.list
    assert [models_of(agent.model or "") for agent in agents] == [
        ("openai/a", "ollama/b"),
        ("ollama/c",),
        ("ollama/c",),
        ("ollama/d", "groq/d"),
    ]


def test_what_is_known_of_a_model(tmp_path: Path) -> None:
    providers = "models: {providers: {openai: {models: [{id: 'a', input: ['text', 'image'], maxTokens: 5, cost: {}}]}}}"
    (model,) = read(tmp_path, f"{{{providers}}}").config.models.providers["openai"].models
    assert (model.input, model.max_tokens, model.reasoning) == (("text", "image"), 5, None)
    assert (model.context_window, model.cost.input) == (None, None)
    prices = (
        "contextWindow: 128e3, cost: {input: '${PRICE}', output: 15, cacheRead: 0, cacheWrite: 3.75, tieredPricing: []}"
    )
    priced = providers.replace("cost: {}", prices).join("{}")
    (model,) = read(tmp_path, priced, PRICE="2.5").config.models.providers["openai"].models
    assert (model.context_window, model.cost.input, model.cost.output, model.cost.cache_read) == (
        128_000,
        2.5,
        15.0,
        0.0,
    )
    for wrong in ("-1", "true", "Infinity", "NaN", "1000001", "'x'"):
        problem = only_fault(tmp_path, providers.replace("cost: {}", f"cost: {{output: {wrong}}}").join("{}"))
        assert "models[0].cost.output: expected dollars for a million tokens, a number from 0 to 1000000" in problem
    problem = only_fault(tmp_path, providers.replace("'image'", "'smell'").join("{}"))
    assert 'models.providers.openai.models[0].input[1]: expected "text" or "image" or' in problem


def test_a_configured_provider_may_be_named_by_a_model(tmp_path: Path) -> None:
    providers = "models: {providers: {mine: {baseUrl: 'https://[::1]:8443/v1/'}, openai: {headers: {X: 'y'}}}}"
    config = read(tmp_path, f"{{{providers}, agents: {{list: [{{id: 'a', model: 'mine/m'}}]}}}}").config
    assert config.models.providers["mine"].base_url == "https://[::1]:8443/v1"
    assert config.models.providers["openai"] == Provider(headers={"X": "y"})


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h:/v1", "HTTPS://H:65535/v1/", "http://a_b/~x/@v;1", "http://[fe80::1]:1/v1", "http://h:0"],
)
def test_base_urls_taken(tmp_path: Path, url: str) -> None:
    config = read(tmp_path, f"{{models: {{providers: {{mine: {{baseUrl: '{url}'}}}}}}}}").config
    assert config.models.providers["mine"].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/v1",
        "ftp://h/",
        "http://",
        "http://h:x/",
        "http://h:70000/",
        "http://u:p@h/",
        "http://u@h",
        "http://@h",
        "http://:80/",
        "http://[::1",
        "http://[::::]/v1",
        "http://h]/",
        "http://h/\\u00e9",
        "http://h/?a",
        "http://h?a",
        "http://h#a",
        "http://h /",
    ],
)
def test_base_urls_refused(tmp_path: Path, url: str) -> None:
    problem = only_fault(tmp_path, f"{{models: {{providers: {{mine: {{baseUrl: '{url}'}}}}}}}}")
    assert problem.startswith("main.json5:1:39: models.providers.mine.baseUrl: ")
    assert "u:p" not in problem


@pytest.mark.parametrize("member", ["apiKey: 'ключ'", "headers: {X: 'é'}", "apiKey: {source: 'env', id: 'KEY'}"])
def test_what_a_provider_is_sent_is_ascii(tmp_path: Path, member: str) -> None:
    problem = only_fault(tmp_path, f"{{models: {{providers: {{openai: {{{member}}}}}}}}}", KEY="ü")
    assert problem.endswith("a secret that is sent to a provider must be ASCII")


def test_the_built_in_providers_are_those_that_are_known() -> None:
    assert set(BUILT_IN_PROVIDERS) == set(DEFAULTS)


def test_a_new_provider_needs_its_url(tmp_path: Path) -> None:
    problem = only_fault(tmp_path, "{models: {providers: {mine: {apiKey: 'k'}}}}")
    assert problem.startswith("main.json5:1:23: models.providers.mine: 'baseUrl' is missing")


@pytest.mark.parametrize(
    "value", ["'1'", "1.5", "true", "null", "[]", "NaN", "Infinity", "1e30", "-1", "65536", "0x1" + "0" * 600]
)
def test_integers_refused(tmp_path: Path, value: str) -> None:
    assert "gateway.port: expected an integer from 0 to 65535, got" in only_fault(
        tmp_path, f"{{gateway: {{port: {value}}}}}"
    )


@pytest.mark.parametrize(("value", "port"), [("0", 0), ("65535", 65535), ("1e3", 1000), ("0x10", 16), ("80.", 80)])
def test_integers(tmp_path: Path, value: str, port: int) -> None:
    config = read(tmp_path, f"{{gateway: {{port: {value}}}}}").config
    assert config.gateway.port == port
    assert isinstance(config.gateway.port, int)


def test_secrets_are_never_told(tmp_path: Path) -> None:
    text = """{gateway: {auth: {token: " hush", password: "hu\\u0000sh", mode: "${MODE}"}},
        models: {providers: {openai: {apiKey: ["hush"], headers: {A: "hush\\n"}}}}}"""
    problems = faults(tmp_path, text, MODE="token")
    assert len(problems) == 4
    assert "hush" not in "".join(problems)


def test_the_tree_is_frozen() -> None:
    config: Any = Config()
    with pytest.raises(AttributeError):
        config.gateway.port = 1

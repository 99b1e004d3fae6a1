# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover import` from the command line: what is read, what is printed where, and the exit code."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drover_operator.cli.main import main
from drover_operator.cli.manifests import parse, render
from drover_operator.kube.errors import ConfigurationError

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
"""
ACCOUNT = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n"
TOO_LONG = DEPLOYMENT.replace("name: web}", f"name: {'x' * 41}}}", 1)
PETS = DEPLOYMENT.replace("Deployment", "StatefulSet").replace("web", "db") + "  volumeClaimTemplates: [{metadata: {name: data}}]\n"


class Terminal:
    """One run of the verb with its own stdin."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(["import", *arguments])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(capsys, monkeypatch)


def kinds(text: str) -> list[str]:
    return [each["kind"] for each in parse(text.encode(), "output")]


EXITS: list[tuple[str, str, int, list[str], str]] = [
    # why, stdin, exit code, kinds on stdout, beginning of the last line on stderr
    ("the plain case: what stays comes first, as kubectl applies in order", DEPLOYMENT + "---\n" + SERVICE + "---\n" + ACCOUNT, 0, ["ServiceAccount", "ManagedService"], "warning: managedservice/*: spec.criticality"),
    ("one workload failed: the rest is printed, but a script must see it", DEPLOYMENT + "---\n" + TOO_LONG, 1, ["ManagedService"], "warning: managedservice/*"),
    ("pets are a known gap, no failure", DEPLOYMENT + "---\n" + PETS, 0, ["ManagedService"], "warning: managedservice/*"),
    ("nothing but pets: nothing was done", PETS, 1, [], "error: nothing was imported"),
    ("nothing to import at all", ACCOUNT, 1, [], "error: nothing was imported: no Deployment or StatefulSet among 1 objects"),
    ("empty input", "", 1, [], "error: nothing was imported"),
    ("a syntax error has its line", "kind: A\n  b: c\n", 1, [], "error: stdin:2: mapping values are not allowed"),
    ("a template that was not rendered", "kind: {{ .Values.kind }}\n", 1, [], "error: stdin:1: "),
    ("a values file is no manifest; the line is that of its document", DEPLOYMENT + "---\nreplicas: 1\n", 1, [], "error: stdin:9: not a Kubernetes object"),
    ("a list is no manifest", "- a\n", 1, [], "error: stdin:1: a Kubernetes object is a mapping, not a list"),
    ("an alias to itself never ends", "a: &a {b: *a}\n", 1, [], "error: stdin:1: nested too deeply"),
    ("a tag of another tool", "kind: !Ref x\n", 1, [], "error: stdin:1: could not determine a constructor for the tag '!Ref'"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "stdin", "code", "printed", "last"), EXITS, ids=[row[0] for row in EXITS])
def test_output_and_exit_code(terminal: Terminal, why: str, stdin: str, code: int, printed: list[str], last: str) -> None:
    found, out, err = terminal("-f", "-", stdin=stdin)
    assert (found, kinds(out)) == (code, printed), why
    assert err.splitlines()[-1].startswith(last)


def test_notes_are_one_line_each_in_the_promised_form(terminal: Terminal) -> None:
    surging = DEPLOYMENT.replace("spec:\n", "spec:\n  strategy: {rollingUpdate: {maxSurge: '200%'}}\n", 1)
    _, _, err = terminal("-f", "-", "--criticality", "Vital", stdin=surging)
    assert err == "warning: deployment/web: spec.strategy.rollingUpdate.maxSurge 200% is more than the 100% that Drover takes; imported as 100%\n"


def test_output_is_readable_and_in_order(terminal: Terminal) -> None:
    _, out, _ = terminal("-f", "-", "--services-only", "--adopt", stdin=f"{ACCOUNT}---\n{SERVICE}---\n{DEPLOYMENT}")
    assert out == (
        "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata:\n  name: web\nspec:\n  criticality: Normal\n  adopt: true\n"
        "  ports:\n  - name: http\n    port: 80\n  template:\n    metadata:\n      labels:\n        app: web\n"
        "    spec:\n      containers:\n      - name: main\n        image: web:1\n"
    )


def test_directories_are_read_to_the_bottom_in_order(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "account.yml").write_text(ACCOUNT)
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": parse(DEPLOYMENT.encode(), "")}, indent="\t"))
    (tmp_path / "notes.txt").write_text("not: [read")
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "workflow.yaml").write_text("on: push\n")
    code, out, _ = terminal("-f", str(tmp_path))
    assert (code, kinds(out)) == (0, ["ServiceAccount", "ManagedService"])


UNREADABLE: list[tuple[str, str, str | None, str]] = [
    # why, file, its content (None: it is not there), the error
    ("a wrong name", "missing.yaml", None, "No such file or directory"),
    ("a directory without manifests is a wrong directory", ".", None, "no *.yaml, *.yml or *.json file in this directory"),
    ("JSON has lines too", "a.json", '{"kind":\n,}', "a.json:2: Expecting value"),
    ("JSON nested without end", "a.json", '{"a":' * 5000, "nested too deeply"),
    ("YAML nested without end", "a.yaml", "a: " + "[" * 300 + "]" * 300, "nested too deeply"),
    ("Latin-1", "a.yaml", "kind: A\nname: \udce9\n", "a.yaml:2: the text is not UTF-8"),
    ("the kustomization itself", "kustomization.yaml", "resources: [a.yaml]\n", "import the output of `kubectl kustomize "),
]


@pytest.mark.parametrize(("why", "name", "content", "message"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
def test_unreadable_files(terminal: Terminal, tmp_path: Path, why: str, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    code, out, err = terminal("-f", str(tmp_path / name))
    assert (code, out, err.count("\n")) == (1, "", 1), why
    assert err.startswith("error: ") and message in err


def test_addresses_are_not_read(terminal: Terminal) -> None:
    assert terminal("-f", "https://example.org/a.yaml")[0] == 1


WRONG: list[tuple[str, list[str], str]] = [
    # why, arguments, the error
    ("one stdin has one end", ["-f", "-", "-f", "-"], "stdin (-f -) can be read only once"),
    ("nothing was named", [], "nothing to import: give -f FILE for manifests, deployment/NAME or --all for a cluster"),
    ("a namespace alone names nothing", ["-n", "shop"], "nothing to import: give -f FILE"),
    ("two sources", ["-f", "-", "deployment/web"], "-f, names and --all exclude each other"),
    ("all, and one of them", ["--all", "deployment/web"], "-f, names and --all exclude each other"),
    ("a file has its own namespaces", ["-f", "-", "-n", "shop"], "-n, --context and --kubeconfig are for workloads of a cluster"),
    ("a name without its kind", ["web"], "'web' is no workload: give deployment/NAME or statefulset/NAME"),
    ("kubectl's other spelling", ["deployment", "web"], "'deployment' is no workload"),
    ("a kind that is not imported", ["daemonset/web"], "'daemonset/web' is no workload"),
    ("a name that is none", ["deployment/Web_1"], "'deployment/Web_1' is no workload"),
    ("no context makes no namespace", ["deployment/web", "-n", "Shop!"], "'Shop!' is not a name of a namespace"),
]


@pytest.mark.parametrize(("why", "words", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_usage(terminal: Terminal, why: str, words: list[str], message: str) -> None:
    code, out, err = terminal(*words)
    assert (code, out, err.count("\n")) == (4, "", 1), why
    assert err.startswith(f"error: {message}")


def test_a_level_that_is_none(terminal: Terminal) -> None:
    code, _, err = terminal("-f", "-", "--criticality", "vital")
    assert code == 4 and "'vital' is none of Vital, Important, Normal, Expendable" in err


SCALARS: list[tuple[str, str, Any]] = [
    # why, plain scalar in YAML, what kubectl makes of it
    ("a date is text in JSON", "2026-11-21", "2026-11-21"),
    ("so is a time, which YAML 1.1 counts in sixties", "12:30", "12:30"),
    ("a file mode", "0400", 256),
    ("an exponent needs no dot", "1e3", 1000),
    ("a whole number with a point", "1.0", 1),
    ("y is true for kubectl", "y", True),
    ("off is false", "off", False),
    ("nothing", "~", None),
    ("a version", "1.2.0", "1.2.0"),
    ("a quantity", "100m", "100m"),
    ("value tag of YAML 1.1", "=", "="),
]


@pytest.mark.parametrize(("why", "plain", "value"), SCALARS, ids=[row[0] for row in SCALARS])
def test_scalars_are_read_as_kubectl_does(why: str, plain: str, value: Any) -> None:
    (found,) = parse(f"apiVersion: v1\nkind: A\nvalue: {plain}\n".encode(), "test")
    assert found["value"] == value and type(found["value"]) is type(value), why


def test_keys_are_text() -> None:
    (found,) = parse(b"apiVersion: v1\nkind: ConfigMap\ndata: {8080: a, on: b}\n", "test")
    assert found["data"] == {"8080": "a", "true": "b"}


TEXTS = ("y", "N", "1e10", "0o17", "0400", "2026-01-01", "12:30", "1_000", "0x1F", "~", "", "null", "=", "<<", " a", "a ", "a\nb", "a \nb", "\n", "a\tb\n", "- a", ": x",
         "é😀", "#c", "1.", ".nan", "089", "a: b", "%x", "\x07", "a\r\nb", "x " * 200, "  a\nb\n\n", "---", "true", "a\u2028b", "\ufeff")  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_texts_come_back_as_they_were(text: str) -> None:
    """A commit hash such as 1e10 or the answer y must not turn into a number or true on its way through kubectl."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"value": text, text: "key"}}
    written = render([manifest, manifest])
    assert parse(written.encode(), "test") == [manifest, manifest]
    if text in ("y", "N", "1e10", "0o17", "0400", "2026-01-01"):
        assert f"value: '{text}'" in written


def test_shared_parts_are_written_out() -> None:
    (found,) = parse(b"apiVersion: v1\nkind: A\na: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n", "test")
    assert render([found]) == "apiVersion: v1\nkind: A\na:\n  b: 1\nc:\n  b: 1\nd:\n  b: 1\n  e: 2\n"


def test_typed_lists_name_their_items() -> None:
    found = parse(b"apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: a}}]\n", "test")
    assert found == [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}]
    with pytest.raises(ConfigurationError):
        parse(b"apiVersion: v1\nkind: List\nitems: [1]\n", "test")


def test_other_verbs_do_not_pay_for_this_one() -> None:
    """Start-up is under 150 ms for every verb, so neither YAML nor the models load before the verb runs."""
    code = "import sys, drover_operator.cli.import_verb; print([m for m in ('yaml', 'aiohttp', 'kopf', 'structlog', 'drover_operator.api.crd') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert printed.stdout == "[]\n"

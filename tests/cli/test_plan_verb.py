# SPDX-License-Identifier: Apache-2.0
"""`plan`, `diff` and `report` as a user meets them: against a sandbox, against servers that say no, and with files that are wrong."""

import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drover_operator.cli.main import main

Run = Callable[..., tuple[int, str, str]]
SERVICES = "apis/drover.dev/v1alpha1/namespaces/default/managedservices"
LATEST = 30  # seconds; a sandbox needs one on an idle machine


def service(name: str = "web", image: str = "app:1", **spec: Any) -> dict[str, Any]:
    env = [{"name": "DB_PASSWORD", "value": f"hunter-{image}"}]
    template = {"spec": {"containers": [{"name": "server", "image": image, "env": env}]}}
    body = {"criticality": "Normal", "replicas": 2, "template": template, **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": name, "namespace": "default"}, "spec": body}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a sandbox with the service `web`, paused once, at rest."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "web.json").write_text(json.dumps(service(revisionHistoryLimit=3)))
    command = [sys.executable, "-m", "drover_operator.cli.main", "sandbox", "--kubeconfig", str(folder / "config"), "-f", str(folder / "web.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    os.environ["KUBECONFIG"] = str(folder / "config")
    address = json.loads((folder / "config").read_text())["clusters"][0]["cluster"]["server"]
    settle(address)
    yield address
    process.terminate()
    process.communicate(timeout=LATEST)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", os.environ.get("KUBECONFIG", ""))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


def settle(address: str) -> None:
    """Until the operator has nothing to do; the watch ends when it has told so."""
    watch = urllib.request.urlopen(f"{address}/{SERVICES}?watch=true", timeout=LATEST)
    for line in watch:
        if json.loads(line)["object"].get("status", {}).get("summary") == "Healthy":
            return


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}/{path}", timeout=LATEST) as answer:
        return json.load(answer)


@pytest.fixture
def run(server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process; answers exit code, output and errors. `given` is what comes on stdin."""

    def begin(*words: str, given: Any = None) -> tuple[int, str, str]:
        text = yaml.safe_dump_all(given) if isinstance(given, list) else given or ""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return main(list(words)), *capsys.readouterr()

    return begin


# --- plan


def test_a_service_that_needs_nothing_says_so_and_what_holds(run: Run) -> None:
    code, out, err = run("plan", "web")
    assert (code, err) == (0, "")
    assert out.startswith("Nothing to do for web in namespace default.\nWhat holds: Run for ")
    assert "2/2 in service" in out


def test_files_are_planned_for_as_if_they_were_applied_and_nothing_is(run: Run, server: str) -> None:
    before = get(server, SERVICES), get(server, "api/v1/namespaces/default/pods")
    code, out, err = run(
        "plan", "-f", "-", given=[service(image="app:2", revisionHistoryLimit=3), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}]
    )
    assert (code, err) == (0, "")
    steps = [line.strip() for line in out.splitlines() if re.match(r"\d\.|   (try|create|record|rollout)", line)]
    assert [re.sub(r"web-[a-z0-9]{8}", "REV", each) for each in steps if "startedAt" not in each and "begunAt" not in each] == [
        "1. Ask the API server; nothing is stored",
        "try revision REV  RollingOut  accepted",
        "2. Remember in the status, before anything is done",
        "rollout.target: REV",
        "3. Do",
        "record revision REV  RollingOut",
        "4. Do",
        "create REV-0-8k8z7  Missing",
    ]
    assert out.endswith("\n(left out, no ManagedService: ConfigMap/c)\n")
    after = get(server, SERVICES), get(server, "api/v1/namespaces/default/pods")
    assert [each["items"] for each in after] == [each["items"] for each in before], "something was stored"


def test_a_new_service_is_planned_from_its_dry_run(run: Run) -> None:
    code, out, err = run("plan", "-f", "-", "-o", "json", given=[service("fresh")])
    assert (code, err) == (0, "")
    plan = json.loads(out)["plans"][0]
    assert [part["does"] for part in plan["stages"]] == ["Ask", "Remember", "Act", "Act", "Act"]
    acts = [each["id"] for part in plan["stages"] if part["does"] == "Act" for each in part["actions"]]
    assert acts[0] == "patch managedservices/fresh"
    assert sum(each.startswith("create pods/fresh-") for each in acts) == 2


def test_what_kubectl_apply_would_remove_is_removed(run: Run) -> None:
    """The sandbox applied it as kubectl does, with revisionHistoryLimit 3: without the field it is the default again."""
    _, out, _ = run("diff", "-f", "-", given=[service()])
    assert out == "~ apply managedservices/web  (as it would be applied)\n    spec.revisionHistoryLimit: 3 -> 10\n"


REFUSED = [
    ("a value out of bounds", service(revisionHistoryLimit=0), "spec.revisionHistoryLimit in body should be greater than or equal to 1"),
    ("a rule in CEL", service("pet", mode="Pet"), "spec.mode 'Pet' is not supported by this version of Drover: use 'Cattle'"),
    ("a field that is not known", service(replica=3), 'unknown field "spec.replica"'),
    ("a field that is not known, in a new service", service("fresh", replica=3), "spec.replica: field not declared in schema"),
    ("a namespace that is not there", {**service(), "metadata": {"name": "web", "namespace": "none"}}, "namespace none is not there; create it first"),
]


@pytest.mark.parametrize(("why", "body", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_the_server_refuses_is_one_line(why: str, body: dict[str, Any], message: str, run: Run) -> None:
    code, out, err = run("plan", "-f", "-", given=[body])
    assert (code, out, err.count("\n")) == (1, "", 1), (why, err)
    assert err.startswith("error: msvc/")
    assert message in err


def test_one_wrong_service_hides_no_other(run: Run) -> None:
    code, out, err = run("plan", "-f", "-", given=[service(revisionHistoryLimit=0), service("fresh")])
    assert (code, err.count("\n")) == (1, 1)
    assert "Plan for fresh in namespace default, once this is created" in out


def test_a_template_that_no_pod_can_be_made_of(run: Run) -> None:
    """The question is really asked: the words are the server's."""
    body = service("fresh")
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = -5
    code, out, err = run("plan", "-f", "-", given=[body])
    assert (code, err) == (0, "")
    assert re.search(r"try revision fresh-[a-z0-9]{8}  RollingOut  refused\n     .*terminationGracePeriodSeconds", out)
    assert "create fresh-" not in out


def test_a_slip_in_the_name(run: Run) -> None:
    assert run("plan", "wbe") == (1, "", "error: no service 'wbe' in namespace 'default'; did you mean web?\n")


BAD_FILES = [
    ("no YAML", "a: [", "stdin:2: did not find expected node content"),
    ("no object", "just words", "stdin:1: a Kubernetes object is a mapping"),
    ("no service", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "no ManagedService in the files (left out, no ManagedService: Pod/p)"),
    ("empty", "", "no ManagedService in the files (they are empty)"),
]


@pytest.mark.parametrize("more", [[], ["--offline"]])
@pytest.mark.parametrize(("why", "text", "message"), BAD_FILES, ids=[row[0] for row in BAD_FILES])
def test_bad_files(why: str, text: str, message: str, more: list[str], run: Run) -> None:
    code, out, err = run("plan", "-f", "-", *more, given=text)
    assert (code, out, err.count("\n")) == (1, "", 1), why
    assert message in err


# --- plan without a cluster


def test_offline_asks_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    code, out, err = run("plan", "--offline", "-f", "-", given=[service()])
    assert (code, err) == (0, "")
    assert "Note: decided from the files alone" in out
    assert out.count("create web-") == 2


def test_offline_takes_what_the_operator_looks_at_as_the_world(run: Run, server: str) -> None:
    """What kubectl get writes, read back: with its pods, nothing is left to do."""
    kinds = [
        "api/v1/namespaces/default/pods",
        "apis/apps/v1/namespaces/default/controllerrevisions",
        "apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    ]
    kinds += ["apis/policy/v1/namespaces/default/poddisruptionbudgets", SERVICES]
    lists = [get(server, path) for path in kinds]
    code, out, err = run("plan", "--offline", "-f", "-", given=lists)
    assert (code, err) == (0, "")
    assert out.startswith("Nothing to do for web in namespace default")


# --- diff


def test_diff_of_a_change(run: Run) -> None:
    code, out, err = run("diff", "-f", "-", given=[service(image="app:2", revisionHistoryLimit=3)])
    assert (code, err) == (0, "")
    assert "spec.template.spec.containers[server].image: app:1 -> app:2" in out
    assert "spec.template.spec.containers[server].env[DB_PASSWORD].value: *** (changed, not shown)" in out
    assert re.search(r"^\+ create pods/web-[a-z0-9]{8}-0-8k8z7  \(Missing\)$", out, re.MULTILINE)
    assert "hunter" not in out


def test_diff_of_nothing(run: Run) -> None:
    assert run("diff", "web") == (0, "no differences: nothing would be changed\n", "")
    code, out, _ = run("diff", "web", "-o", "json")
    assert (code, json.loads(out)) == (0, {"objects": [], "leftOut": ""})


# --- report


def test_a_report_has_no_secret_and_decides_the_same(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    code, out, _ = run("report", "web", "-O", str(file))
    assert code == 0
    assert out.startswith(f"{file}: 1 managedservices, 2 pods, ")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter" not in file.read_text()
    report = json.loads(file.read_text())
    assert [each["ready"] for each in report["nodes"]] == ["True"] * 3
    assert report["leases"][0]["spec"]["holderIdentity"]
    assert report["server"]["gitVersion"].startswith("v1.")
    code, out, err = run("plan", "--from", str(file))
    assert (code, err) == (0, "")
    assert out.startswith("Nothing to do for web in namespace default.")
    assert "replayed from a report of" in out


def test_a_report_is_named_after_what_it_is_about(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("report", "web")[0] == 0
    assert run("report")[0] == 0
    names = sorted(re.sub(r"\d", "9", each.name) for each in tmp_path.iterdir())
    assert names == ["drover-report-default-99999999T999999Z.json", "drover-report-default-web-99999999T999999Z.json"]


def test_a_report_on_stdout(run: Run) -> None:
    code, out, _ = run("report", "web", "-O", "-")
    assert code == 0
    assert json.loads(out)["kind"] == "DroverReport"


def test_a_report_of_nothing_and_one_that_cannot_be_written(run: Run) -> None:
    assert run("report", "-n", "kube-system") == (1, "", "error: no services in namespace kube-system; add -n NAMESPACE\n")
    code, out, err = run("report", "web", "-O", "/nowhere/report.json")
    assert (code, out) == (1, "")
    assert "error: cannot write /nowhere/report.json: No such file or directory\n" in err


BROKEN = [
    ("cut off", lambda text: text[:500], "is no whole report"),
    ("another file", lambda _: "{}", "is no report; kubectl drover report makes one"),
    ("a list", lambda _: "[]", "is no report"),
    ("not JSON", lambda _: "kind: ManagedService", "is no whole report"),
    ("of another version", lambda text: text.replace('"format": 1', '"format": 2'), "has format 2 (kubectl-drover "),
    ("without objects", lambda _: '{"kind": "DroverReport", "format": 1, "now": 1}', "objects or the time are missing"),
    ("with a broken object", lambda text: text.replace('"replicas": 2', '"replicas": "two"'), "ManagedService web in the report cannot be read"),
]


@pytest.mark.parametrize(("why", "broken", "message"), BROKEN, ids=[row[0] for row in BROKEN])
def test_reports_that_cannot_be_replayed(why: str, broken: Callable[[str], str], message: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    run("report", "web", "-O", str(file))
    file.write_text(broken(file.read_text()))
    code, out, err = run("plan", "--from", str(file))
    assert (code, out, err.count("\n")) == (1, "", 1), (why, err)
    assert message in err


def test_a_report_knows_its_services(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "report.json")
    run("report", "web", "-O", file)
    assert run("plan", "cart", "--from", file) == (1, "", "error: no service 'cart' in the report; it has web\n")
    assert run("plan", "--from", "/nowhere")[2] == "error: /nowhere: No such file or directory\n"


# --- usage, and servers that say no

USAGE = [
    (["plan"], "which service? give NAME or -f FILE; kubectl drover status lists what there is"),
    (["plan", "web", "-f", "x"], "the files of -f name the services: leave out NAME"),
    (["plan", "--from", "r", "-f", "x"], "the files of -f name the services: leave out --from"),
    (["plan", "web", "--offline"], "--offline decides by files: add -f FILE"),
    (["plan", "-f", "-", "-f", "-"], "stdin (-f -) can be read only once"),
    (["diff"], "which service? give NAME or -f FILE; kubectl drover status lists what there is"),
    (["report", "pod/x"], "'pod/x' is not a service: give NAME or msvc/NAME"),
]


@pytest.mark.parametrize(("argv", "message"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_wrong_usage(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 4
    assert capsys.readouterr() == ("", f"error: {message}\n")


@pytest.mark.parametrize("verb", ["plan", "diff", "report"])
def test_a_context_that_is_not_there(verb: str, run: Run) -> None:
    code, out, err = run(verb, "web", "--context", "nope")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "has no context 'nope'" in err


@pytest.mark.parametrize("verb", ["plan", "diff", "report"])
def test_nobody_there(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    config = {"current-context": "here", "contexts": [context], "clusters": [cluster], "users": [{"name": "u", "user": {}}]}
    (tmp_path / "config").write_text(json.dumps(config))
    assert main([verb, "web", "--kubeconfig", str(tmp_path / "config")]) == 1
    assert capsys.readouterr().err == "error: cannot reach http://127.0.0.1:1: Connection refused; is the cluster running, and is it the right context?\n"

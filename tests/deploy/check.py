"""Checks the chart: lint, values that must fail, manifests against the schemas of Kubernetes, what has to be in them, and the
configuration that comes out, by the switch itself. Checks the dashboards: form, and that what they ask for exists."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "tandem"
TANDEM = pathlib.Path(sys.argv[1]).resolve()

# The oldest release that the chart supports, and the newest that there is a schema for.
KUBERNETES = ["1.25", None]

# Values that are refused, and by what word.
MUST_FAIL = [
    (["replicaCount=0"], "replicaCount"),
    (["replicaCount=3"], "takes a store"),
    (["redis.enabled=true", "network.mode=shared"], "network.sharedAddress"),
    (["redis.enabled=true", "network.mode=perPod", "network.podAddresses={192.0.2.1}"], "network.podAddresses"),
    (["redis.enabled=true", "network.mode=bridge"], "mode"),
    (["redis.enabled=true", "sip.tls.enabled=true"], "sip.tls.secretName"),
    (["redis.enabled=true", "sip.port=80"], "port"),
    (["store.url=http://redis"], "url"),
    (["store.url=redis://r", "store.urlSecret.name=s"], "exclude"),
    (["redis.enabled=true", "parameters.sip_timeout=3"], "parameters"),
    (["redis.enabled=true", "replicas=3"], "replicas"),
    (["redis.enabled=true", "image.digest=sha256:1"], "digest"),
    (["redis.enabled=true", "drainSeconds=0"], "drainSeconds"),
]

failures = []


def fail(what):
    failures.append(what)
    print(f"FAILED: {what}", file=sys.stderr)


def check(is_so, what):
    if not is_so:
        fail(what)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def render(*options):
    rendered = run("helm", "template", "switch", str(CHART), "--namespace", "voip", *options)
    if rendered.returncode:
        fail(f"helm template {' '.join(options)}: {rendered.stderr}")
        return []
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def find(documents, kind, name):
    found = [one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name]
    return found[0] if found else None


def lint():
    for values in sorted((CHART / "ci").glob("*.yaml")):
        linted = run("helm", "lint", "--strict", "--quiet", str(CHART), "--values", str(values))
        check(linted.returncode == 0, f"{values.name}: {linted.stdout}{linted.stderr}")
    linted = run("yamllint", "-d", "{extends: relaxed, rules: {line-length: {max: 200}, braces: disable}}", "-s",
                 str(CHART / "values.yaml"), str(CHART / "Chart.yaml"), str(CHART / "ci"), str(ROOT / "dashboards/alerts"))
    check(linted.returncode == 0, f"yamllint: {linted.stdout}")
    for settings, word in MUST_FAIL:
        options = [option for setting in settings for option in ("--set", setting)]
        rendered = run("helm", "template", "switch", str(CHART), *options)
        check(rendered.returncode != 0, f"{settings} is taken")
        check(word in rendered.stderr, f"{settings} is refused without a word of {word!r}: {rendered.stderr}")


def comments():
    """Each value has a comment, or is part of something that has one."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-zA-Z]+:", line):
            above, below = lines[number - 1], lines[number + 1 : number + 2]
            is_group = below and re.match(r"  (#|[a-zA-Z])", below[0])
            simple = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "podAnnotations", "podLabels", "resources", "metrics")
            check(above.startswith("#") or is_group or line.split(":")[0] in simple, f"values.yaml: {line} has no comment")


def validate(values, documents):
    known = [one for one in documents if "monitoring.coreos.com" not in one["apiVersion"]]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(known, file)
        file.flush()
        for version in KUBERNETES:
            options = ["--kubernetes-version", version] if version else []
            validated = run("kubernetes-validate", "--strict", *options, file.name)
            check(validated.returncode == 0, f"{values} for Kubernetes {version or 'newest'}: {validated.stdout}{validated.stderr}")


def configuration(values, documents):
    """What the nodes would run is a configuration that the switch takes."""
    data = find(documents, "ConfigMap", "switch")["data"]
    text = data["base.toml"] + data.get("tandem.toml", "")
    with tempfile.TemporaryDirectory() as folder:
        # Files of Secrets are not there: their sections are left to the tests of the switch.
        text = re.sub(r"\[link\]\n(\w+ = .*\n)+", "", text)
        text = re.sub(r'\[\[listen\]\]\nname = "tls"\n(\w+ = .*\n)+', "", text)
        (pathlib.Path(folder) / "tandem.toml").write_text(text)
        checked = run(str(TANDEM), "check", "--config", "tandem.toml", cwd=folder,
                      env={"TANDEM_ADMIN__TOKENS__0": "t", "TANDEM_NODE__NAME": "switch-0"})
        check(checked.returncode == 0, f"{values}: tandem check: {checked.stderr}")
    shell = run("sh", "-n", input=data["start"])
    check(shell.returncode == 0, f"{values}: start: {shell.stderr}")


def nodes(values, documents):
    """What every combination has in common."""
    switch = find(documents, "StatefulSet", "switch")["spec"]
    pod = switch["template"]["spec"]
    (container,) = pod["containers"]
    drain = int(re.search(r"--timeout (\d+)", " ".join(container["lifecycle"]["preStop"]["exec"]["command"])).group(1))
    check(pod["terminationGracePeriodSeconds"] >= drain + 30, f"{values}: the grace period does not fit the drain")
    check("tandem drain --stay" in container["lifecycle"]["preStop"]["exec"]["command"][-1], f"{values}: preStop does not drain")
    check(container["readinessProbe"]["httpGet"]["path"] == "/readyz", f"{values}: ready is not what takes calls")
    for probe in ("startupProbe", "livenessProbe"):
        check(container[probe]["httpGet"]["path"] == "/healthz", f"{values}: {probe}")
    starts = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
    check(starts > 36, f"{values}: a node that waits for its store, and for its name, is killed")
    security = container["securityContext"]
    check(security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], f"{values}: {security}")
    check(security["capabilities"] == {"drop": ["ALL"]}, f"{values}: capabilities")
    check(pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"], f"{values}: rights")
    check("checksum/config" in switch["template"]["metadata"]["annotations"], f"{values}: a change of the configuration rolls nothing")
    names = {volume["name"] for volume in pod["volumes"]}
    names |= {claim["metadata"]["name"] for claim in switch.get("volumeClaimTemplates", [])}
    check({mount["name"] for mount in container["volumeMounts"]} <= names, f"{values}: a mount without a volume")
    for document in documents:
        if document["kind"] == "Secret":
            continue
        check(not re.search(r"BEGIN [A-Z ]*PRIVATE KEY", json.dumps(document)), f"{values}: a key outside Secrets")


def particulars(rendered):
    """What each combination is for."""
    trial, host, shared, per_pod, single = (rendered[f"{name}-values.yaml"] for name in ("trial", "host", "shared", "perpod", "single"))
    check(find(trial, "Deployment", "switch-redis") and find(trial, "Secret", "switch-link"), "trial: no Redis, or no link")
    check(len([one for one in trial if one["kind"] == "ConfigMap" and "grafana_dashboard" in one["metadata"].get("labels", {})]) == 5,
          "trial: not all dashboards")
    pod = find(host, "StatefulSet", "switch")["spec"]["template"]["spec"]
    check(pod.get("hostNetwork") and pod["dnsPolicy"] == "ClusterFirstWithHostNet", "host: no network of the machine")
    check(not find(host, "Deployment", "switch-redis"), "host: a Redis that nobody wanted")
    urls = [one for one in pod["containers"][0]["env"] if one["name"] == "TANDEM_STORE__URL"]
    check(urls[0]["valueFrom"]["secretKeyRef"]["name"] == "tandem-store", "host: the store's URL is not the Secret's")
    check(find(host, "PodMonitor", "switch") and find(host, "PrometheusRule", "switch")["spec"]["groups"], "host: no monitoring")
    service = find(shared, "Service", "switch-sip")["spec"]
    check({port["name"] for port in service["ports"]} == {"sip-udp", "sip-tcp", "sip-tls"}, "shared: ports")
    check("SS_SIP_TIMEOUT_INVITE = 20" in find(shared, "ConfigMap", "switch")["data"]["base.toml"], "shared: parameters")
    check(all(find(per_pod, "Service", f"switch-{number}") for number in range(3)), "perPod: a node without a Service")
    check("203.0.113.12" in find(per_pod, "ConfigMap", "switch")["data"]["start"], "perPod: addresses")
    check(not find(per_pod, "Secret", "switch-api") and not find(per_pod, "Secret", "switch-link"), "perPod: Secrets that exist are made")
    check(not find(single, "PodDisruptionBudget", "switch") and not find(single, "Secret", "switch-link"), "single: too much")


def dashboards():
    known = set(re.findall(r"^\| `(tandem_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    asked = {}
    for path in sorted((ROOT / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        check(board["uid"] == f"tandem-{path.stem}" and board["title"].startswith("Tandem / "), f"{path.name}: uid, title")
        panels = board["panels"]
        check(len({panel["id"] for panel in panels}) == len(panels), f"{path.name}: two panels of one id")
        for panel in panels:
            check(panel["description"] and panel["targets"], f"{path.name}: {panel['title']} has no description, or no query")
            for target in panel["targets"]:
                asked.setdefault(target["expr"], f"{path.name}: {panel['title']}")
    for rule in yaml.safe_load((ROOT / "dashboards/alerts/tandem.yaml").read_text())["groups"][0]["rules"]:
        asked[rule["expr"]] = rule["alert"]
        runbook = rule["annotations"]["runbook"]
        check(f"## {rule['alert']}\n" in (ROOT / "docs/runbooks.md").read_text(), f"{rule['alert']} has no runbook")
        check(runbook == f"docs/runbooks.md#{rule['alert'].lower()}", f"{rule['alert']}: {runbook}")
    for expression, where in asked.items():
        for name in re.findall(r"\btandem_\w+", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            check(base in known or name in known, f"{where}: there is no metric {name}")


def main():
    lint()
    comments()
    rendered = {}
    for values in sorted((CHART / "ci").glob("*.yaml")):
        documents = render("--values", str(values))
        rendered[values.name] = documents
        validate(values.name, documents)
        configuration(values.name, documents)
        nodes(values.name, documents)
    particulars(rendered)
    dashboards()
    print(f"{len(rendered)} combinations of values, {len(MUST_FAIL)} that are refused, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()

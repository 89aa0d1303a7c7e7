"""What operators are given (dashboard, alerts, runbook) is about the server that there is."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from ossicle.service.cli import app
from ossicle.service.commands.telemetry import TelemetryOptions
from ossicle.service.limits import Limits, flag
from ossicle.service.telemetry.metrics import REFUSALS, ServerMetrics
from typer.main import get_command

REPOSITORY = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((REPOSITORY / "deploy/grafana/ossicle.json").read_text(encoding="utf-8"))
ALERTS = [
    rule
    for group in yaml.safe_load(
        (REPOSITORY / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    )["groups"]
    for rule in group["rules"]
]
OPERATIONS = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")

# What Prometheus itself adds.
SCRAPED = {"up": {"job", "instance"}}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            # Grafana's variables, as it would fill them in.
            filled = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$\w+", ".*", filled)
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


def own_metrics() -> dict[str, tuple[str, ...]]:
    """Names of our metrics, without suffixes, and their labels."""
    return {
        metric._name: metric._labelnames
        for metric in vars(ServerMetrics()).values()
        if hasattr(metric, "_labelnames")
    }


def samples() -> dict[str, set[str]]:
    """Every sample that a page may have, with its labels."""
    known: dict[str, set[str]] = {name: set(labels) for name, labels in SCRAPED.items()}
    for metric in vars(ServerMetrics()).values():
        if not hasattr(metric, "_labelnames"):
            continue
        labels = {*metric._labelnames, "job", "instance"}
        (family,) = metric.describe()
        if family.type == "histogram":
            known |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            known[f"{family.name}_bucket"] = {*labels, "le"}
        else:
            known[family.name + "_total" * (family.type == "counter")] = labels
    for family in ServerMetrics().registry.collect():
        for sample in family.samples:
            known.setdefault(sample.name, {*sample.labels, "job", "instance"})
    return known


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics of an expression with the labels that they are chosen by."""
    for name, chosen in re.findall(
        r"\b([a-z]\w*_\w+|up)\b(?:\{([^}]*)\})?", without_labels(expression)
    ):
        yield name, set(re.findall(r"(\w+)\s*[!=]~?\"", chosen))


def without_labels(expression: str) -> str:
    """An expression without the names of functions and of labels to group by."""
    bare = re.sub(r"\bby \([^)]*\)", "", expression)
    return re.sub(r"\b\w+\(", "(", bare)


def test_what_an_alert_counts_is_there_from_the_start() -> None:
    """Prometheus sees no increase in a series that begins with its first event."""
    there = [s for family in ServerMetrics().registry.collect() for s in family.samples]
    counted = [
        (rule["alert"], name, label, value)
        for rule in ALERTS
        for name, label, values in re.findall(r'(\w+_total)\{(\w+)=~"([^"]*)"\}', rule["expr"])
        for value in values.split("|")
    ]
    assert {alert for alert, *_ in counted} >= {"OssicleFaults", "OssicleFull"}
    for alert, name, label, value in counted:
        assert any(s.name == name and s.labels[label] == value for s in there), (alert, value)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_expression_is_about_metrics_and_labels_that_exist(
    where: str, expression: str
) -> None:
    promql_parser.parse(expression)
    known = samples()
    found = list(selectors(expression))
    assert found
    grouped = {
        label.strip()
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in labels.split(",")
    }
    for name, chosen in found:
        assert name in known, f"{where}: no metric {name}"
        assert chosen <= known[name], f"{where}: {name} has no {chosen - known[name]}"
    assert grouped <= {label for name, _ in found for label in known[name]}, where


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    text = " ".join(expression for _, expression in EXPRESSIONS)
    for name in own_metrics():
        assert name in text


def test_the_dashboard_can_be_drawn() -> None:
    panels = DASHBOARD["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD)))
    assert used == variables


def test_every_alert_has_its_section_in_the_runbook() -> None:
    runbook = OPERATIONS.split("\n## Runbook\n")[1]
    for rule in ALERTS:
        section = runbook.split(f"\n### {rule['alert']}\n")
        assert len(section) == 2, rule["alert"]
        text = section[1].split("\n### ")[0]
        for part in ("**Symptom.**", "**First check.**"):
            assert part in text
        assert "way out" in text.lower()
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    section = re.split(r"\n#+ ", OPERATIONS.split(f" {heading}\n")[1])[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_table_of_metrics_is_the_servers() -> None:
    documented = {name.strip("`"): labels for name, labels, _ in table("Metrics")}
    own = {
        name + "_total" * (f"{name}_total" in samples()): ", ".join(labels)
        for name, labels in own_metrics().items()
    }
    assert documented == own
    refused = next(text for name, _, text in table("Metrics") if "refused" in name)
    assert re.findall(r"`(\w+)`", refused) == list(REFUSALS)


def test_the_table_of_limits_is_the_servers() -> None:
    assert [row[0].strip("`") for row in table("Limits")] == [flag(each) for each in fields(Limits)]


def test_the_flags_are_those_of_the_command() -> None:
    serve: Any = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    given = {option.opts[0]: option.envvar for option in serve.params}
    documented = {row[0].strip("`"): row[1].strip("`") for row in table("Seeing inside")}
    assert documented == {name: given[name] for name in documented}
    options = inspect.signature(TelemetryOptions).parameters
    assert set(documented) == {"--" + name.replace("_", "-") for name in options}


def test_every_metric_that_the_runbook_names_exists() -> None:
    known = {*samples(), *own_metrics()}
    for name in re.findall(r"`((?:ossicle|process)_\w+)(?:\{[^`]*\})?`", OPERATIONS):
        assert name in known or name.endswith("_"), name


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in ("docs/operations.md", "README.md"):
        path = REPOSITORY / document
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{document}: {target}"


def test_monitoring_mounts_files_that_exist_and_scrapes_the_port_that_it_names() -> None:
    compose = yaml.safe_load((REPOSITORY / "deploy/monitoring.yml").read_text(encoding="utf-8"))
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (REPOSITORY / source).exists(), source
    environment = compose["services"]["server"]["environment"]
    scraped = yaml.safe_load(
        (REPOSITORY / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    )
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == f"server:{environment['OSSICLE_METRICS_PORT']}"
    for name in environment:
        assert name in OPERATIONS

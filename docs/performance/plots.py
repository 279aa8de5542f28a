#!/usr/bin/env python3
"""Draws the plots of docs/performance.md from the raw results beside this file.

    cargo bench --bench compare -- growing lateness --out docs/performance
    python3 -m pip install matplotlib==3.11.2
    python3 docs/performance/plots.py
"""

import csv
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

HERE = pathlib.Path(__file__).parent
# The same picture each time, byte for byte.
matplotlib.rcParams["svg.hashsalt"] = "ackwarden"
matplotlib.rcParams["figure.figsize"] = (7, 4)


def results(name):
    """Each line of NAME.tsv; what stands behind the fifth column is `name=value`."""
    with open(HERE / f"{name}.tsv", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t"))
    for row, who, records, seconds, per_second, *more in lines[1:]:
        values = {key: float(value) for key, value in (pair.split("=") for pair in more)}
        yield {"who": who, "per_second": float(per_second), **values}


def save(figure, name):
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")


def growing():
    lines = list(results("growing"))
    throughput, axes = plt.subplots()
    for who, label in (("bare", "bare reader of both topics"), ("ackwarden", "Ackwarden")):
        mine = [line for line in lines if line["who"] == who]
        axes.plot(
            [line["outstanding"] / 1e6 for line in mine],
            [line["per_second"] / 1e3 for line in mine],
            marker="o",
            label=label,
        )
    axes.set(xlabel="outstanding, millions", ylabel="lifecycles a second, thousands", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    save(throughput, "throughput-outstanding")

    memory, axes = plt.subplots()
    ours = [line for line in lines if line["who"] == "ackwarden"]
    axes.plot([line["outstanding"] / 1e6 for line in ours], [line["grown_mb"] for line in ours], marker="o")
    axes.set(xlabel="outstanding, millions", ylabel="resident memory grown, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    save(memory, "memory-outstanding")


def lateness():
    with open(HERE / "lateness-each.tsv", newline="") as file:
        late = sorted(float(line["late_ms"]) for line in csv.DictReader(file, delimiter="\t"))
    figure, axes = plt.subplots()
    axes.step(late, [(i + 1) / len(late) for i in range(len(late))], where="post")
    axes.set(xlabel="ms from the deadline to the copy in the log", ylabel="share of the copies", xlim=(0, None))
    axes.grid(alpha=0.3)
    save(figure, "lateness-cdf")


growing()
lateness()

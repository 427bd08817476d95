#!/usr/bin/env python3
"""Shows that the tests of mended faults find them: runs the tests that carry the marker `mends` with
the command of an earlier commit, and lists by fault which fail there. A fault none of whose tests fail
is one that nothing holds: then the status is 1.

    tools/faults.py [--build DIRECTORY] COMMIT [PYTEST-OPTION...]

The commit is built in DIRECTORY (default build/faults-COMMIT), which is kept for the next time. Run it
with the Python of build/venv, which tools/check.sh makes.
"""

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def build(commit, folder):
    """The command of that commit, built in folder/build from a checkout in folder/source."""
    source, made = folder / "source", folder / "build"
    if not (made / "qonnx").exists():
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "x", "-C", source], input=archive.stdout, check=True)
        subprocess.run(["meson", "setup", "-Dtests=false", made, source], check=True)
        subprocess.run(["meson", "compile", "-C", made], check=True)
    return made / "qonnx"


class Results:
    """A pytest plugin that keeps how each marked test ended, by fault."""

    def __init__(self):
        self.ends = defaultdict(dict)

    def pytest_runtest_logreport(self, report):
        fault = dict(report.user_properties).get("mends")
        if fault and (report.when == "call" or report.outcome != "passed"):
            self.ends[fault][report.nodeid] = report.outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", type=Path, help="where the commit is built")
    parser.add_argument("commit")
    args, options = parser.parse_known_args()
    commit = subprocess.run(["git", "rev-parse", "--short", args.commit], cwd=ROOT, check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    command = build(commit, args.build or ROOT / "build" / f"faults-{commit}")
    os.environ["QONNX"] = str(command)
    results = Results()
    pytest.main(["-q", "-m", "mends", "--tb=no", "-p", "no:cacheprovider", str(ROOT / "tests"), *options],
                plugins=[results])
    print(f"\nwith the command of {commit}:")
    unheld = 0
    for fault, ends in sorted(results.ends.items()):
        failed = [name for name, end in ends.items() if end == "failed"]
        unheld += not failed
        print(f"{fault:24} {len(failed)} of {len(ends)} fail")
        for name in failed:
            print(f"    {name}")
    sys.exit(bool(unheld) or not results.ends)


if __name__ == "__main__":
    main()

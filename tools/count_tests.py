"""Sums test results: count_tests.py LOG..., each a meson testlog.json or a JUnit .xml file.

Prints "N passed, N failed[, N skipped]". Every cmocka test counts, by the TAP lines of its
program. A program that failed without saying where, and a log that is missing or empty, count as
one failure each.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter


def from_meson(path):
    total = Counter()
    with open(path) as f:
        for program in map(json.loads, f):
            counts = Counter()
            for bad, rest in re.findall(r"^(not )?ok \d+(.*)", program.get("stdout", ""), re.M):
                counts["skipped" if "# SKIP" in rest else "failed" if bad else "passed"] += 1
            succeeded, skipped = (
                program["result"] in ("OK", "EXPECTEDFAIL"),
                program["result"] == "SKIP",
            )
            if not succeeded and not skipped and not counts["failed"]:
                counts["failed"] += 1
            elif not counts:
                counts["skipped" if skipped else "passed"] += 1
            total += counts
    return total


def from_junit(path):
    total = Counter()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        tests, failed, skipped = (int(suite.get(k)) for k in ("tests", "failures", "skipped"))
        failed += int(suite.get("errors"))
        total += Counter(passed=tests - failed - skipped, failed=failed, skipped=skipped)
    return total


def main():
    total = Counter()
    for path in sys.argv[1:]:
        try:
            counts = from_junit(path) if path.endswith(".xml") else from_meson(path)
        except (OSError, ValueError, ElementTree.ParseError) as e:
            print(f"count_tests.py: {path}: {e}")
            counts = Counter()
        total += counts or Counter(failed=1)
    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{skipped}")
    sys.exit(total["failed"] > 0)


if __name__ == "__main__":
    main()

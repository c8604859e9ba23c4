"""Launch digests by sev-snp-measure: one case as JSON on a line of stdin, one verdict on a line of stdout."""

import base64
import json
import pathlib
import sys
import tempfile

from sevsnpmeasure import guest
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType


def launch(folder, case):
    words = case["words"]

    def path(name):
        if name not in case["bytes"]:
            return ""
        file = folder / name
        file.write_bytes(base64.b64decode(case["bytes"][name]))
        return str(file)

    return guest.calc_launch_digest(
        SevMode.from_str(words["mode"]),
        int(words["vcpus"]),
        int(words["signature"]),
        path("firmware"),
        path("kernel"),
        path("initrd"),
        words.get("append", ""),
        int(words["features"]),
        vmm_type=VMMType[words["vmm"]],
    ).hex()


with tempfile.TemporaryDirectory() as name:
    for line in sys.stdin:
        try:
            verdict = {"accept": True, "value": launch(pathlib.Path(name), json.loads(line))}
        except Exception as error:  # whatever it raises, it has computed nothing
            verdict = {"accept": False, "reason": f"{type(error).__name__}: {error}"}
        print(json.dumps(verdict), flush=True)

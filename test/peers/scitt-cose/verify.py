"""COSE receipts and statements by scitt-cose: one case as JSON on a line of stdin, what it shows on a line of stdout, or null."""

import json
import sys

import cbor2
from scitt_cose import extract_receipts, parse_signed_statement, verify_consistency, verify_receipt, verify_sign1


def inclusion(case, receipt, entry):
    result = verify_receipt(receipt, leaf_entry_hex=entry.hex(), log_public_key_pem=case["key"])
    if not result.ok:
        return None
    shown = {"root": result.root, "size": result.tree_size, "index": result.leaf_index}
    return {**shown, "issuer": result.issuer, "subject": result.subject}


def consistency(case, receipt):
    [encoded] = cbor2.loads(receipt).value[1][396][-2]
    old, size, path = cbor2.loads(encoded)
    roots = case["oldRoot"], case["root"]
    if not verify_consistency(*roots, old, size, [each.hex() for each in path]):
        return None
    verify_sign1(receipt, public_key_pem=case["key"], detached_payload=bytes.fromhex(case["root"]))
    return {"old": old, "size": size}


def statement(case, message):
    parsed = parse_signed_statement(message, public_key_pem=case["key"])
    if parsed["signature_verified"] is not True:
        return None
    [receipt] = extract_receipts(message)
    shown = inclusion(case, receipt, parsed["payload"])
    return shown and {**shown, "type": parsed["content_type"], "payload": parsed["payload"].hex()}


for line in sys.stdin:
    case = json.loads(line)
    message = bytes.fromhex(case["message"])
    try:
        if case["kind"] == "inclusion":
            shown = inclusion(case, message, bytes.fromhex(case["entry"]))
        elif case["kind"] == "consistency":
            shown = consistency(case, message)
        else:
            shown = statement(case, message)
    except Exception:  # whatever it raises, nothing was shown
        shown = None
    print(json.dumps(shown), flush=True)

"""Frames a broken, newer or hostile coordinator could send; none may stop the node.

Each is read as an ``Unknown``, or as a message that can only be refused or ignored. The names
say what is wrong. Data only: several suites send these.
"""

KIB, MIB = 2**10, 2**20


def _nested(depth: int) -> str:
    return '{"type":"load_model","model_id":' + "[" * depth + "]" * depth + "}"


MALFORMED: dict[str, str | bytes] = {
    # no JSON at all
    "empty": "",
    "blank": "  \n ",
    "words": "hello",
    "nul_bytes": b"\x00" * 16,
    "binary_noise": bytes(range(256)),
    "bad_utf8": b'{"type":"load_model","model_id":"\xff\xfe"}',
    "utf8_bom": b'\xef\xbb\xbf{"type":"load_model","model_id":"m"}',
    "utf16": '{"type":"load_model","model_id":"m"}'.encode("utf-16"),
    "truncated": '{"type":"load_model","model_id":"or',
    "unclosed": '{"type":"load_model","model_id":"m"',
    "trailing_comma": '{"type":"load_model","model_id":"m",}',
    "two_objects": '{"type":"load_model","model_id":"m"}{"type":"cancel","request_id":"r"}',
    "single_quotes": "{'type':'load_model','model_id':'m'}",
    "comment": '{"type":"load_model",/* now */"model_id":"m"}',
    "raw_control_character": '{"type":"load_model","model_id":"a\nb"}',
    "bad_escape": '{"type":"load_model","model_id":"\\x41"}',
    "lone_surrogate_escape": '{"type":"load_model","model_id":"\\ud800"}',
    "lone_surrogate_key": '{"\\udfff":1,"type":"load_model","model_id":"m"}',
    "nan": '{"type":"prefetch_model","model_id":"m","priority":NaN}',
    "infinity": '{"type":"prefetch_model","model_id":"m","priority":-Infinity}',
    "nan_in_a_field_nobody_reads": '{"type":"load_model","model_id":"m","x":NaN}',
    "deep_nesting": _nested(5_000),
    "deeper_nesting": "[" * (200 * KIB),
    "deep_objects": '{"a":' * (100 * KIB),
    "integer_of_many_digits": '{"type":"cancel","request_id":"r","n":' + "9" * 100_000 + "}",
    # JSON, but no message
    "null": "null",
    "number": "42",
    "text": '"load_model"',
    "array": '[{"type":"load_model","model_id":"m"}]',
    "empty_object": "{}",
    "no_type": '{"model_id":"m"}',
    "null_type": '{"type":null,"model_id":"m"}',
    "number_type": '{"type":7}',
    "list_type": '{"type":["load_model"],"model_id":"m"}',
    "object_type": '{"type":{"load_model":1}}',
    "empty_type": '{"type":""}',
    "unknown_type": '{"type":"make_tea","sugar":2}',
    "hostile_type": '{"type":"load_model\\u0000\\n\\u001b[31m","model_id":"m"}',
    "endless_type": '{"type":"' + "x" * (64 * KIB) + '"}',
    "type_in_capitals": '{"type":"LOAD_MODEL","model_id":"m"}',
    "type_given_twice": '{"type":"load_model","model_id":"m","type":"nothing"}',
    # our own words, sent back
    "our_register": '{"type":"register","models":[]}',
    "our_heartbeat": '{"type":"heartbeat","status":"idle"}',
    # later types
    "later_drain": '{"type":"provider_drain","request_id":"d1"}',
    "later_probe": '{"type":"capacity_probe","probe_id":"p","model":"m"}',
    "later_autopilot": '{"type":"model_autopilot","session":"s","revision":3,"unload":["m"]}',
    # a known type, unusable
    "load_without_id": '{"type":"load_model"}',
    "load_null_id": '{"type":"load_model","model_id":null}',
    "load_empty_id": '{"type":"load_model","model_id":""}',
    "load_number_id": '{"type":"load_model","model_id":12}',
    "load_endless_id": '{"type":"load_model","model_id":"' + "m" * (64 * KIB) + '"}',
    "load_id_under_another_name": '{"type":"load_model","model":"m"}',
    "prefetch_priority_text": '{"type":"prefetch_model","model_id":"m","priority":"high"}',
    "prefetch_priority_float": '{"type":"prefetch_model","model_id":"m","priority":1.5}',
    "prefetch_priority_bool": '{"type":"prefetch_model","model_id":"m","priority":true}',
    "prefetch_priority_huge": '{"type":"prefetch_model","model_id":"m","priority":1'
    + "0" * 40
    + "}",
    "prefetch_priority_too_low": '{"type":"prefetch_model","model_id":"m",'
    '"priority":-9223372036854775809}',
    "cancel_without_id": '{"type":"cancel"}',
    "cancel_list_id": '{"type":"cancel","request_id":["r"]}',
    "challenge_without_nonce": '{"type":"attestation_challenge","timestamp":"t"}',
    "challenge_empty_nonce": '{"type":"attestation_challenge","nonce":"","timestamp":"t"}',
    "challenge_number_timestamp": '{"type":"attestation_challenge","nonce":"bm9u","timestamp":1}',
    "desired_not_a_list": '{"type":"desired_models","models":{"model_name":"m"}}',
    "desired_of_words": '{"type":"desired_models","models":["m"]}',
    "desired_number_build": '{"type":"desired_models",'
    '"models":[{"model_name":"m","desired_build":1}]}',
    "runtime_verified_word": '{"type":"runtime_status","verified":"no"}',
    "runtime_mismatch_number": '{"type":"runtime_status","mismatches":[3]}',
    "trust_status_number": '{"type":"trust_status","trust_level":1,"status":"online"}',
    "request_without_id": '{"type":"inference_request","encrypted_body":{}}',
    "request_number_id": '{"type":"inference_request","request_id":1,"encrypted_body":{}}',
}
"""What is wrong, and the frame; read by no suite as anything a node may act on."""

REFUSABLE: dict[str, str] = {
    "no_body": '{"type":"inference_request","request_id":"r-no-body"}',
    "null_body": '{"type":"inference_request","request_id":"r-null","encrypted_body":null}',
    "body_is_text": '{"type":"inference_request","request_id":"r-text","encrypted_body":"x"}',
    "body_is_empty": '{"type":"inference_request","request_id":"r-empty","encrypted_body":{}}',
    "key_is_number": '{"type":"inference_request","request_id":"r-key",'
    '"encrypted_body":{"ephemeral_public_key":1,"ciphertext":"AAAA"}}',
    "key_is_short": '{"type":"inference_request","request_id":"r-short",'
    '"encrypted_body":{"ephemeral_public_key":"AAAA","ciphertext":"AAAA"}}',
    "key_is_zero": '{"type":"inference_request","request_id":"r-zero",'
    '"encrypted_body":{"ephemeral_public_key":"' + "A" * 43 + '=","ciphertext":"AAAA"}}',
    "ciphertext_is_no_base64": '{"type":"inference_request","request_id":"r-b64",'
    '"encrypted_body":{"ephemeral_public_key":"WGmv9FBUlzLLqu1eXfmzCm2jHLDldCutWtShp2jxpns=",'
    '"ciphertext":"%%%"}}',
    "ciphertext_does_not_open": '{"type":"inference_request","request_id":"r-tag",'
    '"encrypted_body":{"ephemeral_public_key":"WGmv9FBUlzLLqu1eXfmzCm2jHLDldCutWtShp2jxpns=",'
    '"ciphertext":"' + "A" * 80 + '"}}',
    "plain_body": '{"type":"inference_request","request_id":"r-plain","body":{"model":"m"}}',
}
"""Requests whose id can be read: each is owed one ``inference_error`` with status 400."""

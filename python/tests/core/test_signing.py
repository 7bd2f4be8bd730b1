"""A signature covers every listed field that is present, and nothing else can stand in for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.signing import (
    INTENT_FIELDS,
    PLAN_FIELDS,
    BadKeyError,
    Signer,
    Verifier,
    canonical_bytes,
    env_suffix,
    generate_seed,
)

from .wire import INTENT, PLAN

SEED = "11" * 32
SIGNER = Signer(SEED)
OWNER = "exitbrain_v3_5"
VERIFIER = Verifier({"EXITBRAIN_V3_5": SIGNER.public_hex})
MESSAGES = [(PLAN, PLAN_FIELDS), (INTENT, INTENT_FIELDS)]

_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


def signed(fields: dict[str, str], names: frozenset[str]) -> dict[str, str]:
    return {**fields, "sig": SIGNER.sign(fields, names)}


def test_what_is_signed_is_pinned() -> None:
    fields = {"symbol": "BTCUSDT", "plan_id": "p", "note": "x", "sig": "y", "qty": "1"}
    assert canonical_bytes(fields, PLAN_FIELDS) == b"plan_id=p\nqty=1\nsymbol=BTCUSDT\n"
    assert canonical_bytes({"reason": "größer 🔴"}, PLAN_FIELDS) == "reason=größer 🔴\n".encode()
    assert SIGNER.public_hex == "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737"
    assert SIGNER.sign(fields, PLAN_FIELDS) == (
        "0b19f2116eedcde63e82f44cdbcc9ed48e9cf95ade8dd47ff7d0e0a0b5f97a40"
        "45759f45083676ece13f969127781e05b12a9b6ab1eb10c7e27081599114ed03"
    )


@pytest.mark.parametrize(("fields", "names"), MESSAGES)
def test_the_signer_is_recognised(fields: dict[str, str], names: frozenset[str]) -> None:
    assert VERIFIER.verify(OWNER, signed(fields, names), names)
    assert VERIFIER.verify(OWNER, {**signed(fields, names), "note": "unlisted"}, names)


@given(st.data())
def test_any_changed_field_breaks_it(data: st.DataObject) -> None:
    fields, names = data.draw(st.sampled_from(MESSAGES))
    message = signed(fields, names)
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(_texts)
    if value != fields[name]:
        assert not VERIFIER.verify(OWNER, {**message, name: value}, names)


@given(st.data())
def test_any_field_taken_away_or_added_breaks_it(data: st.DataObject) -> None:
    fields, names = data.draw(st.sampled_from(MESSAGES))
    message = signed(fields, names)
    gone = data.draw(st.sampled_from(sorted(fields)))
    assert not VERIFIER.verify(OWNER, {k: v for k, v in message.items() if k != gone}, names)
    absent = sorted(names - fields.keys())
    added = data.draw(st.sampled_from(absent))
    assert not VERIFIER.verify(OWNER, {**message, added: data.draw(_texts)}, names)


@given(st.text("abc=\n", max_size=12), st.text("abc=\n", max_size=12))
def test_fields_cannot_be_forged_into_one_another(reason: str, symbol: str) -> None:
    """Values with line breaks never get as far: parsing refuses them. Without them two
    different messages never have the same bytes."""
    one = {"reason": reason.replace("\n", ""), "symbol": symbol.replace("\n", "")}
    other = {"reason": one["reason"] + "=", "symbol": one["symbol"]}
    assert canonical_bytes(one, PLAN_FIELDS) != canonical_bytes(other, PLAN_FIELDS)


@pytest.mark.parametrize(("fields", "names"), MESSAGES)
def test_another_key_or_another_source_breaks_it(
    fields: dict[str, str], names: frozenset[str]
) -> None:
    stranger = Signer(generate_seed())
    forged = {**fields, "sig": stranger.sign(fields, names)}
    assert not VERIFIER.verify(OWNER, forged, names)
    both = Verifier({"EXITBRAIN_V3_5": SIGNER.public_hex, "OTHER": stranger.public_hex})
    assert not both.verify("other", signed(fields, names), names)
    assert not both.verify("unknown", signed(fields, names), names)
    assert not Verifier({}).verify(OWNER, signed(fields, names), names)


def test_while_a_key_is_replaced_both_are_good_and_no_third() -> None:
    new, third = Signer(generate_seed()), Signer(generate_seed())
    both = Verifier({"EXITBRAIN_V3_5": f"{new.public_hex},{SIGNER.public_hex}"})
    for signer, good in ((SIGNER, True), (new, True), (third, False)):
        sig = signer.sign(PLAN, PLAN_FIELDS)
        assert both.verify(OWNER, {**PLAN, "sig": sig}, PLAN_FIELDS) is good
    for text in ("", f"{SIGNER.public_hex},", f"{SIGNER.public_hex},zz"):
        with pytest.raises(BadKeyError, match="QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5"):
            Verifier({"EXITBRAIN_V3_5": text})


def test_an_intents_signature_is_no_plans_signature() -> None:
    both = {**PLAN, **INTENT}
    intent_sig = SIGNER.sign(both, INTENT_FIELDS)
    assert not VERIFIER.verify(OWNER, {**both, "sig": intent_sig}, PLAN_FIELDS)


@given(st.text(max_size=130))
def test_noise_is_no_signature(sig: str) -> None:
    assert not VERIFIER.verify(OWNER, {**PLAN, "sig": sig}, PLAN_FIELDS)


def test_a_missing_or_cut_signature_is_none() -> None:
    message = signed(PLAN, PLAN_FIELDS)
    assert not VERIFIER.verify(OWNER, PLAN, PLAN_FIELDS)
    assert not VERIFIER.verify(OWNER, {**message, "sig": message["sig"][:-2]}, PLAN_FIELDS)
    assert not VERIFIER.verify(OWNER, {**message, "sig": message["sig"] + "00"}, PLAN_FIELDS)
    assert not VERIFIER.verify(OWNER, {**message, "reason": "\ud800"}, PLAN_FIELDS)


def test_the_sources_variable() -> None:
    assert env_suffix("exitbrain_v3_5") == "EXITBRAIN_V3_5"
    assert env_suffix("my-bot.v2") == "MY_BOT_V2"


@pytest.mark.parametrize("key", ["", "11" * 31, "11" * 33, "zz" * 32, " " + "11" * 32])
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(BadKeyError) as error:
        Signer(key)
    assert not key.strip() or key not in str(error.value)
    with pytest.raises(BadKeyError, match="QUANTUM_PUBLIC_KEY_X"):
        Verifier({"X": key})


def test_a_signer_does_not_show_its_key() -> None:
    assert SEED not in repr(SIGNER)

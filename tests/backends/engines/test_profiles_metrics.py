"""Servers' own figures, out of texts in their own words."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines.profiles_metrics import Gauges, parse, read

RECORDED = Path(__file__).parents[2] / "data" / "engines"


def test_vllms_cache_is_counted_in_blocks() -> None:
    assert read((RECORDED / "vllm-0.33.0-metrics.txt").read_text()) == Gauges(
        running=3,
        waiting=2,
        budget_max_tokens=573 * 16,
        budget_used_tokens=573 * 16 // 8,
        generated_tokens=1200,
    )


def test_sglang_counts_tokens() -> None:
    assert read((RECORDED / "sglang-0.5.23-metrics.txt").read_text()) == Gauges(
        running=4,
        waiting=1,
        budget_max_tokens=471258,
        budget_used_tokens=5120,
        generated_tokens=777,
    )


def test_llama_cpp_has_speeds_and_no_budget() -> None:
    told = read((RECORDED / "llamacpp-0.3.36-metrics.txt").read_text())
    assert (told.running, told.waiting, told.generated_tokens) == (0, 0, 28)
    assert told.decode_tps is not None
    assert told.prefill_tps is not None
    assert min(told.decode_tps, told.prefill_tps) > 0
    assert (told.budget_max_tokens, told.budget_used_tokens) == (None, None)


def test_ranks_are_added_up_and_the_fullest_counts() -> None:
    text = "\n".join(
        f'vllm:num_requests_running{{engine="{rank}"}} {rank + 1}\n'
        f'vllm:kv_cache_usage_perc{{engine="{rank}"}} {rank / 10}\n'
        f'vllm:cache_config_info{{engine="{rank}",kv_cache_size_tokens="1000"}} 1'
        for rank in range(3)
    )
    told = read(text)
    assert (told.running, told.budget_max_tokens, told.budget_used_tokens) == (6, 3000, 600)


@pytest.mark.parametrize(
    "line",
    [
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1',
        'vllm:cache_config_info{block_size="16"} 1',
        "vllm:num_requests_running NaN",
        "vllm:num_requests_running +Inf",
        "vllm:num_requests_running -1",
        "vllm:num_requests_running x",
        "vllm:num_requests_running",
        "# vllm:num_requests_running 1",
        "requests_running 1",
        "",
    ],
)
def test_what_is_not_told_is_not_known(line: str) -> None:
    assert read(line) == Gauges()


def test_a_label_may_hold_anything() -> None:
    (sample,) = parse('m{a="b",c="} 5 \\" ,",d="x"} 2.5 1700000000')["m"]
    assert sample.value == 2.5
    assert sample.labels == {"a": "b", "c": '} 5 \\" ,', "d": "x"}


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_no_text_makes_its_reader_fall(text: str) -> None:
    read(text)


@given(st.floats() | st.integers())
@settings(max_examples=50)
def test_no_more_is_in_use_than_there_is(ratio: float) -> None:
    room = 'vllm:cache_config_info{kv_cache_size_tokens="1000"} 1'
    told = read(f"{room}\nvllm:kv_cache_usage_perc {ratio}")
    assert told.budget_max_tokens == 1000
    assert told.budget_used_tokens is None or 0 <= told.budget_used_tokens <= 1000
